"""What a mock issuer serves: its APIs, clients, users, dialect and lifetimes. Frozen, checked as a whole."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args
from urllib.parse import urlsplit

from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE

from mock_issuer.rules import RuleContext

CLIENT_CREDENTIALS_GRANT_TYPE = "client_credentials"
REFRESH_TOKEN_GRANT_TYPE = "refresh_token"  # noqa: S105  # the name of a grant type
GRANT_TYPES = frozenset({DEVICE_CODE_GRANT_TYPE, REFRESH_TOKEN_GRANT_TYPE, CLIENT_CREDENTIALS_GRANT_TYPE})

# The scopes that belong to no API (OpenID Connect Core §5.4, §11), with what the consent page says about each.
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
TokenDialect = Literal["rfc9068", "auth0"]
UserCodeCharset = Literal["base20", "digits"]

# RFC 8628 §5.1: a user code must withstand guessing; six digits under the limit on wrong codes are the least.
_SHORTEST_USER_CODE = 6
# What a person can type, and less than what user_code.py reads of it: beyond that, codes would not be told apart.
_LONGEST_MASK = 32
_POSITIVE = (
    "access_token_seconds",
    "id_token_seconds",
    "device_code_seconds",
    "poll_interval_seconds",
    "wrong_code_limit",
)
# Ten years in seconds, about: more would end in times that nobody can write down.
_LARGEST_NUMBER = 316_000_000
# RFC 6749 §3.3: scope-token. Appendix A: client ids are printable ASCII.
_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")
_PRINTABLE = re.compile(r"[\x21-\x7E]+")


class ConfigError(ValueError):
    """A configuration that cannot be served. `mistakes` holds a sentence for each thing wrong with it."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


def _fill(record: object, **defaults: str) -> None:
    for name, default in defaults.items():
        if not getattr(record, name):
            object.__setattr__(record, name, default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """An API that tokens are issued for.

    Args:
        audience: its identifier, the `aud` of its tokens.
        name: what the consent page calls it; the audience where left out.
        scopes: each scope, with what it allows in plain words ("See your devices").
        allow_offline_access: whether `offline_access` gives a refresh token.
    """

    audience: str
    name: str = ""
    scopes: Mapping[str, str] = field(default_factory=dict)
    allow_offline_access: bool = True

    def __post_init__(self) -> None:
        _fill(self, name=self.audience)

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
        name: what the pages call it; the client id where left out.
        grant_types: the values of `grant_type` it may use.
        secret: its secret; None makes it a public client, from which no secret is expected.
        application_type: only a native one may use the device flow.
        dynamically_registered: whether it registered itself (RFC 7591); such a one may not use the device flow.
        rotate_refresh_tokens: whether each refresh replaces the refresh token, and a second use ends the family.
    """

    client_id: str
    name: str = ""
    grant_types: frozenset[str] = frozenset({DEVICE_CODE_GRANT_TYPE, REFRESH_TOKEN_GRANT_TYPE})
    secret: str | None = field(default=None, repr=False)
    application_type: ApplicationType = "native"
    dynamically_registered: bool = False
    rotate_refresh_tokens: bool = True

    def __post_init__(self) -> None:
        _fill(self, name=self.client_id)

    def allows_grant(self, grant_type: str) -> bool:
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
    """A person who can log in. What is left out follows from the `username`; all of it is public test data.

    Args:
        username: what they log in with.
        password: `<username>-password` where left out.
        sub: the stable subject of their tokens, `mock|<username>` where left out.
        name: what the pages and the ID token call them.
        email: their address.
    """

    username: str
    password: str = field(default="", repr=False)
    sub: str = ""
    name: str = ""
    email: str = ""

    def __post_init__(self) -> None:
        _fill(
            self,
            password=f"{self.username}-password",
            sub=f"mock|{self.username}",
            name=f"{self.username.title()} Example",
            email=f"{self.username}@example.com",
        )

    def _mistakes(self) -> Iterator[str]:
        if not _PRINTABLE.fullmatch(self.username):
            yield f"User {self.username!r}: the name must be printable ASCII without spaces."


# What a tester may do before tokens are made: look on, add claims to the context, or raise RuleDenied.
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
    Client(client_id="device-app", name="Device App"),
    Client(
        client_id="device-gateway",
        name="Device Gateway",
        grant_types=frozenset({CLIENT_CREDENTIALS_GRANT_TYPE}),
        secret="public-test-secret",  # noqa: S106  # a test credential, stated as public in the README
        application_type="machine",
    ),
)
_DEFAULT_USERS = (User(username="alice"), User(username="bob"))


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
        wrong_code_limit: wrong user codes that a session or an address may send in 15 minutes.
        pick_user: whether the log-in page has a button for each user, besides the form with a password.
        rules: asked in turn before an app gets tokens for a user.
        api_url: where the API runs that the playground calls; empty where there is none.

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
    wrong_code_limit: int = 5
    pick_user: bool = True
    rules: tuple[Rule, ...] = ()
    api_url: str = ""

    def __post_init__(self) -> None:
        if mistakes := list(self._mistakes()):
            raise ConfigError(mistakes)

    def _mistakes(self) -> Iterator[str]:
        if not _is_plain_url(self.issuer):
            yield f"The issuer {self.issuer!r} is not an http(s) URL without query and fragment."
        if self.api_url and not _is_plain_url(self.api_url):
            yield f"api_url {self.api_url!r} is not an http(s) URL without query and fragment."
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
        for name in _POSITIVE:
            if not 0 < getattr(self, name) <= _LARGEST_NUMBER:
                yield f"{name} is a number from 1 to {_LARGEST_NUMBER}."
        mask = self.user_code_mask
        if set(mask) - set("*-. ") or mask.count("*") < _SHORTEST_USER_CODE or len(mask) > _LONGEST_MASK:
            yield (
                f"user_code_mask holds at least {_SHORTEST_USER_CODE} asterisks, and besides them only dashes, "
                f"dots and spaces, up to {_LONGEST_MASK} in all."
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


def _is_plain_url(text: str) -> bool:
    # RFC 8414 §2: a URL without query and fragment. Plain http is what a mock issuer is mostly asked for.
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    # The last two would end a source in a Content-Security-Policy.
    return usable and bool(_PRINTABLE.fullmatch(text)) and not set(text) & set("?#;,")


def _twice(things: str, name: str, values: Sequence[str]) -> Iterator[str]:
    for value in sorted({value for value in values if values.count(value) > 1}):
        yield f"Several {things} have the {name} {value!r}."
