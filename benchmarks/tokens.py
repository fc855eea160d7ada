"""The input of all benchmarks: an RS256 token of typical size, and its issuer's key set."""

import base64
import json
import time
from dataclasses import dataclass

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from api.auth import AuthConfig, TokenVerifier, TrustedIssuer
from api.auth.introspection import Introspection
from api.auth.keys.fetch import Fetched

ISSUER = "https://issuer.example/"
AUDIENCE = "https://device-api.example"
JWKS_URL = "https://issuer.example/.well-known/jwks.json"
_KEY_ID = "lVH7dpCRokRi-kcUkapNlC96t0GazX8O-gZv9WtGQ7Q"


@dataclass(frozen=True)
class Sample:
    """A token, its private key, and the JWK Set to verify it with."""

    token: str
    private_key: rsa.RSAPrivateKey
    key_set: bytes

    @property
    def signing_input(self) -> bytes:
        """Return the JWS signing input (RFC 7515 §2)."""
        return self.token.rpartition(".")[0].encode()

    @property
    def signature(self) -> bytes:
        """Return the signature's bytes."""
        segment = self.token.rpartition(".")[2]
        return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))

    def verifier(self, *, token_cache_size: int, introspection: Introspection | None = None) -> TokenVerifier:
        """Return a TokenVerifier that gets its keys without a network."""
        issuer = TrustedIssuer(identifier=ISSUER, audiences=(AUDIENCE,), jwks_url=JWKS_URL)
        config = AuthConfig(issuers=(issuer,), token_cache_size=token_cache_size)
        return TokenVerifier(
            config,
            introspection=(introspection,) if introspection else (),
            fetch=lambda _url, _seconds: Fetched(self.key_set, None),
        )


def claims() -> dict[str, object]:
    """Return the claims of a user's token with the scopes of a device app."""
    now = int(time.time())
    return {
        "iss": ISSUER,
        "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
        "aud": [AUDIENCE, f"{ISSUER}userinfo"],
        "iat": now,
        "exp": now + 86_400,
        "auth_time": now,
        "scope": "openid profile email offline_access read:devices read:readings write:devices",
        "client_id": "device-app",
        "jti": "A8xH92fckCGurddCiseTbg",
    }


def make_sample() -> Sample:
    """Return a sample signed with a new key."""
    private_key = rsa.generate_private_key(65537, 2048)
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private_key.public_key()))
    del jwk["key_ops"]
    jwk |= {"kid": _KEY_ID, "use": "sig", "alg": "RS256"}
    return Sample(sign_claims(private_key, claims()), private_key, json.dumps({"keys": [jwk]}).encode())


def sign_claims(private_key: rsa.RSAPrivateKey, claims: dict[str, object]) -> str:
    """Return an access token of these claims."""
    return jwt.encode(claims, private_key, "RS256", headers={"kid": _KEY_ID, "typ": "at+jwt"})
