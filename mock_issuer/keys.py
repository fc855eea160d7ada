"""The signing key: made at start, kept in memory, published without its private half."""

from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey

_ALGORITHM = "RS256"
_BITS = 2048


class SigningKeys:
    """Signs tokens and publishes what verifies them."""

    def __init__(self) -> None:
        key = RSAKey.generate_key(_BITS, {"use": "sig", "alg": _ALGORITHM}, auto_kid=True)
        # joserfc puts `kid` into the header only when it signs with a set, and picks at random among several keys.
        self._signing = KeySet([key])
        self._headers: dict[str, str] = {}

    def sign(self, claims: dict[str, Any], *, typ: str) -> str:
        """Sign claims as a compact JWS with `alg`, `kid` and `typ` in its header."""
        token = jwt.encode({"alg": _ALGORITHM, "typ": typ}, claims, self._signing, algorithms=[_ALGORITHM])
        self._headers[typ] = token.partition(".")[0]
        return token

    def verify(self, unverified_token: str, *, typ: str) -> dict[str, Any] | None:
        """Return the claims of a token that this issuer signed with this `typ`, or None. Checks no claim."""
        # Our own tokens begin with a header that we wrote: no other one is ever parsed.
        if unverified_token.partition(".")[0] != self._headers.get(typ):
            return None
        try:
            return jwt.decode(unverified_token, self._signing, algorithms=[_ALGORITHM]).claims
        except (JoseError, ValueError):
            return None

    def jwks(self) -> dict[str, Any]:
        """Return the JWK Set to publish (RFC 7517 §5): public members only."""
        return dict(self._signing.as_dict(private=False))
