"""DPoP proofs (RFC 9449 §4.2) signed with keys made at run time: valid ones, and any other."""

import base64
import hashlib
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from joserfc.jwk import import_key

from tests.kit.signing import SigningKey, ec_key


def ath(access_token: str) -> str:
    """Return the `ath` for an access token."""
    return base64.urlsafe_b64encode(hashlib.sha256(access_token.encode()).digest()).rstrip(b"=").decode()


@dataclass(frozen=True)
class Prover:
    """A client with a key."""

    key: SigningKey = field(default_factory=ec_key)

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key, with required members alone."""
        return self.key.jwk(use=None, alg=None, kid=None)

    @property
    def thumbprint(self) -> str:
        """The `jkt` of tokens that are bound to the key (RFC 7638)."""
        return import_key(self.jwk).thumbprint()

    def proof(
        self,
        method: str,
        url: str,
        *,
        access_token: str | None = None,
        now: float | None = None,
        header: dict[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """Return a proof for a request; `header` and `changes` replace or add members, None removes one."""
        usual = {
            "htm": method,
            "htu": url,
            "iat": int(time.time() if now is None else now),
            "jti": secrets.token_urlsafe(12),
            "ath": None if access_token is None else ath(access_token),
        }
        claims = {name: value for name, value in (usual | changes).items() if value is not None}
        return self.key.sign_bytes(
            json.dumps(claims).encode(), **({"typ": "dpop+jwt", "kid": None, "jwk": self.jwk} | (header or {}))
        )
