"""What a mock issuer serves: its APIs, clients, users, dialect and lifetimes. Frozen, checked as a whole."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args
from urllib.parse import urlsplit

from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE

CLIENT_CREDENTIALS_GRANT_TYPE = "client_credentials"
REFRESH_TOKEN_GRANT_TYPE = "refresh_token"  # noqa: S105  # the name of a grant type
GRANT_TYPES = frozenset({DEVICE_CODE_GRANT_TYPE, REFRESH_TOKEN_GRANT_TYPE, CLIENT_CREDENTIALS_GRANT_TYPE})

# The scopes that belong to no API (OpenID Connect Core §5.4, §11), with what the consent page says about each.
OPENID_SCOPES: Mapping[str, str] = MappingProxyType(
    {
        "openid": "Know which account is yours",
        "profile": "See your name",
        "email": "See your e-mail address",
        "offline_access": "Stay connected until you disconnect it",
    }
)

ApplicationType = Literal["native", "web", "machine"]
Profile = Literal["auth0", "rfc"]
TokenDialect = Literal["rfc9068", "auth0"]
UserCodeCharset = Literal["base20", "digits"]

# RFC 8628 §5.1: a user code must withstand guessing; six digits under the limit on wrong codes are the least.
_SHORTEST_USER_CODE = 6
# RFC 6749 §3.3: scope-token. Appendix A: client ids are printable ASCII.
_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")
_PRINTABLE = re.compile(r"[\x21-\x7E]+")


class ConfigError(ValueError):
    """A configuration that cannot be served. `mistakes` holds a sentence for each thing wrong with it."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """An API that tokens are issued for.

    Args:
        audience: its identifier, the `aud` of its tokens.
        name: what the consent page calls it.
        scopes: each scope, with what it allows in plain words ("See your devices").
        allow_offline_access: whether `offline_access` gives a refresh token.
    """

    audience: str
    name: str
    scopes: Mapping[str, str]
    allow_offline_access: bool = True

    def _mistakes(self) -> Iterator[str]:
        if not self.audience:
            yield "An API has an empty audience."
        for scope in self.scopes:
            if not _SCOPE_TOKEN.fullmatch(scope):
                yield f"API {self.audience!r}: {scope!r} is not a scope (RFC 6749 §3.3)."
            elif scope in OPENID_SCOPES:
                yield f"API {self.audience!r}: the scope {scope!r} belongs to OpenID Connect."


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """An application that asks for tokens.

    Args:
        client_id: its identifier.
        name: what the pages call it.
        grant_types: the values of `grant_type` it may use.
        secret: its secret; None makes it a public client, from which no secret is expected.
        application_type: only a native one may use the device flow.
        dynamically_registered: whether it registered itself (RFC 7591); such a one may not use the device flow.
        rotate_refresh_tokens: whether each refresh replaces the refresh token, and a second use ends the family.
    """

    client_id: str
    name: str
    grant_types: frozenset[str]
    secret: str | None = field(default=None, repr=False)
    application_type: ApplicationType = "native"
    dynamically_registered: bool = False
    rotate_refresh_tokens: bool = True

    def check_grant_type(self, grant_type: str) -> bool:
        """Tell whether the client may use this grant. The name is the one that Authlib's grants call."""
        return grant_type in self.grant_types

    def _mistakes(self) -> Iterator[str]:
        if not _PRINTABLE.fullmatch(self.client_id):
            yield f"Client {self.client_id!r}: the id must be printable ASCII without spaces."
        if unknown := sorted(self.grant_types - GRANT_TYPES):
            yield f"Client {self.client_id!r}: unknown grant types {', '.join(unknown)}."
        if self.application_type not in get_args(ApplicationType):
            yield f"Client {self.client_id!r}: application_type is one of {', '.join(get_args(ApplicationType))}."
        if self.secret == "":
            yield f"Client {self.client_id!r}: an empty secret protects nothing; leave it out for a public client."
        if self.secret is None and CLIENT_CREDENTIALS_GRANT_TYPE in self.grant_types:
            yield f"Client {self.client_id!r}: client_credentials needs a secret (RFC 6749 §4.4)."


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person who can log in. `sub` is the stable subject of their tokens; everything here is public test data."""

    username: str
    password: str = field(repr=False)
    sub: str
    name: str
    email: str

    def _mistakes(self) -> Iterator[str]:
        for name in ("username", "password", "sub", "name", "email"):
            if not getattr(self, name):
                yield f"User {self.username!r}: {name} is empty."


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
        grant_types=frozenset({DEVICE_CODE_GRANT_TYPE, REFRESH_TOKEN_GRANT_TYPE}),
    ),
    Client(
        client_id="device-gateway",
        name="Device Gateway",
        grant_types=frozenset({CLIENT_CREDENTIALS_GRANT_TYPE}),
        secret="public-test-secret",  # noqa: S106  # a test credential, stated as public in the README
        application_type="machine",
    ),
)
_DEFAULT_USERS = tuple(
    User(
        username=name.lower(),
        password=f"{name.lower()}-password",
        sub=f"mock|{name.lower()}",
        name=f"{name} Example",
        email=f"{name.lower()}@example.com",
    )
    for name in ("Alice", "Bob")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One mock issuer.

    Args:
        issuer: its identifier, the `iss` of its tokens; its endpoints live under it.
        apis: the APIs it issues tokens for, besides its own `/userinfo`.
        clients: the applications it knows.
        users: the people who can log in.
        profile: the statuses of errors: Auth0's (403 and 429), or 400 throughout as in RFC 8628.
        token_dialect: access tokens as in RFC 9068, or as Auth0's default.
        access_token_seconds: lifetime of access tokens.
        id_token_seconds: lifetime of ID tokens.
        device_code_seconds: lifetime of a device code and its user code.
        poll_interval_seconds: the shortest time between two polls.
        user_code_charset: base20 (RFC 8628 §6.1: consonants, no words) or digits.
        user_code_mask: the shape of a user code, `*` for each character; dashes, dots and spaces stay.
        pick_user: whether the log-in page has a button for each user, besides the form with a password.

    Raises ConfigError, which tells all mistakes together.
    """

    issuer: str = "http://127.0.0.1:9000/"
    apis: tuple[Api, ...] = _DEFAULT_APIS
    clients: tuple[Client, ...] = _DEFAULT_CLIENTS
    users: tuple[User, ...] = _DEFAULT_USERS
    profile: Profile = "auth0"
    token_dialect: TokenDialect = "rfc9068"  # noqa: S105  # the name of a dialect
    access_token_seconds: int = 86_400
    id_token_seconds: int = 36_000
    device_code_seconds: int = 900
    poll_interval_seconds: int = 5
    user_code_charset: UserCodeCharset = "base20"
    user_code_mask: str = "****-****"
    pick_user: bool = True

    def __post_init__(self) -> None:
        if mistakes := list(self._mistakes()):
            raise ConfigError(mistakes)

    def _mistakes(self) -> Iterator[str]:
        yield from _issuer_mistakes(self.issuer)
        parts: tuple[Api | Client | User, ...] = (*self.apis, *self.clients, *self.users)
        for part in parts:
            yield from part._mistakes()  # noqa: SLF001  # the parts are checked with the whole, to tell all at once
        yield from _twice("APIs", "audience", [api.audience for api in self.apis])
        yield from _twice("clients", "client_id", [client.client_id for client in self.clients])
        yield from _twice("users", "username", [user.username for user in self.users])
        yield from _twice("users", "sub", [user.sub for user in self.users])
        for name, choices in (
            ("profile", get_args(Profile)),
            ("token_dialect", get_args(TokenDialect)),
            ("user_code_charset", get_args(UserCodeCharset)),
        ):
            if getattr(self, name) not in choices:
                yield f"{name} is one of {', '.join(choices)}."
        for name in ("access_token_seconds", "id_token_seconds", "device_code_seconds", "poll_interval_seconds"):
            if getattr(self, name) < 1:
                yield f"{name} is a positive number of seconds."
        if set(self.user_code_mask) - set("*-. ") or self.user_code_mask.count("*") < _SHORTEST_USER_CODE:
            yield (
                f"user_code_mask holds at least {_SHORTEST_USER_CODE} asterisks, and besides them only dashes, "
                "dots and spaces."
            )

    def find_api(self, audience: str) -> Api | None:
        """Look an API up by its audience."""
        return next((api for api in self.apis if api.audience == audience), None)

    def find_client(self, client_id: str) -> Client | None:
        """Look a client up by its id."""
        return next((client for client in self.clients if client.client_id == client_id), None)

    def find_user(self, *, username: str | None = None, sub: str | None = None) -> User | None:
        """Look a user up by name or by subject."""
        return next((user for user in self.users if username == user.username or sub == user.sub), None)


def _issuer_mistakes(issuer: str) -> Iterator[str]:
    # RFC 8414 §2: a URL without query and fragment. Plain http is what a mock issuer is mostly asked for.
    try:
        parts = urlsplit(issuer)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not _PRINTABLE.fullmatch(issuer) or "?" in issuer or "#" in issuer:
        yield f"The issuer {issuer!r} is not an http(s) URL without query and fragment."


def _twice(things: str, name: str, values: Sequence[str]) -> Iterator[str]:
    for value in sorted({value for value in values if values.count(value) > 1}):
        yield f"Several {things} have the {name} {value!r}."
