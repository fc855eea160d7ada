"""The limit on wrong user codes, which makes them hard to guess (RFC 8628 §5.1)."""

from collections import deque
from collections.abc import Iterable

_WINDOW_SECONDS = 900
_LIMIT_IN_TOTAL = 200
_TOTAL = "total"


class TooManyWrongCodes(Exception):
    """The limit is reached. `retry_after_seconds` is the time until another code is accepted."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"too many wrong user codes, retry after {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


class TooManyWrongLinks(Exception):
    """The limit on wrong codes in links is reached: a link no longer tells whether its code is right."""


class WrongCodes:
    """Counts wrong codes in a sliding window of 15 minutes, per source and in total. Not thread-safe.

    Args:
        limit_per_source: wrong codes from one source, such as a session or an address. All sources together have 200,
            or this many if it is more.
    """

    def __init__(self, limit_per_source: int) -> None:
        self._limit_per_source = limit_per_source
        self._times: dict[str, deque[float]] = {}

    def check(self, sources: Iterable[str], now: float) -> None:
        """Raise TooManyWrongCodes if one of the sources, or all together, have reached their limit."""
        self._delete_old(now)
        for source, limit in [
            *((source, self._limit_per_source) for source in sources),
            (_TOTAL, max(_LIMIT_IN_TOTAL, self._limit_per_source)),
        ]:
            times = self._times.get(source, ())
            if len(times) >= limit:
                raise TooManyWrongCodes(max(1, int(times[-limit] + _WINDOW_SECONDS - now)))

    def add(self, sources: Iterable[str], now: float) -> None:
        """Count one wrong code, for each of its sources."""
        for source in (*sources, _TOTAL):
            self._times.setdefault(source, deque()).append(now)

    def _delete_old(self, now: float) -> None:
        for source in list(self._times):
            times = self._times[source]
            while times and times[0] <= now - _WINDOW_SECONDS:
                times.popleft()
            if not times:
                del self._times[source]
