"""The memory of used proofs (RFC 9449 §11.1): each proof opens once."""

import threading
import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from ..errors import InvalidDPoPProof, ReplaysUnavailable
from ..reasons import Reason

# An entry takes about 300 bytes: 30 MB when full. That is 800 proofs a second, over the default window of 121 s.
DEFAULT_SIZE = 100_000
# The share of one key: nobody can fill the memory alone.
_SHARE_OF_A_KEY = 10
_RETRY_AFTER_SECONDS = 5


class ReplayMemory(Protocol):
    """Remembers which proofs were used. Thread-safe."""

    @abstractmethod
    def remember(self, key_thumbprint: str, proof_id: str, seconds: int) -> bool:
        """Remember a proof for so many seconds; return False if it is remembered already.

        `proof_id` is the SHA-256 of its `jti`, in hexadecimal. Of two calls at once, one returns True.

        Raises ReplaysUnavailable if it cannot tell.
        """


class ProcessReplays:
    """Remembers the proofs that this process has accepted, `size` of them at most. `monotonic` is in seconds."""

    def __init__(self, size: int = DEFAULT_SIZE, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._monotonic = monotonic
        # (key, proof) → until when; in the order of insertion, which is that of the times as long as `seconds` is the
        # same in all calls.
        self._until: dict[tuple[str, str], float] = {}
        self._count: Counter[str] = Counter()
        # Held for microseconds.
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._until)

    def remember(self, key_thumbprint: str, proof_id: str, seconds: int) -> bool:
        """Remember a proof for so many seconds; return False if it is remembered already.

        A full memory forgets nothing, since whoever fills it could then use an old proof again. Raises InvalidDPoPProof
        if a tenth of the memory is full of this key's proofs, ReplaysUnavailable if all of it is.
        """
        proof = (key_thumbprint, proof_id)
        with self._lock:
            now = self._monotonic()
            self._forget_old(now)
            if proof in self._until:
                return False
            if self._count[key_thumbprint] >= self._size // _SHARE_OF_A_KEY:
                # Not 503: one client must not make the API look down.
                raise InvalidDPoPProof(Reason.PROOFS_TOO_MANY, retry_after_seconds=_RETRY_AFTER_SECONDS)
            if len(self._until) >= self._size:
                raise ReplaysUnavailable(_RETRY_AFTER_SECONDS)
            self._until[proof] = now + seconds
            self._count[key_thumbprint] += 1
            return True

    def _forget_old(self, now: float) -> None:
        while self._until:
            oldest = next(iter(self._until))
            if self._until[oldest] > now:
                return
            del self._until[oldest]
            self._count[oldest[0]] -= 1
            if not self._count[oldest[0]]:
                del self._count[oldest[0]]
