"""JWK Set → usable verification keys (RFC 7517). Pure: where the document came from is key_cache.py's concern."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from .strict_json import parse_object

# Each algorithm with the one kind of key that fits it: `kty`, and `crv` where it has curves (RFC 7518 §3.1, RFC 8037).
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
MIN_RSA_BITS = 2048  # RFC 7518 §3.3
MAX_RSA_BITS = 8192  # beyond it, one verification costs milliseconds
MIN_RSA_EXPONENT = 65537
MAX_KEYS = 100
# A set nests three levels (set, keys, key); a member that we ignore may nest a little more.
_MAX_DEPTH = 10

# A private or symmetric member in a published key: whoever has read the set can sign with it.
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_STRING_MEMBERS = ("kid", "use", "alg", "crv", "n", "e", "x", "y")
# 8192 bits are 1,366 characters of base64url; no number in a usable key is longer.
_MAX_MEMBER_CHARS = 1_400


class KeySetError(ValueError):
    """A document that is no JWK Set, or has no usable key."""


class VerificationKey:
    """A public key, ready to verify with one algorithm."""

    __slots__ = ("_key", "_verify", "algorithm", "kid")

    def __init__(self, jwk: jwt.PyJWK) -> None:
        self.kid = jwk.key_id
        self.algorithm = jwk.algorithm_name
        self._key: Any = jwk.key
        self._verify: Callable[[bytes, Any, bytes], bool] = jwk.Algorithm.verify

    def verifies(self, signing_input: bytes, signature: bytes) -> bool:
        """Say whether `signature` is this key's (RFC 7515 §5.2)."""
        return self._verify(signing_input, self._key, signature)


class KeySet:
    """The usable keys of one issuer at one time; immutable. `fingerprint` is the SHA-256 of their document."""

    __slots__ = ("_by_name", "_size", "fingerprint")

    def __init__(self, keys: Iterable[tuple[VerificationKey, ...]], fingerprint: bytes) -> None:
        """Take the keys of each entry of the set: the same key once for each algorithm that it may verify."""
        self.fingerprint = fingerprint
        # A name that two entries share is no name: it is kept, as None, so that neither of them is found by it.
        self._by_name: dict[tuple[str, str | None], VerificationKey | None] = {}
        entries = tuple(keys)
        for key in (key for entry in entries for key in entry):
            name = (key.algorithm, key.kid)
            self._by_name[name] = None if name in self._by_name else key
        # A token without a key id needs a set of one; in any other, no entry goes by None.
        for algorithm in KEY_KINDS:
            self._by_name.pop((algorithm, None), None)
        if len(entries) == 1:
            self._by_name |= {(key.algorithm, None): key for key in entries[0]}
        self._size = len(entries)

    def __len__(self) -> int:
        return self._size

    def find(self, name: tuple[str, str | None]) -> VerificationKey | None:
        """Return the one key that an algorithm and a key id name, else None.

        Without a key id, the set must have exactly one usable entry. A key id that two fitting entries share names
        none: which of them was meant cannot be told.
        """
        return self._by_name.get(name)


def parse_key_set(unverified_document: bytes, algorithms: Iterable[str]) -> KeySet:
    """Return the usable keys of a JWK Set document.

    An entry that is malformed, private, too weak, for another use or for other algorithms is passed over; it never
    spoils the set (RFC 7517 §5).

    Raises KeySetError where the document is no JWK Set, has more than 100 entries, or none that is usable.
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
    keys = [found for entry in entries if (found := _usable_keys(entry, allowed))]
    if not keys:
        raise KeySetError("no usable key")
    return KeySet(keys, hashlib.sha256(unverified_document).digest())


def _usable_keys(entry: Any, allowed: tuple[str, ...]) -> tuple[VerificationKey, ...]:
    if not isinstance(entry, dict) or not _is_public_signing_key(entry):
        return ()
    curve = None if entry["kty"] == "RSA" else entry.get("crv")
    fitting = [name for name in allowed if KEY_KINDS[name] == (entry["kty"], curve) and entry.get("alg", name) == name]
    try:
        found = [jwt.PyJWK(entry, name) for name in fitting]
    except (jwt.PyJWTError, ValueError):
        return ()
    return tuple(VerificationKey(jwk) for jwk in found if _is_strong(jwk.key))


def _is_public_signing_key(entry: dict[str, Any]) -> bool:
    """Say whether a JWK is well-formed as far as we read it, public, and meant for verifying (RFC 7517 §4)."""
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


def _is_strong(key: Any) -> bool:
    if not isinstance(key, rsa.RSAPublicKey):
        return True  # the curve was checked, and it fixes the strength
    exponent = key.public_numbers().e
    return MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS and exponent >= MIN_RSA_EXPONENT and exponent % 2 == 1
