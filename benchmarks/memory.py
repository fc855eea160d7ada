"""The memory of a cached token, and of a million distinct tokens through a full cache."""

import base64
import gc
import json
import resource
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519

from api.auth import AuthConfig, TokenVerifier, TrustedIssuer
from api.auth.keys.fetch import Fetched

from .tokens import AUDIENCE, ISSUER, JWKS_URL, claims

CACHE_SIZE = 10_000
# Padding that brings these tokens, whose signatures are short, to the usual 900 characters.
_PADDING = "x" * 230


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class TokenFactory:
    """Signs distinct tokens quickly, with Ed25519: an RSA signature would take a millisecond each."""

    def __init__(self) -> None:
        self._key = ed25519.Ed25519PrivateKey.generate()
        self._header = _encode(json.dumps({"alg": "EdDSA", "kid": "k", "typ": "at+jwt"}).encode())

    def verifier(self) -> TokenVerifier:
        """Return a verifier of these tokens, with a cache."""
        x = _encode(self._key.public_key().public_bytes_raw())
        keys = json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x}]}).encode()
        issuer = TrustedIssuer(identifier=ISSUER, audiences=(AUDIENCE,), jwks_url=JWKS_URL)
        config = AuthConfig(issuers=(issuer,), algorithms=("EdDSA",), token_cache_size=CACHE_SIZE)
        return TokenVerifier(config, fetch=lambda _url, _seconds: Fetched(keys, None))

    def tokens(self, count: int) -> Iterator[str]:
        """Yield distinct tokens, of distinct users and of about 900 characters."""
        for number in range(count):
            unique = {"sub": f"auth0|{number:024d}", "jti": f"{number:022d}", "padding": _PADDING}
            payload = _encode(json.dumps(claims() | unique).encode())
            signing_input = f"{self._header}.{payload}"
            yield f"{signing_input}.{_encode(self._key.sign(signing_input.encode()))}"


def bytes_per_token() -> tuple[float, int]:
    """Return the bytes per token of a full cache, and the length of a token."""
    factory = TokenFactory()
    verifier = factory.verifier()
    first, *rest = factory.tokens(CACHE_SIZE + 1)
    verifier.verify(first)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for token in rest:
        verifier.verify(token)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / CACHE_SIZE, len(first)


def growth_over(count: int) -> tuple[int, int, float]:
    """Verify `count` distinct tokens; return resident bytes once the cache is full and at the end, and seconds."""
    factory = TokenFactory()
    verifier = factory.verifier()
    started = time.perf_counter()
    full = 0
    for number, token in enumerate(factory.tokens(count)):
        verifier.verify(token)
        if number == 2 * CACHE_SIZE:
            full = _resident_bytes()
    return full, _resident_bytes(), time.perf_counter() - started


def _resident_bytes() -> int:
    gc.collect()
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
