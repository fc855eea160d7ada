"""The issuer's clock: the real one, or a test's, and what it was moved forward by."""

import threading
import time
from collections.abc import Callable

# Far enough for any test, and still a date that a datetime can tell.
_LONGEST_ADVANCE_SECONDS = 10 * 366 * 86_400


class Clock:
    """Tells seconds since the epoch. Every lifetime, interval and limit of the issuer goes by it.

    Args:
        base: what it goes by; the machine's clock where left out.
    """

    def __init__(self, base: Callable[[], float] = time.time) -> None:
        self._base = base
        self._lock = threading.Lock()
        self._advanced = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self._base() + self._advanced

    def advance(self, seconds: float) -> None:
        """Move it forward. Raises ValueError for a number that is negative or none, and beyond ten years in all."""
        with self._lock:
            if not 0 <= seconds <= _LONGEST_ADVANCE_SECONDS - self._advanced:
                raise ValueError("A clock moves forward, by at most ten years in all.")
            self._advanced += seconds

    def reset(self) -> None:
        """Go by the base again."""
        with self._lock:
            self._advanced = 0.0
