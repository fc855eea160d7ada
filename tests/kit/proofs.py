"""DPoP proofs, good ones and others, and tokens that are bound to their keys."""

import hashlib
import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

from joserfc.jwk import JWKRegistry

from tests.kit.signing import SigningKey, b64


def thumbprint(key: SigningKey) -> str:
    """Return the thumbprint of a key as another implementation makes it (RFC 7638)."""
    return str(JWKRegistry.import_key(public_jwk(key)).thumbprint())


def public_jwk(key: SigningKey, **members: Any) -> dict[str, Any]:
    """Return the public JWK as clients send it; `members` replace or add members, None removes one."""
    return key.jwk(**{"use": None, "alg": None, "kid": None, **members})


def ath(token: str) -> str:
    return b64(hashlib.sha256(token.encode()).digest())


def proof(
    key: SigningKey,
    token: str,
    *,
    url: str,
    method: str = "GET",
    now: float | None = None,
    header: Mapping[str, Any] | None = None,
    header_json: bytes | None = None,
    payload_json: bytes | None = None,
    **claims: Any,
) -> str:
    """Return a proof for a request. `header` and `claims` replace or add members, None removes one."""
    usual_header = {"typ": "dpop+jwt", "alg": key.algorithm, "jwk": public_jwk(key), **(header or {})}
    usual_claims = {
        "jti": uuid.uuid4().hex,
        "htm": method,
        "htu": url,
        "iat": int(time.time() if now is None else now),
        "ath": ath(token),
        **claims,
    }
    parts = (header_json, usual_header), (payload_json, usual_claims)
    header_bytes, payload = (
        raw if raw is not None else json.dumps({name: one for name, one in usual.items() if one is not None}).encode()
        for raw, usual in parts
    )
    return key.sign_raw(header_bytes, payload)
