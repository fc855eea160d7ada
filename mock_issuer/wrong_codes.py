"""How many wrong user codes a session, an address and all together may send (RFC 8628 §5.1)."""

from collections import deque
from collections.abc import Iterable

_WINDOW_SECONDS = 900
_LIMIT_EACH = 5
_LIMIT_ALL = 200
_ALL = "all"


class TooManyWrongCodes(Exception):
    """Too many wrong user codes came from here. `retry_after_seconds` says when to come back."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"too many wrong user codes, retry after {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


class WrongCodes:
    """A sliding window of wrong codes for each guesser. Not safe for threads: its owner holds the lock."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}

    def check(self, guessers: Iterable[str], now: float) -> None:
        """Raise TooManyWrongCodes when one of the guessers, or all together, used their window up."""
        self._drop_old(now)
        for guesser, limit in [*((guesser, _LIMIT_EACH) for guesser in guessers), (_ALL, _LIMIT_ALL)]:
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
