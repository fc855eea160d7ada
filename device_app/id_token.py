"""The ID token: who has logged in (OpenID Connect Core §2), for the person to read and for nothing else."""

import base64
import json
from typing import Any

from device_app.untrusted import plain_text

__all__ = ["subject_of"]


def subject_of(unverified_id_token: object, *, issuer: str, client_id: str) -> str | None:
    """Return the `sub` of an ID token that came straight from `issuer`'s token endpoint, None where there is none.

    The signature is not checked: OpenID Connect Core §3.1.3.7 lets TLS stand in for it on this way. `iss` and `aud`
    must be right.
    """
    claims = _payload(unverified_id_token)
    audience = claims.get("aud")
    if claims.get("iss") != issuer or client_id not in (audience if isinstance(audience, list) else [audience]):
        return None
    return plain_text(claims.get("sub")) or None


def _payload(unverified_token: object) -> dict[str, Any]:
    if not isinstance(unverified_token, str):
        return {}
    try:
        _, payload, _ = unverified_token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
