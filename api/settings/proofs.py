"""How callers prove that a token is theirs: the settings of DPoP and mutual TLS."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from environs import Env
from marshmallow import ValidationError

from api.auth.config import ConfigError
from api.auth.dpop.dpop import DEFAULT_WINDOW_SECONDS, MAX_WINDOW_SECONDS
from api.auth.dpop.nonces import MIN_SECRET_BYTES
from api.auth.dpop.proof import ALGORITHMS as PROOF_ALGORITHMS
from api.auth.mtls import DEFAULT_HEADER, MutualTLS
from api.settings.values import between, one_of, read_list, unless_empty

_IS_MODE = one_of(("optional", "required"))
_OF_DPOP = (
    "API_DPOP_ALGORITHMS",
    "API_DPOP_WINDOW_SECONDS",
    "API_DPOP_NONCE_SECRET",
    "API_DPOP_NONCE_SECRET_FILE",
)
_OF_MTLS = ("API_MTLS_PROXIES", "API_MTLS_HEADER")


@dataclass(frozen=True, slots=True, kw_only=True)
class DPoPSettings:
    """Which DPoP proofs are accepted: the arguments of `DPoP`, in api/auth/dpop/."""

    required: bool = False
    algorithms: tuple[str, ...] = PROOF_ALGORITHMS
    window_seconds: int = DEFAULT_WINDOW_SECONDS
    nonce_secret: bytes | None = field(default=None, repr=False)


def read_dpop(env: Env, public_url: str | None) -> DPoPSettings | None:
    """Return the settings of DPoP, None without API_DPOP; their mistakes are kept in `env`."""

    def check_mode(mode: str) -> None:
        _IS_MODE(mode)
        if public_url is None:
            raise ValidationError("needs API_PUBLIC_URL: each proof names the address that it was made for")

    mode = env.str("API_DPOP", "", validate=unless_empty(check_mode))
    if not os.environ.get("API_DPOP"):
        for name in _OF_DPOP:
            env.str(name, "", validate=unless_empty(_refuse_without_dpop))
        return None
    is_algorithm = one_of(PROOF_ALGORITHMS)
    in_range = between(1, MAX_WINDOW_SECONDS)
    return DPoPSettings(
        required=mode == "required",
        algorithms=read_list(env, "API_DPOP_ALGORITHMS", is_algorithm, PROOF_ALGORITHMS),
        window_seconds=env.int("API_DPOP_WINDOW_SECONDS", DEFAULT_WINDOW_SECONDS, validate=in_range),
        nonce_secret=_nonce_secret(env),
    )


def _refuse_without_dpop(_value: str) -> None:
    raise ValidationError("has no effect without API_DPOP")


def _nonce_secret(env: Env) -> bytes | None:
    """Return the secret of a variable or a file, without white space around it; None without both."""
    secret = b""

    def check_secret(text: str) -> None:
        nonlocal secret
        secret = text.strip().encode("utf-8", "surrogateescape")
        if len(secret) < MIN_SECRET_BYTES:
            # Without the value, which is a secret.
            raise ValidationError(f"has fewer than {MIN_SECRET_BYTES} bytes")

    def check_file(path: str) -> None:
        if env.str("API_DPOP_NONCE_SECRET", ""):
            raise ValidationError("cannot be set together with API_DPOP_NONCE_SECRET")
        try:
            text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
        except OSError as exc:
            raise ValidationError(f"{path} cannot be read: {exc.strerror}") from exc
        check_secret(text)

    env.str("API_DPOP_NONCE_SECRET", "", validate=unless_empty(check_secret))
    env.str("API_DPOP_NONCE_SECRET_FILE", "", validate=unless_empty(check_file))
    return secret or None


def read_mtls(env: Env) -> tuple[MutualTLS | None, list[str]]:
    """Return which client certificates are believed, None without API_MTLS, and mistakes; some are kept in `env`."""
    mode = env.str("API_MTLS", "", validate=unless_empty(_IS_MODE))
    if not os.environ.get("API_MTLS"):
        for name in _OF_MTLS:
            env.str(name, "", validate=unless_empty(_refuse_without_mtls))
        return None, []
    proxies = read_list(env, "API_MTLS_PROXIES")
    header = env.str("API_MTLS_HEADER", "") or DEFAULT_HEADER
    if not proxies:  # `env` has the mistake
        return None, []
    try:
        return MutualTLS(proxies=proxies, header=header, required=mode == "required"), []
    except ConfigError as exc:
        # Each begins with the name of the argument.
        named = [mistake.partition(" ") for mistake in exc.mistakes]
        return None, [f"API_MTLS_{name.rstrip(':').upper()}: {rest}" for name, _, rest in named]


def _refuse_without_mtls(_value: str) -> None:
    raise ValidationError("has no effect without API_MTLS")
