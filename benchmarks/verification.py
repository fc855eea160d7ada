"""Verifying one token: with api/auth/, with the bare signature check, and with other libraries."""

import json
from collections.abc import Callable
from typing import Any

import joserfc.jwk
import joserfc.jwt
import jwt
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from api.auth.introspection import Introspection
from tests.kit.key_server import KeyServer, document

from .tokens import AUDIENCE, ISSUER, Sample, claims

FLOOR = "the bare RSA verification"


def contenders(sample: Sample) -> dict[str, Callable[[], object]]:
    """Return the contenders, each checked to accept the token."""
    token = sample.token
    unseen, seen = sample.verifier(token_cache_size=0), sample.verifier(token_cache_size=100)
    calls: dict[str, Callable[[], object]] = {
        FLOOR: _bare(sample),
        "ours, token not in the cache": lambda: unseen.verify(token),
        "ours, token in the cache": lambda: seen.verify(token),
        "ours, opaque token, answer remembered": _opaque(sample),
        "PyJWT quickstart": _pyjwt(sample),
        "Authlib's validator": _authlib(sample),
        "joserfc": _joserfc(sample),
    }
    for call in calls.values():
        call()
    return calls


def _bare(sample: Sample) -> Callable[[], object]:
    public_key, signature, signing_input = sample.private_key.public_key(), sample.signature, sample.signing_input
    return lambda: public_key.verify(signature, signing_input, padding.PKCS1v15(), hashes.SHA256())


def _opaque(sample: Sample) -> Callable[[], object]:
    """Return the verification of an opaque token whose issuer was asked before."""
    token = "2YotnFZFEjr1zCsicMWpAA"
    with KeyServer() as server:
        answer = {**claims(), "active": True, "token_type": "Bearer"}
        server.answers["/introspect"] = document(json.dumps(answer).encode())
        asks = Introspection(client_id="api", client_secret="s", endpoint=f"{server.origin}/introspect")
        verifier = sample.verifier(token_cache_size=100, introspection=asks)
        verifier.verify(token)
    return lambda: verifier.verify(token)


def _pyjwt(sample: Sample) -> Callable[[], object]:
    """Return the verification that PyJWT's documentation shows, with a cached key set."""
    token = sample.token
    with KeyServer() as server:
        server.publish(sample.key_set)
        client = jwt.PyJWKClient(server.jwks_url, lifespan=86_400)
        client.get_signing_key_from_jwt(token)

    def verify() -> object:
        key = client.get_signing_key_from_jwt(token)
        return jwt.decode(token, key, algorithms=["RS256"], audience=AUDIENCE, issuer=ISSUER)

    return verify


def _authlib(sample: Sample) -> Callable[[], object]:
    keys = joserfc.jwk.KeySet.import_key_set(json.loads(sample.key_set))

    class Validator(JWTBearerTokenValidator):
        def get_jwks(self) -> Any:
            return keys

    validator = Validator(ISSUER, AUDIENCE)
    token = sample.token

    def verify() -> object:
        found = validator.authenticate_token(token)
        validator.validate_token(found, ["read:devices"], None)
        return found

    return verify


def _joserfc(sample: Sample) -> Callable[[], object]:
    keys = joserfc.jwk.KeySet.import_key_set(json.loads(sample.key_set))
    registry = joserfc.jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": AUDIENCE}, exp={"essential": True}
    )
    token = sample.token

    def verify() -> object:
        decoded = joserfc.jwt.decode(token, keys, algorithms=["RS256"])
        registry.validate(decoded.claims)
        return decoded

    return verify
