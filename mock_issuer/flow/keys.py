"""The signing keys: generated here, kept in memory, published as a JWK Set (RFC 7517)."""

import base64
import json
import threading
from collections.abc import Mapping
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey

_ALGORITHM = "RS256"
_BITS = 2048


class SigningKeys:
    """Signs tokens with the newest key and publishes the public keys. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first = _generate_key()
        # Oldest first. Replaced as a whole, so that readers need no lock.
        self._published: tuple[RSAKey, ...] = (self._first,)
        self._signing = self._first

    @property
    def kid(self) -> str:
        """The id of the signing key."""
        return str(self._signing.kid)

    def sign(self, claims: Mapping[str, Any], *, typ: str | None, header: Mapping[str, Any] | None = None) -> str:
        """Return claims as a compact JWS (RFC 7515 §7.1), signed with RS256.

        Args:
            claims: the payload.
            typ: the header `typ`; None for none.
            header: header parameters to replace or add; a value of None omits one. The signature stays RS256.
        """
        # Not with joserfc, which refuses the unknown header parameters that tests need.
        merged = {"alg": _ALGORITHM, "typ": typ, "kid": self.kid, **(header or {})}
        parameters = {name: value for name, value in merged.items() if value is not None}
        signing_input = b".".join(_segment(json.dumps(part).encode()) for part in (parameters, dict(claims)))
        return (signing_input + b"." + _segment(self.sign_raw(signing_input))).decode()

    def sign_raw(self, signing_input: bytes) -> bytes:
        """Return the RS256 signature of any bytes, for malformed tokens."""
        return cast("RSAPrivateKey", self._signing.private_key).sign(signing_input, PKCS1v15(), SHA256())

    def verify(self, unverified_token: str, *, typ: str | None) -> dict[str, Any] | None:
        """Return the claims of a token that a published key verifies and that has this `typ`, or None.

        `typ` is None for a token without it. Does not check the claims.
        """
        try:
            token = jwt.decode(unverified_token, KeySet(list(self._published)), algorithms=[_ALGORITHM])
        except (JoseError, ValueError, TypeError, RecursionError):
            # joserfc raises the last three for segments that are nested too deep or are no JSON objects.
            return None
        return token.claims if token.header.get("typ") == typ else None

    def rotate(self) -> str:
        """Sign with a new key from now on, and keep publishing the older ones; return the new id."""
        key = _generate_key()
        with self._lock:
            self._signing = key
            self._published = (*self._published, key)
        return str(key.kid)

    def withdraw(self, kid: str | None = None) -> str | None:
        """Stop publishing a key, the oldest if `kid` is None; return its id, or None if no published key has it.

        A withdrawn signing key keeps signing, but its tokens do not verify.
        """
        with self._lock:
            withdrawn = next((key for key in self._published if kid is None or key.kid == kid), None)
            self._published = tuple(key for key in self._published if key is not withdrawn)
        return None if withdrawn is None else str(withdrawn.kid)

    def reset(self) -> None:
        """Sign with the first key again and publish it alone."""
        with self._lock:
            self._signing, self._published = self._first, (self._first,)

    def jwks(self) -> dict[str, Any]:
        """Return the JWK Set (RFC 7517 §5), without private members."""
        return {"keys": [key.as_dict(private=False) for key in self._published]}


def _segment(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def _generate_key() -> RSAKey:
    return RSAKey.generate_key(_BITS, {"use": "sig", "alg": _ALGORITHM}, auto_kid=True)
