"""When to fetch again after a fetch failed."""

import math
import random

MIN_BACK_OFF_SECONDS = 1.0
MAX_BACK_OFF_SECONDS = 30.0
# After so long without another try, a failure says nothing about the issuer any more. While requests come, the next try
# comes after 30 s at most.
FAILURE_KNOWN_SECONDS = 2 * MAX_BACK_OFF_SECONDS


class BackOff:
    """The times after failures, in seconds of the cache's clock. Not thread-safe: KeyCache holds its lock.

    No fetch starts before `retry_at`. Until `failure_known_until`, the issuer is known to fail.
    """

    def __init__(self) -> None:
        self._failures = 0
        self.retry_at = -math.inf
        self.failure_known_until = -math.inf

    def fail(self, now: float) -> None:
        """Note a fetch that brought no keys: the next one waits 1 to 30 s, twice as long each time, with jitter."""
        self._failures += 1
        longest = min(MAX_BACK_OFF_SECONDS, MIN_BACK_OFF_SECONDS * 2.0 ** min(self._failures - 1, 10))
        jitter = random.uniform(0.5, 1)
        self.retry_at = now + max(MIN_BACK_OFF_SECONDS, longest * jitter)
        self.failure_known_until = now + FAILURE_KNOWN_SECONDS

    def reset(self) -> None:
        """Note a fetch that brought a key set."""
        self._failures = 0
        self.retry_at = self.failure_known_until = -math.inf
