"""What a `TokenVerifier` trusts: issuers, audiences, algorithms, leeway. Immutable, and checked on construction."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
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
SCOPE_CLAIMS = ("scope", "scp", "permissions")

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
    """An authorization server whose tokens are accepted.

    `identifier` has to equal the `iss` of its tokens, trailing slash included (RFC 8414 §2, RFC 9068 §4).
    `audiences` are the identifiers of this API at that issuer; a token must name one of them (RFC 7519 §4.1.3).
    `jwks_url` is the address of the key set; None means discovery (OpenID Connect Discovery 1.0 §4, RFC 8414 §3).

    Raises ConfigError. Sends nothing to the issuer.
    """

    identifier: str
    audiences: tuple[str, ...]
    jwks_url: str | None = None

    def __post_init__(self) -> None:
        mistakes = []
        if not is_secure_url(self.identifier) or urlsplit(self.identifier).query:
            mistakes.append(
                f"The issuer {self.identifier!r} must be an https URL (http on loopback only), no query, no fragment."
            )
        if not isinstance(self.audiences, tuple) or not self.audiences:
            mistakes.append(f"The issuer {self.identifier!r} needs at least one audience, in a tuple.")
        elif not all(isinstance(audience, str) and audience for audience in self.audiences):
            mistakes.append(f"Every audience of the issuer {self.identifier!r} must be a non-empty string.")
        else:
            mistakes += [
                f"The audience {audience!r} has an invisible or control character; type it anew."
                for audience in self.audiences
                if not audience.isprintable()
            ]
        if self.jwks_url is not None and not is_secure_url(self.jwks_url):
            mistakes.append(f"The key set address {self.jwks_url!r} must be an https URL (http on loopback only).")
        if mistakes:
            raise ConfigError(mistakes)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthConfig:
    """What a TokenVerifier trusts.

    `algorithms` are the accepted values of `alg` (RFC 8725 §3.1). `token_types` are the accepted values of `typ`
    (RFC 8725 §3.11), without `application/`, in any case. `leeway_seconds` is the tolerance for clocks in `exp`, `nbf`
    and `iat`. `stale_seconds` is how long past their freshness keys are used while the issuer cannot be reached; 0 is
    not at all. `token_cache_size` is the number of verified tokens that are cached; 0 is none. `scope_claims` are the
    claims that grant scopes, among `scope`, `scp` and `permissions`.

    Raises ConfigError with all mistakes.
    """

    issuers: tuple[TrustedIssuer, ...]
    algorithms: tuple[str, ...] = ("RS256",)
    token_types: tuple[str, ...] = DEFAULT_TOKEN_TYPES
    leeway_seconds: int = DEFAULT_LEEWAY_SECONDS
    stale_seconds: int = DEFAULT_STALE_SECONDS
    token_cache_size: int = DEFAULT_TOKEN_CACHE_SIZE
    scope_claims: tuple[str, ...] = ("scope",)

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
        if not self.token_types or not all(_MEDIA_TYPE.fullmatch(name) for name in self.token_types):
            mistakes.append("Token types must be media types without 'application/', such as at+jwt.")
        if not self.scope_claims or not set(self.scope_claims) <= set(SCOPE_CLAIMS):
            mistakes.append(f"Scope claims must be among {', '.join(SCOPE_CLAIMS)}.")
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
