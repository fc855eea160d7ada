"""The issuer's clock, which a test can move forward."""

import threading
import time
from collections.abc import Callable

# Keeps every time within what a datetime can hold.
_MAX_ADVANCE_SECONDS = 10 * 366 * 86_400


class Clock:
    """Returns seconds since the epoch. Every lifetime, interval and limit of the issuer uses it.

    Args:
        base: the underlying clock; the machine's by default.
    """

    def __init__(self, base: Callable[[], float] = time.time) -> None:
        self._base = base
        self._lock = threading.Lock()
        self._advanced = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self._base() + self._advanced

    def machine(self) -> float:
        """Return the time of the underlying clock, as if it had never been advanced."""
        return self._base()

    def advance(self, seconds: float) -> None:
        """Move the clock forward. Raises ValueError for a negative number, NaN, and more than ten years in all."""
        with self._lock:
            if not 0 <= seconds <= _MAX_ADVANCE_SECONDS - self._advanced:
                raise ValueError("The clock can only move forward, by at most ten years in all.")
            self._advanced += seconds

    def reset(self) -> None:
        """Undo every advance."""
        with self._lock:
            self._advanced = 0.0
