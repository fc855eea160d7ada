"""Signing keys made at run time, and tokens signed with them: valid ones, and arbitrary bytes."""

import base64
import functools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ISSUER = "https://issuer.example/"
AUDIENCE = "https://device-api.example"


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@functools.cache
def rsa_private_key(number: int = 0, bits: int = 2048, exponent: int = 65537) -> rsa.RSAPrivateKey:
    """Return a key, the same one for the same arguments: making one takes a tenth of a second."""
    return rsa.generate_private_key(exponent, bits)


@dataclass(frozen=True)
class SigningKey:
    """A private key with the id and algorithm that its issuer publishes it under."""

    private_key: Any
    kid: str | None = "key-1"
    algorithm: str = "RS256"

    def jwk(self, **members: Any) -> dict[str, Any]:
        """Return the public JWK; `members` replace or add members, None removes one."""
        implementation: Any = jwt.get_algorithm_by_name(self.algorithm)
        jwk = json.loads(implementation.to_jwk(self.private_key.public_key()))
        jwk.pop("key_ops", None)
        jwk |= {"use": "sig", "alg": self.algorithm, "kid": self.kid, **members}
        return {name: value for name, value in jwk.items() if value is not None}

    def sign(self, claims: Mapping[str, Any], **header: Any) -> str:
        """Return a token of these claims; `header` replaces or adds parameters, None removes one."""
        return self.sign_bytes(json.dumps(claims).encode(), **header)

    def sign_bytes(self, payload: bytes, **header: Any) -> str:
        """Return a token of any payload bytes."""
        whole = {"typ": "at+jwt", "alg": self.algorithm, "kid": self.kid, **header}
        usual = {name: value for name, value in whole.items() if value is not None}
        return self.sign_raw(json.dumps(usual).encode(), payload)

    def sign_raw(self, header: bytes, payload: bytes) -> str:
        """Return a token of any header and payload bytes, with a valid signature."""
        signing_input = f"{b64(header)}.{b64(payload)}"
        implementation: Any = jwt.get_algorithm_by_name(self.algorithm)
        return f"{signing_input}.{b64(implementation.sign(signing_input.encode(), self.private_key))}"


def rsa_key(number: int = 0, kid: str | None = "key-1", algorithm: str = "RS256") -> SigningKey:
    return SigningKey(rsa_private_key(number), kid, algorithm)


def ec_key(kid: str = "ec-1") -> SigningKey:
    return SigningKey(ec.generate_private_key(ec.SECP256R1()), kid, "ES256")


def ed25519_key(kid: str = "ed-1") -> SigningKey:
    return SigningKey(ed25519.Ed25519PrivateKey.generate(), kid, "EdDSA")


def jwks(*keys: SigningKey | Any) -> bytes:
    """Return a JWK Set; keys that are not SigningKeys are inserted unchanged."""
    entries = [key.jwk() if isinstance(key, SigningKey) else key for key in keys]
    return json.dumps({"keys": entries}).encode()


def claims(now: float | None = None, **changes: Any) -> dict[str, Any]:
    """Return the claims of a valid access token; `changes` replace or add claims, None removes one."""
    issued_at = int(time.time() if now is None else now)
    usual = {
        "iss": ISSUER,
        "sub": "user-1",
        "aud": AUDIENCE,
        "iat": issued_at,
        "exp": issued_at + 3600,
        "client_id": "device-app",
        "jti": "token-1",
        "scope": "read:devices read:readings",
        **changes,
    }
    return {name: value for name, value in usual.items() if value is not None}
