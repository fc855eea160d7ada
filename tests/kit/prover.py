"""A client with a key, which proves its possession in requests to an issuer or to an API (RFC 9449)."""

from dataclasses import dataclass, field
from typing import Any

from tests.kit import proofs
from tests.kit.signing import SigningKey, ec_key


@dataclass(frozen=True)
class Prover:
    """A client with a key."""

    key: SigningKey = field(default_factory=ec_key)

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key, with required members alone."""
        return proofs.public_jwk(self.key)

    @property
    def thumbprint(self) -> str:
        """The `jkt` of tokens that are bound to the key (RFC 7638)."""
        return proofs.thumbprint(self.key)

    def proof(self, method: str, url: str, *, access_token: str | None = None, **changes: Any) -> str:
        """Return a proof for a request; `changes` are those of tests.kit.proofs.proof."""
        usual: dict[str, Any] = {} if access_token else {"ath": None}
        return proofs.proof(self.key, access_token or "", url=url, method=method, **(usual | changes))
