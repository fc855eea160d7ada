"""The signing keys: made here, kept in memory, published without their private half."""

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
    """Signs tokens with the newest key, and publishes what verifies them. Safe to call from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first = _new_key()
        # Oldest first, the last one signs; replaced as a whole, so that a reader needs no lock.
        self._published: tuple[RSAKey, ...] = (self._first,)
        self._signing = self._first

    @property
    def kid(self) -> str:
        """The id of the key that signs."""
        return str(self._signing.kid)

    def sign(self, claims: Mapping[str, Any], *, typ: str, header: Mapping[str, Any] | None = None) -> str:
        """Sign claims as a compact JWS with `alg`, `kid` and `typ` in its header.

        `header` replaces and adds members; None omits one. The signature is RS256 whatever it says.
        """
        # Not by joserfc, which refuses header parameters that it does not know: testers ask for just those.
        asked = {"alg": _ALGORITHM, "typ": typ, "kid": self.kid, **(header or {})}
        members = {name: value for name, value in asked.items() if value is not None}
        signing_input = b".".join(_segment(json.dumps(part).encode()) for part in (members, dict(claims)))
        return (signing_input + b"." + _segment(self.sign_raw(signing_input))).decode()

    def sign_raw(self, signing_input: bytes) -> bytes:
        """Sign any bytes with RS256, for tokens that no library would make."""
        return cast("RSAPrivateKey", self._signing.private_key).sign(signing_input, PKCS1v15(), SHA256())

    def verify(self, unverified_token: str, *, typ: str) -> dict[str, Any] | None:
        """Return the claims of a token with this `typ` that a published key verifies, or None. Checks no claim."""
        try:
            token = jwt.decode(unverified_token, KeySet(list(self._published)), algorithms=[_ALGORITHM])
        except (JoseError, ValueError, TypeError, RecursionError):
            # joserfc raises the latter three for what is no token at all: nested too deep, or not of JSON objects.
            return None
        return token.claims if token.header.get("typ") == typ else None

    def rotate(self) -> str:
        """Sign with a new key from now on, the older ones still published; return its id."""
        key = _new_key()
        with self._lock:
            self._signing = key
            self._published = (*self._published, key)
        return str(key.kid)

    def withdraw(self, kid: str | None = None) -> str | None:
        """Publish a key no longer, the oldest where `kid` names none; return its id, or None if there is none such.

        The key that signs goes on signing: its tokens are then good nowhere.
        """
        with self._lock:
            gone = next((key for key in self._published if kid is None or key.kid == kid), None)
            self._published = tuple(key for key in self._published if key is not gone)
        return None if gone is None else str(gone.kid)

    def reset(self) -> None:
        """Sign with the first key again, and publish no other."""
        with self._lock:
            self._signing, self._published = self._first, (self._first,)

    def jwks(self) -> dict[str, Any]:
        """Return the JWK Set to publish (RFC 7517 §5): public members only."""
        return {"keys": [key.as_dict(private=False) for key in self._published]}


def _segment(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def _new_key() -> RSAKey:
    return RSAKey.generate_key(_BITS, {"use": "sig", "alg": _ALGORITHM}, auto_kid=True)
