"""JWK Set document → usable verification keys (RFC 7517). No I/O: fetch.py fetches, key_cache.py keeps."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from ..config import KEY_KINDS
from ..strict_json import parse_object

MIN_RSA_BITS = 2048  # RFC 7518 §3.3
MAX_RSA_BITS = 8192  # with more, one verification takes milliseconds
MIN_RSA_EXPONENT = 65537
MAX_KEYS = 100
# A JWK Set nests three levels: set, `keys`, key. Members that are ignored may nest a few more.
_MAX_DEPTH = 10

# Members of private and symmetric keys (RFC 7518 §6). Everybody who has read the set can sign with such a key.
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_STRING_MEMBERS = ("kid", "use", "alg", "crv", "n", "e", "x", "y")
# 8192 bits are 1,366 characters in base64url. No number in a usable key is longer.
_MAX_MEMBER_CHARS = 1_400


class KeySetError(ValueError):
    """A document that is not a JWK Set; the message holds nothing from the document."""


class VerificationKey:
    """A public key, ready to verify signatures of one algorithm."""

    __slots__ = ("_key", "_verify", "algorithm", "kid")

    def __init__(self, jwk: jwt.PyJWK) -> None:
        self.kid = jwk.key_id
        self.algorithm = jwk.algorithm_name
        self._key: Any = jwk.key
        self._verify: Callable[[bytes, Any, bytes], bool] = jwk.Algorithm.verify

    def verifies(self, signing_input: bytes, signature: bytes) -> bool:
        """Return whether `signature` over `signing_input` was made with this key's private half (RFC 7515 §5.2)."""
        return self._verify(signing_input, self._key, signature)


class KeySet:
    """The usable keys of one issuer at one time, perhaps none; immutable.

    `fingerprint` is the SHA-256 of the JWK Set document. `has_private_key` is true if the document also holds a private
    or a symmetric key, which is never used.
    """

    __slots__ = ("_key_count", "_keys", "fingerprint", "has_private_key")

    def __init__(
        self, entries: Iterable[tuple[VerificationKey, ...]], fingerprint: bytes, *, has_private_key: bool
    ) -> None:
        """Take a tuple for each usable entry of the JWK Set: its key, once for each algorithm that it may verify."""
        self.fingerprint = fingerprint
        self.has_private_key = has_private_key
        entries = tuple(entries)
        self._key_count = len(entries)
        # By (alg, kid).
        self._keys: dict[tuple[str, str | None], VerificationKey | None] = {}
        for key in (key for entry in entries for key in entry if key.kid is not None):
            algorithm_and_kid = (key.algorithm, key.kid)
            # Duplicate (alg, kid): neither key is used.
            self._keys[algorithm_and_kid] = None if algorithm_and_kid in self._keys else key
        # A token without a `kid` is accepted only if the set has one usable key, whether that has a `kid` or not.
        if len(entries) == 1:
            self._keys |= {(key.algorithm, None): key for key in entries[0]}

    def __len__(self) -> int:
        return self._key_count

    def find(self, algorithm_and_kid: tuple[str, str | None]) -> VerificationKey | None:
        """Return the key for an (alg, kid), or None (RFC 7515 §4.1.4, RFC 7517 §4.5).

        A kid of None finds a key only in a set of one usable key. If two usable keys have the same (alg, kid), neither
        is found.
        """
        return self._keys.get(algorithm_and_kid)


def parse_key_set(unverified_document: bytes, algorithms: Iterable[str]) -> KeySet:
    """Return the usable keys of a JWK Set document (RFC 7517 §5): an empty KeySet if it has none.

    Usable are public keys for verifying, strong enough, for one of `algorithms`. Other entries, malformed ones too, are
    ignored. Does not check certificates (`x5c`), and not whether the document comes from the issuer.

    Raises KeySetError if the document is not a JWK Set or has over 100 entries.
    """
    try:
        document = parse_object(unverified_document, max_depth=_MAX_DEPTH)
    except ValueError as exc:
        raise KeySetError("not a JSON object") from exc
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise KeySetError("no list of keys")
    if len(entries) > MAX_KEYS:
        raise KeySetError("too many keys")
    allowed = tuple(algorithms)
    return KeySet(
        [keys for entry in entries if (keys := _usable_keys(entry, allowed))],
        hashlib.sha256(unverified_document).digest(),
        has_private_key=any(_is_private(entry) for entry in entries),
    )


def _usable_keys(entry: Any, allowed: tuple[str, ...]) -> tuple[VerificationKey, ...]:
    """Return the key of an entry once for each allowed algorithm that fits it; an empty tuple if it is not usable."""
    if not isinstance(entry, dict) or not _is_public_signing_key(entry):
        return ()
    keys = [_verification_key(entry, algorithm) for algorithm in allowed]
    return tuple(key for key in keys if key is not None)


def verification_key(unverified_jwk: Any, algorithm: str) -> VerificationKey | None:
    """Return the key in a JWK, None if it is not usable with `algorithm`: as `parse_key_set` decides it.

    A JWK with a private member is not usable. Does not check whose key it is.
    """
    if not isinstance(unverified_jwk, dict) or not _is_public_signing_key(unverified_jwk):
        return None
    return _verification_key(unverified_jwk, algorithm)


def _verification_key(entry: dict[str, Any], algorithm: str) -> VerificationKey | None:
    curve = None if entry["kty"] == "RSA" else entry.get("crv")
    if KEY_KINDS[algorithm] != (entry["kty"], curve) or entry.get("alg", algorithm) != algorithm:
        return None
    try:
        jwk = jwt.PyJWK(entry, algorithm)
    except (jwt.PyJWTError, ValueError):
        return None
    return VerificationKey(jwk) if _is_strong(jwk.key) else None


def _is_public_signing_key(entry: dict[str, Any]) -> bool:
    """Return whether a JWK's members have the right types, none is private, and it is for verifying (RFC 7517 §4)."""
    operations = entry.get("key_ops", ["verify"])
    return (
        isinstance(entry.get("kty"), str)
        and all(isinstance(entry.get(name, ""), str) for name in _STRING_MEMBERS)
        and all(len(entry.get(name, "")) <= _MAX_MEMBER_CHARS for name in _STRING_MEMBERS)
        and _PRIVATE_MEMBERS.isdisjoint(entry)
        and entry.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
    )


def _is_private(entry: Any) -> bool:
    # Some programs write each member that a JWK may have, with null where the key has none.
    return isinstance(entry, dict) and any(entry.get(name) for name in _PRIVATE_MEMBERS)


def _is_strong(key: Any) -> bool:
    if not isinstance(key, rsa.RSAPublicKey):
        return True  # KEY_KINDS fixes the curve, and the curve fixes the strength
    exponent = key.public_numbers().e
    return MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS and exponent >= MIN_RSA_EXPONENT and exponent % 2 == 1
