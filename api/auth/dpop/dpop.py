"""`DPoP`: which proofs are accepted, and the check of a request's proof against its token (RFC 9449 §4.3 and §7)."""

import functools
import hashlib
import os
import time
import weakref
from collections.abc import Callable
from hmac import compare_digest
from typing import Any

from ..claims import AccessToken
from ..config import ConfigError
from ..errors import InvalidDPoPProof, InvalidToken, UseDPoPNonce
from ..possession import UnverifiedRequest
from ..reasons import Reason
from .nonces import MIN_SECRET_BYTES, NONCE_SECONDS, Nonces
from .proof import ALGORITHMS, ProofKey, b64, check_claims, read_key, read_proof
from .replays import ProcessReplays, ReplayMemory

# Clocks of devices are wrong by some seconds, and a proof travels for some. RFC 9449 §11.1: "on the order of seconds or
# minutes".
DEFAULT_WINDOW_SECONDS = 60
MAX_WINDOW_SECONDS = 600
# A parsed key and its header take about 4 KiB.
_MAX_KEYS = 2_000


class DPoP:
    """Which proofs are accepted for tokens that are bound to a key (RFC 9449). Thread-safe; usable in a forked process.

    `required` refuses tokens that are not bound to a key; otherwise both kinds are accepted. `algorithms` are the
    accepted values of `alg`; keys are RSA of 2048 to 8192 bits, P-256 and Ed25519. `window_seconds` is how far the
    `iat` of a proof may be from now, before or after. `nonce_secret`, of at least 32 bytes and the same in all
    processes, lets a proof need a nonce that the API gave out: an attacker who has the key for a moment cannot make
    proofs for later. `replays` remembers used proofs; None remembers them in this process, so that another process
    accepts a proof once more. `now` is a clock in seconds since 1970.

    Raises ConfigError.
    """

    def __init__(
        self,
        *,
        required: bool = False,
        algorithms: tuple[str, ...] = ALGORITHMS,
        window_seconds: int = DEFAULT_WINDOW_SECONDS,
        nonce_secret: bytes | None = None,
        replays: ReplayMemory | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        mistakes = [
            *_mistakes_in_algorithms(algorithms),
            *_mistakes_in_window(window_seconds),
            *_mistakes_in_secret(nonce_secret),
        ]
        if mistakes:
            raise ConfigError(mistakes)
        self._anew = functools.partial(
            type(self),
            required=required,
            algorithms=algorithms,
            window_seconds=window_seconds,
            nonce_secret=nonce_secret,
            replays=replays,
            now=now,
        )
        self.required = required
        self.algorithms = algorithms
        self.window_seconds = window_seconds
        self._nonces = None if nonce_secret is None else Nonces(nonce_secret)
        self._replays: ReplayMemory = ProcessReplays() if replays is None else replays
        self._now = now
        # By the header of a proof: all proofs of a client have the same.
        self._keys: dict[bytes, ProofKey] = {}
        if replays is None and hasattr(os, "register_at_fork"):  # not on Windows
            # Weakly: a hook cannot be removed.
            os.register_at_fork(after_in_child=functools.partial(_renew_in_child, weakref.ref(self)))

    def __repr__(self) -> str:
        """Return a text without the secret."""
        return f"<DPoP required={self.required} algorithms={self.algorithms} nonces={self._nonces is not None}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to copy and pickle this object: with its arguments, without the proofs that it remembers."""
        return self._anew, ()

    def nonce(self) -> str | None:
        """Return the nonce that the next proof should have, None if proofs need none (RFC 9449 §9)."""
        return None if self._nonces is None else self._nonces.current(self._now())

    def check(self, token: AccessToken, unverified_token: str, request: UnverifiedRequest) -> None:
        """Raise unless `request` has one proof, made for it with the key of `token`, and not used before.

        `token` is verified, and has a `key_thumbprint`. Remembers the proof. The nonce of a proof that is about to be
        too old is answered with the next one, by `request.offer_nonce`.

        Raises InvalidDPoPProof, or UseDPoPNonce if the proof has no nonce of this API; InvalidToken if the proof is of
        another key; ReplaysUnavailable if it is unknown whether the proof was used before.
        """
        proof = read_proof(request.header("DPoP"))
        known_key = self._keys.get(proof.header_segment)
        key = known_key or read_key(proof.header_segment, self.algorithms)
        # RFC 9449 §4.3, 12. First, since it is the cheapest: whoever stole a token has another key.
        if not compare_digest(key.thumbprint.encode(), (token.key_thumbprint or "").encode()):
            raise InvalidToken(Reason.KEY_MISMATCH, claim="cnf")
        if not key.key.verifies(proof.signing_input, proof.signature):
            raise InvalidDPoPProof(Reason.PROOF_SIGNATURE)
        if known_key is None:
            # Only now, so that nobody but holders of bound tokens can fill the memory.
            if len(self._keys) >= _MAX_KEYS:
                self._keys.clear()
            self._keys[proof.header_segment] = key
        now = self._now()
        # RFC 9449 §4.2: base64url of the SHA-256 of the token in ASCII.
        ath = b64(hashlib.sha256(unverified_token.encode()).digest())
        token_id = check_claims(
            proof.claims, method=request.method, url=request.url, ath=ath, now=now, window_seconds=self.window_seconds
        )
        self._check_nonce(proof.claims.get("nonce"), request, now)
        # Last: what is refused for another reason uses up nothing.
        self._use_once(key.thumbprint, token_id)

    def _check_nonce(self, unverified_nonce: Any, request: UnverifiedRequest, now: float) -> None:
        if self._nonces is None:
            return
        if not isinstance(unverified_nonce, str) or not self._nonces.accepts(unverified_nonce, now):
            raise UseDPoPNonce
        current = self._nonces.current(now)
        # RFC 9449 §8.2: a new nonce may come with any answer. The next proof then needs no second try.
        if unverified_nonce != current and request.offer_nonce is not None:
            request.offer_nonce(current)

    def _use_once(self, thumbprint: str, token_id: str) -> None:
        """Raise InvalidDPoPProof if this key has used this `jti` within the window (RFC 9449 §11.1)."""
        proof_id = hashlib.sha256(token_id.encode()).hexdigest()
        # A proof from the future is accepted until the window after its `iat` closes.
        if not self._replays.remember(thumbprint, proof_id, 2 * self.window_seconds + 1):
            raise InvalidDPoPProof(Reason.PROOF_REPLAYED, claim="jti")

    def renew_memory(self) -> None:
        """Forget the used proofs in a forked child, with the lock, which a thread of the parent may hold.

        The child never took them: what a parent accepted before it forked counts as another process's.
        """
        self._replays = ProcessReplays()


def _renew_in_child(dpop: weakref.ref[DPoP]) -> None:
    alive = dpop()
    if alive is not None:
        alive.renew_memory()


def _mistakes_in_algorithms(algorithms: object) -> list[str]:
    if not isinstance(algorithms, tuple) or not algorithms or not set(algorithms) <= set(ALGORITHMS):
        return [f'algorithms must be a tuple of some of {", ".join(ALGORITHMS)}: ("ES256",).']
    return []


def _mistakes_in_window(window_seconds: object) -> list[str]:
    if type(window_seconds) is not int or not 1 <= window_seconds <= MAX_WINDOW_SECONDS:
        return [f"window_seconds must be a whole number from 1 to {MAX_WINDOW_SECONDS}."]
    return []


def _mistakes_in_secret(nonce_secret: object) -> list[str]:
    if nonce_secret is not None and not (isinstance(nonce_secret, bytes) and len(nonce_secret) >= MIN_SECRET_BYTES):
        return [f"nonce_secret must be bytes, at least {MIN_SECRET_BYTES} of them."]
    return []


__all__ = ["DEFAULT_WINDOW_SECONDS", "MAX_WINDOW_SECONDS", "NONCE_SECONDS", "DPoP"]
