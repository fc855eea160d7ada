"""The configuration: APIs, clients, users, lifetimes and the defaults. Frozen, and validated as a whole."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE

from mock_issuer.rules import RuleContext

AUTHORIZATION_CODE_GRANT_TYPE = "authorization_code"
CLIENT_CREDENTIALS_GRANT_TYPE = "client_credentials"
REFRESH_TOKEN_GRANT_TYPE = "refresh_token"  # noqa: S105  # the name of a grant type
GRANT_TYPES = frozenset(
    {
        AUTHORIZATION_CODE_GRANT_TYPE,
        DEVICE_CODE_GRANT_TYPE,
        REFRESH_TOKEN_GRANT_TYPE,
        CLIENT_CREDENTIALS_GRANT_TYPE,
    }
)

# The scopes of OpenID Connect (Core §3.1.2.1, §5.4, §11), and how the consent page describes them.
OPENID_SCOPES: Mapping[str, str] = MappingProxyType(
    {
        "openid": "Know which account is yours",
        "profile": "See your name",
        "email": "See your e-mail address",
        "address": "See your postal address",
        "phone": "See your telephone number",
        "offline_access": "Stay connected until you disconnect it",
    }
)

ApplicationType = Literal["native", "web", "machine"]
Profile = Literal["auth0", "rfc"]
Dialect = Literal["rfc9068", "auth0", "entra", "keycloak", "okta", "cognito", "duende"]
UserCodeCharset = Literal["base20", "digits"]
AccessTokenFormat = Literal["jwt", "opaque"]

# RFC 8628 §5.1: six digits are hard enough to guess, because wrong codes are limited.
_MIN_USER_CODE_LENGTH = 6
# flow/user_code.py compares at most 64 characters.
_MAX_MASK_LENGTH = 32
_POSITIVE_FIELDS = (
    "access_token_seconds",
    "id_token_seconds",
    "refresh_token_seconds",
    "authorization_code_seconds",
    "device_code_seconds",
    "poll_interval_seconds",
    "wrong_code_limit",
)
# Ten years in seconds, which keeps every time within what a datetime can hold.
_MAX_NUMBER = 316_000_000
# RFC 6749 §3.3: scope-token.
_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")
# RFC 6749 §A.1: client_id, here without spaces.
_PRINTABLE = re.compile(r"[\x21-\x7E]+")
# RFC 3986 §2: the characters of a URI, here without `#`.
_URI = re.compile(r"[!$%&'()*+,/0-9:;=?@A-Z\[\]_a-z~.-]+")
# RFC 8252 §7.1: the scheme of a native app is its domain name, reversed, so it contains a dot.
_APP_SCHEME = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+")
_LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


class ConfigError(ValueError):
    """The configuration is invalid. `mistakes` has one sentence for each mistake."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


def is_namespaced(name: str) -> bool:
    """Return whether a name is an http(s) URL, as Auth0 wants the names of custom claims and their scopes to be."""
    try:
        parts = urlsplit(name)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and bool(_SCOPE_TOKEN.fullmatch(name))


def _set_defaults(record: object, **defaults: str) -> None:
    for name, default in defaults.items():
        if not getattr(record, name):
            object.__setattr__(record, name, default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """An API that tokens are issued for.

    Args:
        audience: its identifier, the `aud` of its tokens.
        name: its name on the consent page; the audience by default.
        scopes: its scopes, each with a description for the consent page ("See your devices").
        allow_offline_access: whether the scope `offline_access` gives a refresh token.
    """

    audience: str
    name: str = ""
    scopes: Mapping[str, str] = field(default_factory=dict)
    allow_offline_access: bool = True

    def __post_init__(self) -> None:
        _set_defaults(self, name=self.audience)

    def _mistakes(self) -> Iterator[str]:
        if not self.audience:
            yield "An API has an empty audience."
        for scope in self.scopes:
            if not _SCOPE_TOKEN.fullmatch(scope):
                yield f"API {self.audience!r}: {scope!r} is not a scope (RFC 6749 §3.3)."
            elif scope in OPENID_SCOPES:
                yield f"API {self.audience!r}: the scope {scope!r} belongs to OpenID Connect; leave it out."


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """An application that requests tokens (RFC 6749 §2).

    Args:
        client_id: its identifier.
        name: its name on the pages; the client id by default.
        grant_types: the values of `grant_type` that it may use.
        secret: its client secret; None for a public client.
        application_type: `native`, `web` or `machine`; only a native one may use the device flow.
        dynamically_registered: whether it registered itself (RFC 7591), which excludes it from the device flow.
        rotate_refresh_tokens: whether each refresh replaces the refresh token, and reuse of an old one revokes the
            family (RFC 9700 §4.14.2).
        default_audience: the API of its requests that name none; empty for the issuer's default.
        introspects: the audiences whose tokens it may introspect (RFC 7662), besides the tokens issued to it.
        redirect_uris: where the answers of `/authorize` may go; a request must name one of them exactly. The port of a
            loopback one is free for a native client (RFC 8252 §7.3, RFC 9700 §2.1).
        dpop_bound_access_tokens: whether each of its token requests needs a DPoP proof (RFC 9449 §5.2).
        access_token_format: the format of its access tokens; None for the issuer's.
    """

    client_id: str
    name: str = ""
    grant_types: frozenset[str] = frozenset({DEVICE_CODE_GRANT_TYPE, REFRESH_TOKEN_GRANT_TYPE})
    secret: str | None = field(default=None, repr=False)
    application_type: ApplicationType = "native"
    dynamically_registered: bool = False
    rotate_refresh_tokens: bool = True
    default_audience: str = ""
    introspects: frozenset[str] = frozenset()
    redirect_uris: frozenset[str] = frozenset()
    dpop_bound_access_tokens: bool = False
    access_token_format: AccessTokenFormat | None = None

    def __post_init__(self) -> None:
        _set_defaults(self, name=self.client_id)

    def allows_grant(self, grant_type: str) -> bool:
        """Return whether the client may use this value of `grant_type`."""
        return grant_type in self.grant_types

    def allows_redirect_uri(self, redirect_uri: str) -> bool:
        """Return whether answers of `/authorize` may go there (RFC 6749 §3.1.2.3)."""
        if redirect_uri in self.redirect_uris:
            return True
        portless = _without_loopback_port(redirect_uri) if self.application_type == "native" else None
        return portless is not None and portless in map(_without_loopback_port, self.redirect_uris)

    def _mistakes(self) -> Iterator[str]:
        yield from self._wrong_choices()
        if not _PRINTABLE.fullmatch(self.client_id):
            yield f"Client {self.client_id!r}: the id must be printable ASCII without spaces."
        if unknown := sorted(self.grant_types - GRANT_TYPES):
            yield f"Client {self.client_id!r}: unknown grant types {', '.join(unknown)}."
        if self.secret == "":
            yield f"Client {self.client_id!r}: the secret is empty; leave it out for a public client."
        if self.secret is None and CLIENT_CREDENTIALS_GRANT_TYPE in self.grant_types:
            yield f"Client {self.client_id!r}: client_credentials needs a secret (RFC 6749 §4.4)."
        if self.secret is None and self.introspects:
            yield f"Client {self.client_id!r}: introspection needs a secret (RFC 7662 §2.1)."
        for redirect_uri in sorted(self.redirect_uris):
            if not _is_redirect_uri(redirect_uri):
                yield (
                    f"Client {self.client_id!r}: {redirect_uri!r} is not a redirect URI: an http(s) URL, or a URI "
                    "whose scheme contains a dot, without a fragment."
                )
        if self.allows_grant(AUTHORIZATION_CODE_GRANT_TYPE) != bool(self.redirect_uris):
            yield f"Client {self.client_id!r}: the grant type authorization_code and redirect_uris need each other."

    def _wrong_choices(self) -> Iterator[str]:
        for name, choices in (
            ("application_type", get_args(ApplicationType)),
            ("access_token_format", (None, *get_args(AccessTokenFormat))),
        ):
            if getattr(self, name) not in choices:
                yield f"Client {self.client_id!r}: {name} must be one of {', '.join(filter(None, choices))}."


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user who can log in. All of it is public test data.

    Args:
        username: the name to log in with.
        password: `<username>-password` by default.
        sub: the subject of the user's tokens; `mock|<username>` by default.
        name: the full name; `<Username> Example` by default.
        email: the e-mail address; `<username>@example.com` by default.
        claims: custom claims. The name of each is an http(s) URL, and the scope that releases it.
    """

    username: str
    password: str = field(default="", repr=False)
    sub: str = ""
    name: str = ""
    email: str = ""
    claims: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _set_defaults(
            self,
            password=f"{self.username}-password",
            sub=f"mock|{self.username}",
            name=f"{self.username.title()} Example",
            email=f"{self.username}@example.com",
        )

    def _mistakes(self) -> Iterator[str]:
        if not _PRINTABLE.fullmatch(self.username):
            yield f"User {self.username!r}: the name must be printable ASCII without spaces."
        for name, value in self.claims.items():
            if not is_namespaced(name):
                yield f"User {self.username!r}: the claim {name!r} is not an http(s) URL."
            elif not _is_json(value):
                yield f"User {self.username!r}: the claim {name!r} has a value that JSON cannot hold."


# Runs before tokens are issued for a user: adds claims to the context, or raises RuleDenied.
Rule = Callable[[User, Client, RuleContext], None]

_DEFAULT_APIS = (
    Api(
        audience="https://device-api.example",
        name="Device API",
        scopes=MappingProxyType(
            {
                "read:devices": "See your devices",
                "write:devices": "Add, change and remove your devices",
                "read:readings": "See what your devices measured",
                "write:readings": "Add measurements to your devices",
            }
        ),
    ),
)
_DEFAULT_CLIENTS = (
    Client(
        client_id="device-app",
        name="Device App",
        grant_types=frozenset({AUTHORIZATION_CODE_GRANT_TYPE, DEVICE_CODE_GRANT_TYPE, REFRESH_TOKEN_GRANT_TYPE}),
        # MSAL's has no path.
        redirect_uris=frozenset({"http://127.0.0.1/callback", "http://localhost/callback", "http://localhost"}),
    ),
    Client(
        client_id="device-gateway",
        name="Device Gateway",
        grant_types=frozenset({CLIENT_CREDENTIALS_GRANT_TYPE}),
        secret="public-test-secret",  # noqa: S106  # a test credential, stated as public in the README
        application_type="machine",
        introspects=frozenset({"https://device-api.example"}),
    ),
)
_DEFAULT_USERS = (User(username="alice"), User(username="bob"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One mock issuer.

    Args:
        issuer: the issuer identifier, the `iss` of its tokens; the endpoints are below it.
        apis: the APIs that it issues tokens for, besides its own `/userinfo`.
        clients: the applications.
        users: the users.
        default_audience: the API of requests that name none, unless the client has a default; empty for `/userinfo`.
        profile: the statuses of errors: `auth0` (403 and 429 for some) or `rfc` (400, RFC 8628 §3.5). With `auth0`, the
            bodies of OAuth requests may be JSON too.
        dialect: the form of access tokens and ID tokens: `rfc9068`, or what a vendor documents of its own.
        access_token_format: `jwt`, or `opaque`: a random string, whose content only introspection (RFC 7662) tells.
        access_token_seconds: lifetime of access tokens.
        id_token_seconds: lifetime of ID tokens.
        refresh_token_seconds: lifetime of a refresh token with all that replace it, from the approval on.
        authorization_code_seconds: lifetime of an authorization code (RFC 6749 §4.1.2).
        device_code_seconds: lifetime of a device code and its user code.
        device_code_reuse_revokes: whether a second redemption of a device code revokes the refresh tokens of the first.
            It is refused either way, since a device may repeat a poll whose answer it has lost.
        dpop_nonces: whether DPoP proofs need a nonce from the issuer (RFC 9449 §8).
        poll_interval_seconds: the shortest time between two polls (RFC 8628 §3.5).
        user_code_charset: `base20` (consonants, RFC 8628 §6.1) or `digits`.
        user_code_mask: the form of a user code: `*` for each character, with dashes, dots and spaces between.
        wrong_code_limit: how many wrong user codes a session or an IP address may enter in 15 minutes.
        pick_user: whether the log-in page has a button for each user, besides the form with a password.
        rules: the rules, called in order before tokens are issued for a user.
        api_url: the URL of the API that the playground calls; empty for none.
        verification_uri: where users enter codes (RFC 8628 §3.2), if browsers reach the page `/activate` at another
            address than the issuer's; empty for the page below the issuer.

    Raises ConfigError with every mistake in it.
    """

    issuer: str = "http://127.0.0.1:9000/"
    apis: tuple[Api, ...] = _DEFAULT_APIS
    clients: tuple[Client, ...] = _DEFAULT_CLIENTS
    users: tuple[User, ...] = _DEFAULT_USERS
    default_audience: str = ""
    profile: Profile = "auth0"
    dialect: Dialect = "rfc9068"
    access_token_format: AccessTokenFormat = "jwt"  # noqa: S105  # a format
    access_token_seconds: int = 86_400
    id_token_seconds: int = 36_000
    refresh_token_seconds: int = 2_592_000
    authorization_code_seconds: int = 60
    device_code_seconds: int = 900
    device_code_reuse_revokes: bool = False
    dpop_nonces: bool = False
    poll_interval_seconds: int = 5
    user_code_charset: UserCodeCharset = "base20"
    user_code_mask: str = "****-****"
    wrong_code_limit: int = 5
    pick_user: bool = True
    rules: tuple[Rule, ...] = ()
    api_url: str = ""
    verification_uri: str = ""

    def __post_init__(self) -> None:
        if mistakes := list(self._mistakes()):
            raise ConfigError(mistakes)

    def _mistakes(self) -> Iterator[str]:
        if not _is_plain_url(self.issuer):
            yield f"The issuer {self.issuer!r} is not an http(s) URL without query and fragment."
        for name in ("api_url", "verification_uri"):
            url = getattr(self, name)
            if url and not _is_plain_url(url):
                yield f"{name} {url!r} is not an http(s) URL without query and fragment."
        parts: tuple[Api | Client | User, ...] = (*self.apis, *self.clients, *self.users)
        for part in parts:
            yield from part._mistakes()  # noqa: SLF001  # validated here, so that all mistakes are raised together
        yield from _duplicates("APIs", "audience", [api.audience for api in self.apis])
        yield from _duplicates("clients", "client_id", [client.client_id for client in self.clients])
        yield from _duplicates("users", "username", [user.username for user in self.users])
        yield from _duplicates("users", "sub", [user.sub for user in self.users])
        yield from self._unknown_audiences()
        for name, choices in (
            ("profile", get_args(Profile)),
            ("dialect", get_args(Dialect)),
            ("access_token_format", get_args(AccessTokenFormat)),
            ("user_code_charset", get_args(UserCodeCharset)),
        ):
            if getattr(self, name) not in choices:
                yield f"{name} must be one of {', '.join(choices)}."
        for name in _POSITIVE_FIELDS:
            if not 0 < getattr(self, name) <= _MAX_NUMBER:
                yield f"{name} must be a number from 1 to {_MAX_NUMBER}."
        mask = self.user_code_mask
        if set(mask) - set("*-. ") or mask.count("*") < _MIN_USER_CODE_LENGTH or len(mask) > _MAX_MASK_LENGTH:
            yield (
                f"user_code_mask must have at least {_MIN_USER_CODE_LENGTH} asterisks, otherwise only dashes, dots and "
                f"spaces, and at most {_MAX_MASK_LENGTH} characters."
            )

    def _unknown_audiences(self) -> Iterator[str]:
        if self.default_audience and self.find_api(self.default_audience) is None:
            yield f"default_audience {self.default_audience!r} is no API's audience."
        for client in self.clients:
            if client.default_audience and self.find_api(client.default_audience) is None:
                yield f"Client {client.client_id!r}: default_audience {client.default_audience!r} is no API's audience."
            # The default clients stay valid if only the APIs are replaced.
            if client not in _DEFAULT_CLIENTS:
                for audience in sorted(client.introspects):
                    if self.find_api(audience) is None:
                        yield f"Client {client.client_id!r}: it introspects {audience!r}, which is no API's audience."

    def find_api(self, audience: str) -> Api | None:
        """Return the API with this audience, or None."""
        return next((api for api in self.apis if api.audience == audience), None)

    def find_client(self, client_id: str) -> Client | None:
        """Return the client with this id, or None."""
        return next((client for client in self.clients if client.client_id == client_id), None)

    def find_user(self, *, username: str | None = None, sub: str | None = None) -> User | None:
        """Return the user with this username or this subject, or None."""
        return next((user for user in self.users if username == user.username or sub == user.sub), None)


def _is_plain_url(text: str) -> bool:
    # RFC 8414 §2: an issuer is a URL without query and fragment. It demands https; a mock issuer allows http.
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    # A semicolon or a comma would end the directive of the Content-Security-Policy that contains the URL.
    return usable and bool(_PRINTABLE.fullmatch(text)) and not set(text) & set("?#;,")


def _is_redirect_uri(text: str) -> bool:
    # RFC 6749 §3.1.2: an absolute URI without a fragment. Schemes such as `javascript` and `data` contain no dot.
    try:
        parts = urlsplit(text)
        is_web = parts.scheme in {"http", "https"} and bool(parts.hostname) and "@" not in parts.netloc
        usable = parts.port != 0 and (is_web or bool(_APP_SCHEME.fullmatch(parts.scheme)))
    except ValueError:
        usable = False
    return usable and bool(_URI.fullmatch(text))


def _without_loopback_port(redirect_uri: str) -> str | None:
    # None unless it is a loopback URL, in the form in which it would be configured.
    try:
        parts = urlsplit(redirect_uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme != "http" or host not in _LOOPBACK_HOSTS:
        return None
    name = f"[{host}]" if ":" in host else host
    if parts.netloc not in {name, f"{name}:{port}"} or not redirect_uri.startswith(f"http://{parts.netloc}"):
        return None
    return f"http://{name}" + redirect_uri.removeprefix(f"http://{parts.netloc}")


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _duplicates(things: str, name: str, values: Sequence[str]) -> Iterator[str]:
    for value in sorted({value for value in values if values.count(value) > 1}):
        yield f"Several {things} have the {name} {value!r}."
