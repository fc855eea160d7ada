"""DPoP proofs (RFC 9449): verified at the OAuth endpoints and at `/userinfo`."""

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import SplitResult, urlsplit

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidGrantError
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key, import_key
from joserfc.util import base64_to_int

from mock_issuer.flow.issuer import Issuer
from mock_issuer.oauth.request import OAuthRequest

HEADER = "DPoP"
NONCE_HEADER = "DPoP-Nonce"
# RFC 9449 §5.1: for the metadata. The library treats EdDSA (RFC 8037) and Ed25519 (RFC 9864) alike.
ALGORITHMS = ("ES256", "Ed25519", "EdDSA", "PS256", "RS256")
# RFC 7638 §3: a SHA-256 in base64url.
THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")

# How far `iat` may be from this machine's clock, before or after (RFC 9449 §11.1).
_WINDOW_SECONDS = 60
_MAX_JTI_CHARS = 256
_MIN_RSA_BITS = 2048
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_DEFAULT_PORTS = {"http": 80, "https": 443}
# The private members of a JWK (RFC 7518 §6.2.2, §6.3.2, §6.4; RFC 8037 §2).
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
# `kty` and `crv` of the keys for each algorithm.
_KEYS: Mapping[object, tuple[str, str | None]] = MappingProxyType(
    {
        "ES256": ("EC", "P-256"),
        "Ed25519": ("OKP", "Ed25519"),
        "EdDSA": ("OKP", "Ed25519"),
        "PS256": ("RSA", None),
        "RS256": ("RSA", None),
    }
)


class _Registry(jws.JWSRegistry):
    # The key is in the header: one of RSA with 4096 bits has about 1,000 characters.
    max_header_length = 4096
    max_payload_length = 4096

    def get_alg(self, name: str) -> Any:
        # The library warns of EdDSA, which RFC 9864 §3.1.2 deprecates and clients send.
        return super().get_alg("Ed25519" if name == "EdDSA" else name)


_REGISTRY = _Registry(algorithms=list(ALGORITHMS), strict_check_header=False)


class InvalidProofError(OAuth2Error):
    """The proof is missing or invalid (RFC 9449 §5, §7.1)."""

    error = "invalid_dpop_proof"


class NonceNeededError(OAuth2Error):
    """The proof needs the nonce that the answer has (RFC 9449 §8, §9)."""

    error = "use_dpop_nonce"


def proven_key(issuer: Issuer, request: OAuthRequest) -> str | None:
    """Return the thumbprint of the key whose possession an OAuth request proves; None if it has no proof.

    Raises InvalidProofError and NonceNeededError as `verify_proof` does.
    """
    if request.unverified_proof is None:
        return None
    return verify_proof(issuer, request.unverified_proof, method=request.method, urls=request.urls)


def check_binding(bound_to: str, thumbprint: str | None) -> None:
    """Raise unless a grant is bound to no key (an empty `bound_to`), or to the key that the request proves.

    Raises InvalidProofError without a proof, InvalidGrantError for another key (RFC 9449 §5, §10).
    """
    if not bound_to:
        return
    if thumbprint is None:
        raise InvalidProofError("This grant is bound to a key: send a DPoP proof.")
    if not secrets.compare_digest(bound_to, thumbprint):
        raise InvalidGrantError("This grant is bound to another key than the one of the DPoP proof.")


def verify_proof(
    issuer: Issuer, unverified_proof: str, *, method: str, urls: Collection[str], access_token: str | None = None
) -> str:
    """Return the thumbprint of a proof's key (RFC 7638). Checks all of RFC 9449 §4.3 but the key of the token.

    Args:
        issuer: remembers the proof, which is accepted once.
        unverified_proof: the value of the header `DPoP`. Repeated ones reach it joined by a comma, and are refused.
        method: the method of the request.
        urls: the addresses of the endpoint: that of the metadata, and the one that the request was sent to.
        access_token: the token that the proof must be for; None at the token endpoint.

    Raises InvalidProofError for an invalid proof, NonceNeededError for one without the nonce that is configured.
    """
    header, claims, thumbprint = _verify_signature(unverified_proof)
    if header.get("typ") != "dpop+jwt":
        raise InvalidProofError("The typ of a DPoP proof is dpop+jwt.")
    if claims.get("htm") != method:
        raise InvalidProofError("The htm of the DPoP proof is not the method of the request.")
    if not _names_one_of(claims.get("htu"), urls):
        raise InvalidProofError("The htu of the DPoP proof is not the address of the request.")
    if access_token is not None and claims.get("ath") != _digest(access_token):
        raise InvalidProofError("The ath of the DPoP proof is not that of the access token.")
    _check_nonce(issuer, claims)
    _check_first_use(issuer, claims, thumbprint)
    return thumbprint


def nonce_headers(issuer: Issuer) -> dict[str, str]:
    """Return the header with the nonce for the next proof; empty unless nonces are configured (RFC 9449 §8.2)."""
    return {NONCE_HEADER: issuer.dpop_nonces.current(now=issuer.clock())} if issuer.config.dpop_nonces else {}


def _verify_signature(unverified_proof: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    # RFC 9449 §4.3: 1, 2, 5, 6, 7.
    if not _COMPACT.fullmatch(unverified_proof):
        raise InvalidProofError("The header DPoP must be one JWT.")
    try:
        unverified = jws.extract_compact(unverified_proof.encode(), registry=_REGISTRY)
        if not isinstance(unverified.headers(), dict):
            raise InvalidProofError("The header of the DPoP proof is no JSON object.")
        key = _read_key(unverified.headers())
        if not jws.validate_compact(unverified, key, registry=_REGISTRY):
            raise InvalidProofError("The signature of the DPoP proof is not by its jwk.")
        claims = json.loads(unverified.payload or b"")
    except (JoseError, ValueError, TypeError, RecursionError) as exc:
        # joserfc raises the last three for segments and keys that are malformed.
        raise InvalidProofError("The DPoP proof cannot be read or verified.") from exc
    if not isinstance(claims, dict):
        raise InvalidProofError("The claims of the DPoP proof are no JSON object.")
    return unverified.headers(), claims, key.thumbprint()


def _read_key(unverified_header: Mapping[str, Any]) -> Key:
    algorithm, jwk = unverified_header.get("alg"), unverified_header.get("jwk")
    if algorithm not in ALGORITHMS:
        raise InvalidProofError("The alg of the DPoP proof is not supported.")
    if "crit" in unverified_header:
        raise InvalidProofError("The DPoP proof has critical header parameters, which are not supported.")
    if not isinstance(jwk, dict):
        raise InvalidProofError("The DPoP proof has no jwk.")
    if not _PRIVATE_MEMBERS.isdisjoint(jwk):
        raise InvalidProofError("The jwk of the DPoP proof is not a public key alone.")
    if (jwk.get("kty"), jwk.get("crv")) != _KEYS[algorithm]:
        raise InvalidProofError("The jwk of the DPoP proof is no key for its alg.")
    # Before the import, since the library warns of smaller keys.
    if jwk["kty"] == "RSA" and base64_to_int(jwk.get("n", "")).bit_length() < _MIN_RSA_BITS:
        raise InvalidProofError("The RSA key of the DPoP proof has fewer than 2048 bits.")
    return import_key(jwk)


def _check_nonce(issuer: Issuer, claims: Mapping[str, Any]) -> None:
    if not issuer.config.dpop_nonces:
        return
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not issuer.dpop_nonces.is_valid(nonce, now=issuer.clock()):
        raise NonceNeededError("The DPoP proof needs the nonce of the header DPoP-Nonce.")


def _check_first_use(issuer: Issuer, claims: Mapping[str, Any], thumbprint: str) -> None:
    issued_at, jti, now = claims.get("iat"), claims.get("jti"), issuer.clock.machine()
    if isinstance(issued_at, bool) or not isinstance(issued_at, int | float):
        raise InvalidProofError("The DPoP proof has no iat.")
    # Against the machine's clock: no client knows that a test has moved the issuer's.
    # Compared only: NaN is in no window, and a huge integer is no float.
    if not now - _WINDOW_SECONDS <= issued_at <= now + _WINDOW_SECONDS:
        raise InvalidProofError(f"The iat of the DPoP proof is more than {_WINDOW_SECONDS} s from the issuer's clock.")
    if not isinstance(jti, str) or not 0 < len(jti) <= _MAX_JTI_CHARS:
        raise InvalidProofError(f"The jti of the DPoP proof is not a string of 1 to {_MAX_JTI_CHARS} characters.")
    if not issuer.used_proofs.add(thumbprint, jti, now=now, until=issued_at + _WINDOW_SECONDS + 1):
        raise InvalidProofError("The DPoP proof was used before.")


def _digest(access_token: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(access_token.encode()).digest()).rstrip(b"=").decode()


def _names_one_of(unverified_htu: object, urls: Collection[str]) -> bool:
    if not isinstance(unverified_htu, str):
        return False
    try:
        named = _normalized(urlsplit(unverified_htu))
    except ValueError:
        return False
    return any(named == _normalized(urlsplit(url)) for url in urls)


def _normalized(url: SplitResult) -> tuple[str, str, int | None, str]:
    # RFC 9449 §4.3: without query and fragment, normalized by syntax and scheme (RFC 3986 §6.2.2, §6.2.3). Userinfo is
    # no part of an http URI that is sent (RFC 9110 §4.2.4).
    if "@" in url.netloc:
        raise ValueError("The address has userinfo.")
    return url.scheme, url.hostname or "", url.port or _DEFAULT_PORTS.get(url.scheme), url.path or "/"
