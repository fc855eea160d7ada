"""A DPoP proof: header value → JWS → key and claims, each checked (RFC 9449 §4.2 and §4.3). No state, no clock."""

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from hmac import compare_digest
from typing import Any, NamedTuple

from ..errors import InvalidDPoPProof, InvalidToken
from ..keys.key_set import VerificationKey, verification_key
from ..reasons import Reason
from ..strict_json import parse_object
from ..unverified_token import decode_segment, parse_payload, split
from .request_url import normalised

# RFC 9864 §2.2 names Ed25519 what RFC 8037 calls EdDSA with that curve; clients send either.
ALGORITHMS = ("ES256", "EdDSA", "Ed25519", "RS256", "PS256")
# What identifies a proof, such as a UUID of 36 characters.
MAX_JTI_CHARS = 256
# The required members of a public key in their lexical order (RFC 7638 §3.2, RFC 8037 §2), `kty` apart in base64url.
_KEY_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}
_NUMBERS = frozenset({"e", "n", "x", "y"})
_JSON_NUMBERS = frozenset({int, float})


class UnverifiedProof(NamedTuple):
    """A proof whose form is right, not verified yet."""

    header_segment: bytes
    claims: dict[str, Any]
    signing_input: bytes
    signature: bytes


class ProofKey(NamedTuple):
    """The public key in a proof, and its thumbprint (RFC 7638)."""

    key: VerificationKey
    thumbprint: str


def b64(raw: bytes) -> str:
    """Return octets in base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def read_proof(unverified_header: str | None) -> UnverifiedProof:
    """Return the proof in the value of a request's `DPoP` header, None without one (RFC 9449 §4.3, 1 and 2).

    At most 8,000 characters are read. Raises InvalidDPoPProof if there is none, or several, or it is no JWS.
    """
    if unverified_header is None:
        raise InvalidDPoPProof(Reason.PROOF_MISSING)
    try:
        # Of several headers, the server makes one with a comma, which no JWS has.
        header_segment, payload_segment, signing_input, signature = split(unverified_header)
        claims, _ = parse_payload(payload_segment)
    except InvalidToken as exc:
        raise InvalidDPoPProof(Reason.PROOF_MALFORMED) from exc
    return UnverifiedProof(header_segment, claims, signing_input, signature)


def read_key(unverified_segment: bytes, algorithms: tuple[str, ...]) -> ProofKey:
    """Return the key of a proof's header, which has the right type and algorithm (RFC 9449 §4.3, 4, 5 and 7).

    Raises InvalidDPoPProof. Ignores `kid`, `jku`, `x5c` and all other parameters but `crit` and `b64`.
    """
    try:
        header = parse_object(decode_segment(unverified_segment))
    except ValueError as exc:
        raise InvalidDPoPProof(Reason.PROOF_MALFORMED) from exc
    kind = header.get("typ")
    # RFC 7515 §4.1.9: media types are case-insensitive.
    is_proof = isinstance(kind, str) and kind.lower().removeprefix("application/") == "dpop+jwt"
    # RFC 7515 §4.1.11, RFC 7797: as for tokens.
    if not is_proof or "crit" in header or "b64" in header:
        raise InvalidDPoPProof(Reason.PROOF_MALFORMED)
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise InvalidDPoPProof(Reason.PROOF_ALGORITHM)
    return _read_jwk(header.get("jwk"), algorithm)


def _read_jwk(unverified_jwk: Any, algorithm: str) -> ProofKey:
    if algorithm == "Ed25519":
        algorithm = "EdDSA"
        if isinstance(unverified_jwk, dict) and unverified_jwk.get("alg") == "Ed25519":
            unverified_jwk = {**unverified_jwk, "alg": algorithm}
    # None also for a key with private members, another curve, or fewer than 2048 bits.
    key = verification_key(unverified_jwk, algorithm)
    if key is None:
        raise InvalidDPoPProof(Reason.PROOF_KEY)
    members = {name: unverified_jwk[name] for name in _KEY_MEMBERS[unverified_jwk["kty"]]}
    try:
        # PyJWT skips characters that are not base64url: several thumbprints would then mean one key.
        for name in _NUMBERS.intersection(members):
            decode_segment(members[name].encode("ascii"))
    except ValueError as exc:
        raise InvalidDPoPProof(Reason.PROOF_KEY) from exc
    # RFC 7638 §3: no white space, members in lexical order.
    document = json.dumps(members, separators=(",", ":")).encode()
    return ProofKey(key, b64(hashlib.sha256(document).digest()))


def check_claims(
    claims: Mapping[str, Any], *, method: str, url: str, ath: str, now: float, window_seconds: float
) -> str:
    """Return the `jti` of a proof that is for this method, address, token and moment (RFC 9449 §4.3, 3 and 8 to 12).

    The signature is verified. `ath` is the hash of the token; `now` and `window_seconds` are seconds. Raises
    InvalidDPoPProof. Does not check the nonce, nor whether the proof was used before.
    """
    token_id = claims.get("jti")
    if not isinstance(token_id, str) or not 0 < len(token_id) <= MAX_JTI_CHARS:
        raise InvalidDPoPProof(Reason.PROOF_MALFORMED, claim="jti")
    if claims.get("htm") != method:
        raise InvalidDPoPProof(Reason.PROOF_METHOD, claim="htm")
    if not _is_same_url(claims.get("htu"), url):
        raise InvalidDPoPProof(Reason.PROOF_URL, claim="htu")
    _check_times(claims, now, window_seconds)
    unverified_ath = claims.get("ath")
    if not isinstance(unverified_ath, str) or not compare_digest(unverified_ath.encode(), ath.encode()):
        raise InvalidDPoPProof(Reason.PROOF_TOKEN, claim="ath")
    return token_id


def _is_same_url(unverified_htu: Any, url: str) -> bool:
    if not isinstance(unverified_htu, str):
        return False
    # Clients name the address as they call it: the rest is seldom needed.
    if unverified_htu == url:
        return True
    wanted = normalised(url)
    return wanted is not None and normalised(unverified_htu) == wanted


def _check_times(claims: Mapping[str, Any], now: float, window_seconds: float) -> None:
    if not _is_between(claims.get("iat"), now - window_seconds, now + window_seconds):
        raise InvalidDPoPProof(Reason.PROOF_TIME, claim="iat")
    # No proof needs these. RFC 7519 §4.1.4 and §4.1.5 hold where one has them.
    if "exp" in claims and not _is_between(claims["exp"], now, math.inf):
        raise InvalidDPoPProof(Reason.PROOF_TIME, claim="exp")
    if "nbf" in claims and not _is_between(claims["nbf"], -math.inf, now + window_seconds):
        raise InvalidDPoPProof(Reason.PROOF_TIME, claim="nbf")


def _is_between(unverified_time: Any, earliest: float, latest: float) -> bool:
    # Not isinstance: JSON's `true` is an int to it.
    return type(unverified_time) in _JSON_NUMBERS and earliest <= unverified_time <= latest
