"""Verifying a token with its DPoP proof, against a bare P-256 verification and a plain bearer token."""

import hashlib
import itertools
import json
import time
from collections.abc import Callable

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from api.auth import Sender, UnverifiedRequest
from api.auth.dpop import DPoP
from api.auth.dpop.proof import b64
from api.auth.dpop.replays import ProcessReplays

from .tokens import Sample, claims, sign_claims

FLOOR = "the bare P-256 verification"
PLAIN = "plain bearer, token in the cache"
PLAIN_WITH_DPOP = "the same, where DPoP is accepted"
PROVED = "with a P-256 proof, token in the cache"
PROVED_BY_A_NEW_KEY = "the same, key not seen before"
_URL = "https://device-api.example/v1/devices"


class _Replays:
    """Remembers as a process does, but takes the same proof for a new one each time."""

    def __init__(self) -> None:
        self._replays = ProcessReplays(1_000_000_000)
        self._numbers = itertools.count()

    def remember(self, key_thumbprint: str, proof_id: str, seconds: int) -> bool:
        """Remember another proof in its place, for a second: the memory stays as full as it was."""
        return self._replays.remember(key_thumbprint, f"{proof_id}{next(self._numbers)}", min(seconds, 1))


def contenders(sample: Sample) -> dict[str, Callable[[], object]]:
    """Return the contenders, each checked to accept its token."""
    key = ec.generate_private_key(ec.SECP256R1())
    jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    members = json.dumps({name: jwk[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    thumbprint = b64(hashlib.sha256(members.encode()).digest())
    token = sign_claims(sample.private_key, {**claims(), "cnf": {"jkt": thumbprint}})
    ath = b64(hashlib.sha256(token.encode()).digest())
    proof_claims = {"jti": "d0f9c0a1-5f2e", "htm": "GET", "htu": _URL, "iat": int(time.time()), "ath": ath}
    proof = jwt.encode(proof_claims, key, "ES256", headers={"typ": "dpop+jwt", "jwk": jwk})
    # The proof is as old as the benchmark.
    dpop = DPoP(replays=_Replays(), window_seconds=600)
    request = UnverifiedRequest("GET", _URL, {"DPoP": proof}.get)
    sender = Sender(request=lambda: request, dpop=dpop)
    verifier = sample.verifier(token_cache_size=100)
    plain, bound = f"Bearer {sample.token}", f"DPoP {token}"

    def prove_by_a_new_key() -> object:
        dpop._keys.clear()  # noqa: SLF001  # the only way to a key that was not seen before
        return verifier.authenticate(bound, sender=sender)

    signing_input = proof.rpartition(".")[0].encode()
    signature, public_key, algorithm = (
        key.sign(signing_input, ec.ECDSA(hashes.SHA256())),
        key.public_key(),
        hashes.SHA256(),
    )
    calls: dict[str, Callable[[], object]] = {
        FLOOR: lambda: public_key.verify(signature, signing_input, ec.ECDSA(algorithm)),
        PLAIN: lambda: verifier.authenticate(plain),
        PLAIN_WITH_DPOP: lambda: verifier.authenticate(plain, sender=sender),
        PROVED: lambda: verifier.authenticate(bound, sender=sender),
        PROVED_BY_A_NEW_KEY: prove_by_a_new_key,
    }
    for call in calls.values():
        call()
    return calls
