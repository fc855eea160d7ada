"""The key that the tokens of a login are bound to, and its DPoP proofs (RFC 9449)."""

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # slow to import, and needed by logins with --dpop alone
    from joserfc.jwk import ECKey

__all__ = ["ALGORITHM", "ProofKey"]

ALGORITHM: Final = "ES256"
_CURVE: Final = "P-256"
_TOKEN_ID_BYTES = 16
# RFC 7518 §6.2.1.2: 32 octets in base64url.
_COORDINATE: Final = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofKey:
    """A private P-256 key, as the members of its JWK (RFC 7518 §6.2). Raises ValueError if they are no such key."""

    x: str
    y: str
    d: str = field(repr=False)

    def __post_init__(self) -> None:
        # A stored value may be anything.
        if not all(isinstance(member, str) and _COORDINATE.fullmatch(member) for member in (self.x, self.y, self.d)):
            raise ValueError("The members of the key are not those of P-256.")

    @classmethod
    def generate(cls) -> "ProofKey":
        """Return a new key."""
        from joserfc.jwk import ECKey  # noqa: PLC0415  # see above

        members = ECKey.generate_key(_CURVE).as_dict(private=True)
        return cls(x=str(members["x"]), y=str(members["y"]), d=str(members["d"]))

    @property
    def thumbprint(self) -> str:
        """The thumbprint of the public key (RFC 7638): the `jkt` that tokens are bound to (RFC 9449 §6.1)."""
        return self._import().thumbprint()

    def proof(self, method: str, url: str, *, now: float, access_token: str | None, nonce: str | None) -> str:
        """Return a proof for one request (RFC 9449 §4.2).

        Args:
            method: its method.
            url: its address; query and fragment are left out.
            now: the time in seconds since 1970.
            access_token: the access token that it is sent with; None for none.
            nonce: the last one that the server gave out; None for none.
        """
        from joserfc import jwt  # noqa: PLC0415  # see above

        claims: dict[str, str | int] = {
            "jti": secrets.token_urlsafe(_TOKEN_ID_BYTES),
            "htm": method,
            "htu": url.partition("#")[0].partition("?")[0],
            "iat": int(now),
        }
        if access_token is not None:
            digest = hashlib.sha256(access_token.encode()).digest()
            claims["ath"] = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if nonce is not None:
            claims["nonce"] = nonce
        key = self._import()
        header = {"typ": "dpop+jwt", "alg": ALGORITHM, "jwk": key.as_dict(private=False)}
        return jwt.encode(header, claims, key, algorithms=[ALGORITHM])

    def _import(self) -> "ECKey":
        from joserfc.jwk import ECKey  # noqa: PLC0415  # see above

        return ECKey.import_key({"kty": "EC", "crv": _CURVE, "x": self.x, "y": self.y, "d": self.d})
