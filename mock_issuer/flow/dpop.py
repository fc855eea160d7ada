"""What the issuer remembers for DPoP proofs: its nonces, and which proofs were used (RFC 9449 §8, §11.1)."""

import base64
import hmac
import secrets
import threading

# Each nonce is given out for this time, and accepted for as long again.
NONCE_SECONDS = 300
_SECRET_BYTES = 32
# Fewer used proofs than twice this are not searched for old ones.
_KEPT_AT_LEAST = 500


class Nonces:
    """Nonces that need no memory: a MAC over the time. `now` is in seconds since the epoch."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(_SECRET_BYTES)

    def current(self, *, now: float) -> str:
        """Return the nonce to give out now."""
        return self._make(int(now // NONCE_SECONDS))

    def is_valid(self, unverified_nonce: str, *, now: float) -> bool:
        """Return whether a nonce is the current one or the one before."""
        period = int(now // NONCE_SECONDS)
        unverified = unverified_nonce.encode("utf-8", "replace")
        return any(hmac.compare_digest(unverified, self._make(one).encode()) for one in (period, period - 1))

    def _make(self, period: int) -> str:
        mac = hmac.digest(self._secret, str(period).encode(), "sha256")
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


class UsedProofs:
    """The proofs that were used, by key and `jti`, until they are too old anyway. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: dict[tuple[str, str], float] = {}
        self._cleared_size = _KEPT_AT_LEAST

    def add(self, thumbprint: str, jti: str, *, now: float, until: float) -> bool:
        """Remember a proof; return False if it was used before.

        Args:
            thumbprint: the thumbprint of its key.
            jti: its `jti`.
            now: the time, in seconds since the epoch.
            until: when the proof is too old to be accepted.
        """
        with self._lock:
            # Not at each proof: under load, all of the last two minutes would be gone through each time.
            if len(self._ends) >= 2 * self._cleared_size:
                self._ends = {proof: end for proof, end in self._ends.items() if now < end}
                self._cleared_size = max(len(self._ends), _KEPT_AT_LEAST)
            if now < self._ends.get((thumbprint, jti), now):
                return False
            self._ends[thumbprint, jti] = until
            return True

    def clear(self) -> None:
        """Forget all proofs."""
        with self._lock:
            self._ends.clear()
