"""The tokens of a run: different ones of several subjects, in a file for wrk."""

from pathlib import Path

from benchmarks.tokens import claims, make_sample, sign_claims

TOKENS = 5_000
# Few, because each subject's first request creates its sample devices.
SUBJECTS = 20


def sign(path: Path, count: int, *, issuer: str) -> bytes:
    """Write `count` tokens to a file, one per line; return the JWK Set to verify them with."""
    sample = make_sample()
    with path.open("w", encoding="ascii") as file:
        for number in range(count):
            own = {"iss": issuer, "sub": f"auth0|{number % SUBJECTS:024x}", "jti": f"{number:022d}"}
            print(sign_claims(sample.private_key, claims() | own), file=file)
    return sample.key_set
