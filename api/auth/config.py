"""What a `TokenVerifier` trusts: issuers, audiences, algorithms, leeway. Immutable, and checked on construction."""

import copy
import json
import re
from collections.abc import Iterator, Mapping
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


def is_secure_url(url: str) -> bool:
    """Return whether `url` is https, or http on loopback, without credentials and fragment, in printable ASCII."""
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
            yield f"The issuer {self.identifier!r} must be an https URL (http on loopback only), no query, no fragment."
        if self.jwks_url is not None and not is_secure_url(self.jwks_url):
            yield f"The key set address {self.jwks_url!r} must be an https URL (http on loopback only)."

    def _mistakes_in_audiences(self) -> Iterator[str]:
        if not isinstance(self.audiences, tuple) or not self.audiences:
            yield f"The issuer {self.identifier!r} needs at least one audience, in a tuple."
            return
        if not isinstance(self.resource_audiences, tuple):
            yield f"The resource audiences of the issuer {self.identifier!r} must be a tuple."
            return
        everyone = (*self.audiences, *self.resource_audiences)
        if not all(isinstance(audience, str) and audience for audience in everyone):
            yield f"Every audience of the issuer {self.identifier!r} must be a non-empty string."
            return
        for audience in everyone:
            if not audience.isprintable():
                yield f"The audience {audience!r} has an invisible or control character; type it anew."
        if self.audience_claim not in get_args(AudienceClaim):
            yield f"audience_claim must be {' or '.join(get_args(AudienceClaim))}."
        elif self.audience_claim == "aud" and self.resource_audiences:
            yield "resource_audiences are for the audience_claim client_id; with aud, name them in audiences."

    def _mistakes_in_rules(self) -> Iterator[str]:
        if not _is_tuple_of_strings(self.token_types) or not all(map(_MEDIA_TYPE.fullmatch, self.token_types)):
            yield "Token types must be media types without 'application/', such as at+jwt, in a tuple."
        if not _is_tuple_of_strings(self.scope_claims) or not set(self.scope_claims) <= set(SCOPE_CLAIMS):
            yield f"Scope claims must be among {', '.join(SCOPE_CLAIMS)}, in a tuple."
        if not _is_tuple_of_strings(self.client_id_claims) or not all(map(_is_claim_name, self.client_id_claims)):
            yield "client_id_claims must be names of claims, in a tuple."
        if not isinstance(self.one_of_claims, tuple) or not all(
            _is_tuple_of_strings(group) and all(map(_is_claim_name, group)) for group in self.one_of_claims
        ):
            yield 'one_of_claims must be groups of names of claims, a tuple of tuples: (("scp", "roles"),).'
        if not isinstance(self.required_claims, Mapping) or not all(map(_is_claim_name, self.required_claims)):
            yield "required_claims must be a mapping of names of claims to values."
        else:
            for name, value in self.required_claims.items():
                if not _is_json(value):
                    yield f"The required value of the claim {name} is not JSON."
        for name in ("scope_list", "subject_required"):
            if not isinstance(getattr(self, name), bool):
                yield f"{name} is True or False."


def _restore_issuer(arguments: dict[str, Any]) -> TrustedIssuer:
    return TrustedIssuer(**arguments)


def _is_tuple_of_strings(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(item, str) for item in value)


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

    def _mistakes_in_trust(self) -> list[str]:
        mistakes = []
        identifiers = [issuer.identifier for issuer in self.issuers]
        if not identifiers:
            mistakes.append("At least one issuer must be trusted.")
        if len(set(identifiers)) < len(identifiers):
            mistakes.append("An issuer is named twice.")
        if not self.algorithms:
            mistakes.append("At least one algorithm must be allowed.")
        unknown = sorted(set(self.algorithms) - KEY_KINDS.keys())
        if unknown:
            # `none` and the HS algorithms are refused here as well: KEY_KINDS does not have them (RFC 8725 §3.1, §3.2).
            mistakes.append(f"The algorithm {', '.join(unknown)} is not supported; choose from {', '.join(KEY_KINDS)}.")
        return mistakes

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
