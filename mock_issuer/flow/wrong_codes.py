"""How many wrong user codes a session, an address and all together may send (RFC 8628 §5.1)."""

from collections import deque
from collections.abc import Iterable

_WINDOW_SECONDS = 900
_LIMIT_ALL = 200
_ALL = "all"


class TooManyWrongCodes(Exception):
    """Too many wrong user codes came from here. `retry_after_seconds` says when to come back."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"too many wrong user codes, retry after {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


class WrongCodes:
    """A sliding window of wrong codes for each guesser. Not safe for threads: its owner holds the lock.

    `limit_each` is what one guesser may send in 15 minutes; all together may send 200, or that where it is more.
    """

    def __init__(self, limit_each: int) -> None:
        self._limit_each = limit_each
        self._times: dict[str, deque[float]] = {}

    def check(self, guessers: Iterable[str], now: float) -> None:
        """Raise TooManyWrongCodes when one of the guessers, or all together, used their window up."""
        self._drop_old(now)
        for guesser, limit in [
            *((guesser, self._limit_each) for guesser in guessers),
            (_ALL, max(_LIMIT_ALL, self._limit_each)),
        ]:
            times = self._times.get(guesser, ())
            if len(times) >= limit:
                raise TooManyWrongCodes(max(1, int(times[-limit] + _WINDOW_SECONDS - now)))

    def add(self, guessers: Iterable[str], now: float) -> None:
        """Count one wrong code."""
        for guesser in (*guessers, _ALL):
            self._times.setdefault(guesser, deque()).append(now)

    def _drop_old(self, now: float) -> None:
        for guesser in list(self._times):
            times = self._times[guesser]
            while times and times[0] <= now - _WINDOW_SECONDS:
                times.popleft()
            if not times:
                del self._times[guesser]
