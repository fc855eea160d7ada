"""What a `TokenVerifier` trusts: issuers, audiences, algorithms, leeway. Immutable, and checked on construction."""

import copy
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

# Each supported algorithm with the `kty` of its keys, and their `crv` if they have one (RFC 7518 §3.1, RFC 8037 §3.1).
KEY_KINDS: Mapping[str, tuple[str, str | None]] = MappingProxyType(
    {
        "RS256": ("RSA", None),
        "RS384": ("RSA", None),
        "RS512": ("RSA", None),
        "PS256": ("RSA", None),
        "ES256": ("EC", "P-256"),
        "EdDSA": ("OKP", "Ed25519"),
    }
)
# Synchronized clocks differ by a second or two, neglected ones by more. RFC 7519 §4.1.4: "no more than a few minutes".
DEFAULT_LEEWAY_SECONDS = 30
# The lifetime of Auth0's access tokens, 24 h: in a longer outage no token would be valid any more.
DEFAULT_STALE_SECONDS = 86_400
DEFAULT_TOKEN_CACHE_SIZE = 10_000
# `at+jwt` by RFC 9068 §2.1; issuers older than that RFC send `JWT`, Auth0 among them.
DEFAULT_TOKEN_TYPES = ("at+jwt", "JWT")
# The claims that may grant: the first two scopes, the others permissions.
SCOPE_CLAIMS = ("scope", "scp", "permissions", "roles")
AudienceClaim = Literal["aud", "client_id"]

_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
# 1*NQCHAR, RFC 6749 appendix A.4.
_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
# Printable ASCII without quotes and backslashes: what needs no escape in a quoted-string (RFC 9110 §5.6.4).
_QUOTABLE = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]+")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+")


class ConfigError(ValueError):
    """A configuration with mistakes; `mistakes` has a sentence for each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__(" ".join(mistakes))
        self.mistakes = tuple(mistakes)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to copy and unpickle this error: `args` are not the arguments of `__init__`."""
        return type(self), (list(self.mistakes),)


def without_credentials(url: Any) -> Any:
    """Return a URL to show in a message: without its user name and password, if it has some. Others as they are."""
    if not isinstance(url, str) or "@" not in url:
        return url
    scheme, separator, _ = url.partition("//")
    return f"{scheme if separator else ''}{separator}***@{url.rpartition('@')[2]}"


def is_secure_url(url: object) -> bool:
    """Return whether `url` is https, or http on loopback, without credentials and fragment, in printable ASCII."""
    if not isinstance(url, str):
        return False
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError if it is not a number
    except ValueError:
        return False
    is_loopback_http = parts.scheme == "http" and parts.hostname in _LOOPBACK_HOSTS
    return (
        (parts.scheme == "https" or is_loopback_http)
        and bool(parts.hostname)
        and parts.username is None
        and parts.password is None
        and not parts.fragment
        and url.isascii()
        and url.isprintable()
        and " " not in url
    )


def mistakes_in_jwks_url(url: object) -> list[str]:
    """Return a sentence if the address of a key set is neither secure nor None."""
    if url is None or is_secure_url(url):
        return []
    return [f"jwks_url {without_credentials(url)!r} must be an https URL (http on loopback only)."]


def mistakes_in_audiences(name: str, audiences: Iterable[str]) -> list[str]:
    """Return a sentence for each of the audiences in the argument `name` that would be read as another one."""
    return [
        f"{name} {audience!r} has an invisible or control character; type it anew."
        for audience in audiences
        if not audience.isprintable()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """An authorization server whose tokens are accepted, and the rules for its tokens.

    `identifier` has to equal the `iss` of its tokens, trailing slash included (RFC 8414 §2, RFC 9068 §4).
    `audiences` are the identifiers of this API at that issuer; a token must name one of them (RFC 7519 §4.1.3).
    `jwks_url` is the address of the key set; None means discovery (OpenID Connect Discovery 1.0 §4, RFC 8414 §3).

    The rules; `issuers.py` has those of several vendors:

    `token_types` are the accepted values of `typ` in the header, without `application/`, in any case (RFC 8725 §3.11);
    an absent one counts as `JWT`.
    `scope_claims` are the claims that grant: `scope` and `scp` grant scopes, `permissions` and `roles` permissions.
    `app_scope_claims` are claims that grant in the same way, but only in a token that has none of `scope_claims`: one
    that an app got for itself, where the issuer uses the same claim for what a user may do.
    `scope_list` tells whether `scope` may also be a list of words: by RFC 8693 §4.2 it is a string of words.
    `client_id_claims` are the claims that may name the client, the one that counts first.
    `subject_required` tells whether a token must have a `sub` (RFC 9068 §2.2).
    `audience_claim` is the claim that names the audience. With `client_id`, `audiences` are the ids of this API's
    clients, and a token with an `aud` is refused unless that names one of `resource_audiences`.
    `required_claims` are claims with the value that each must have, equal as JSON: what marks an access token.
    `one_of_claims` are groups of claims: of each group, a token must have at least one, a non-empty string or list.

    Raises ConfigError. Sends nothing to the issuer.
    """

    identifier: str
    audiences: tuple[str, ...]
    jwks_url: str | None = None
    token_types: tuple[str, ...] = DEFAULT_TOKEN_TYPES
    scope_claims: tuple[str, ...] = ("scope",)
    app_scope_claims: tuple[str, ...] = ()
    scope_list: bool = False
    client_id_claims: tuple[str, ...] = ("client_id", "azp")
    subject_required: bool = True
    audience_claim: AudienceClaim = "aud"
    resource_audiences: tuple[str, ...] = ()
    required_claims: Mapping[str, Any] = field(default_factory=dict, hash=False)
    one_of_claims: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        mistakes = [*self._mistakes_in_addresses(), *self._mistakes_in_audiences(), *self._mistakes_in_rules()]
        if mistakes:
            raise ConfigError(mistakes)
        # A copy, since the caller may change its dict later.
        object.__setattr__(self, "required_claims", MappingProxyType(copy.deepcopy(dict(self.required_claims))))

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to copy and pickle this issuer: a MappingProxyType has no way."""
        arguments = {one.name: getattr(self, one.name) for one in fields(self)}
        return _restore_issuer, ({**arguments, "required_claims": dict(self.required_claims)},)

    def _mistakes_in_addresses(self) -> Iterator[str]:
        if not is_secure_url(self.identifier) or urlsplit(self.identifier).query:
            shown = without_credentials(self.identifier)
            yield f"identifier {shown!r} must be an https URL (http on loopback only), no query, no fragment."
        yield from mistakes_in_jwks_url(self.jwks_url)

    def _mistakes_in_audiences(self) -> Iterator[str]:
        for name, wanted in (
            ("audiences", "one or more non-empty strings"),
            ("resource_audiences", "non-empty strings"),
        ):
            values = getattr(self, name)
            mistakes = [*_mistakes_in_strings(name, values, bool, wanted, may_be_empty=name != "audiences")]
            yield from mistakes or mistakes_in_audiences(name, values)
        if self.audience_claim not in get_args(AudienceClaim):
            yield f"audience_claim must be {' or '.join(get_args(AudienceClaim))}."
        elif self.audience_claim == "aud" and self.resource_audiences:
            yield "resource_audiences are for the audience_claim client_id; with aud, name them in audiences."

    def _mistakes_in_rules(self) -> Iterator[str]:
        wanted = "one or more media types without 'application/', such as at+jwt"
        yield from _mistakes_in_strings("token_types", self.token_types, _is_media_type, wanted)
        wanted = f"one or more of {', '.join(SCOPE_CLAIMS)}"
        yield from _mistakes_in_strings("scope_claims", self.scope_claims, SCOPE_CLAIMS.__contains__, wanted)
        wanted = f"among {', '.join(SCOPE_CLAIMS)}, and not in scope_claims"
        yield from _mistakes_in_strings(
            "app_scope_claims", self.app_scope_claims, self._may_grant_to_apps, wanted, may_be_empty=True
        )
        wanted = "one or more names of claims"
        yield from _mistakes_in_strings("client_id_claims", self.client_id_claims, _is_claim_name, wanted)
        if not isinstance(self.one_of_claims, tuple) or not all(
            isinstance(group, tuple) for group in self.one_of_claims
        ):
            yield 'one_of_claims must be a tuple of tuples: (("scp", "roles"),).'
        elif not all(group and all(map(_is_claim_name, group)) for group in self.one_of_claims):
            yield "one_of_claims must be groups of one or more names of claims."
        if not isinstance(self.required_claims, Mapping) or not all(map(_is_claim_name, self.required_claims)):
            yield "required_claims must be names of claims, each with its value."
        else:
            for name, value in self.required_claims.items():
                if not _is_json(value):
                    yield f"required_claims: the value of {name} is not JSON."
        for name in ("scope_list", "subject_required"):
            if not isinstance(getattr(self, name), bool):
                yield f"{name} must be True or False."

    def _may_grant_to_apps(self, claim: str) -> bool:
        return claim in SCOPE_CLAIMS and not (isinstance(self.scope_claims, tuple) and claim in self.scope_claims)


def _restore_issuer(arguments: dict[str, Any]) -> TrustedIssuer:
    return TrustedIssuer(**arguments)


def _mistakes_in_strings(
    name: str, values: object, is_good: Callable[[str], object], wanted: str, *, may_be_empty: bool = False
) -> Iterator[str]:
    """Yield a sentence that is right for Python or, since files are read into tuples, for both."""
    if not isinstance(values, tuple):
        yield f'{name} must be a tuple of strings: ("a", "b") or ("a",).'
    elif not (values or may_be_empty) or not all(isinstance(value, str) and is_good(value) for value in values):
        yield f"{name} must be {wanted}."


def _is_media_type(name: str) -> bool:
    return _MEDIA_TYPE.fullmatch(name) is not None


def _is_claim_name(name: object) -> bool:
    return isinstance(name, str) and bool(name) and name.isprintable()


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthConfig:
    """What a TokenVerifier trusts.

    `algorithms` are the accepted values of `alg` (RFC 8725 §3.1). `leeway_seconds` is the tolerance for clocks in
    `exp`, `nbf` and `iat`. `stale_seconds` is how long past their freshness keys are used while the issuer cannot be
    reached; 0 is not at all. `token_cache_size` is the number of verified tokens that are cached; 0 is none.

    Raises ConfigError with all mistakes.
    """

    issuers: tuple[TrustedIssuer, ...]
    algorithms: tuple[str, ...] = ("RS256",)
    leeway_seconds: int = DEFAULT_LEEWAY_SECONDS
    stale_seconds: int = DEFAULT_STALE_SECONDS
    token_cache_size: int = DEFAULT_TOKEN_CACHE_SIZE

    def __post_init__(self) -> None:
        mistakes = [*self._mistakes_in_trust(), *self._mistakes_in_numbers()]
        if mistakes:
            raise ConfigError(mistakes)

    def _mistakes_in_trust(self) -> Iterator[str]:
        if not isinstance(self.issuers, tuple):
            yield "issuers must be a tuple, also of one: (issuer,)."
        elif not all(isinstance(issuer, TrustedIssuer) for issuer in self.issuers):
            yield "issuers must be TrustedIssuer objects."
        elif not self.issuers:
            yield "At least one issuer must be trusted."
        elif len({issuer.identifier for issuer in self.issuers}) < len(self.issuers):
            yield "An issuer is named twice."
        if not isinstance(self.algorithms, tuple):
            yield 'algorithms must be a tuple, also of one: ("RS256",).'
        elif not self.algorithms:
            yield "At least one algorithm must be allowed."
        else:
            # `none` and the HS algorithms are refused here as well: KEY_KINDS does not have them (RFC 8725 §3.1, §3.2).
            unknown = [str(one) for one in self.algorithms if not isinstance(one, str) or one not in KEY_KINDS]
            if unknown:
                yield f"The algorithm {', '.join(unknown)} is not supported; choose from {', '.join(KEY_KINDS)}."

    def _mistakes_in_numbers(self) -> list[str]:
        numbers = {
            "leeway_seconds": self.leeway_seconds,
            "stale_seconds": self.stale_seconds,
            "token_cache_size": self.token_cache_size,
        }
        return [
            f"{name} must be a whole number, 0 or more."
            for name, value in numbers.items()
            if not isinstance(value, int) or isinstance(value, bool) or value < 0
        ]


def is_scope(word: str) -> bool:
    """Return whether `word` is one scope-token (RFC 6749 §3.3)."""
    return isinstance(word, str) and _SCOPE_TOKEN.fullmatch(word) is not None


def is_quotable(text: str) -> bool:
    """Return whether `text` needs no escape between the quotes of a challenge (RFC 9110 §5.6.4)."""
    return _QUOTABLE.fullmatch(text) is not None
