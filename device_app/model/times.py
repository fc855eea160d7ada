"""Time: the clock that tests replace, points in time in UTC, and lengths of time in words."""

import datetime as dt
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from device_app.model.untrusted import plain_text

__all__ = ["Clock", "duration_seconds", "in_words", "parse_time", "rfc3339", "time_at", "time_text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The three uses of time, all in seconds.

    `now` is the time of day, for what outlives the process (a token's expiry). `monotonic` only measures, so a
    corrected clock cannot expire a code. `sleep` waits.
    """

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def parse_time(unverified_time: object) -> dt.datetime | None:
    """Return an RFC 3339 time, None for anything else."""
    try:
        return dt.datetime.fromisoformat(plain_text(unverified_time)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None


def time_at(seconds: float) -> dt.datetime | None:
    """Return the time of so many seconds since 1970, None beyond the years that a date can have."""
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return None


def rfc3339(moment: dt.datetime) -> str:
    """Return a time for programs, to the second."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_text(moment: dt.datetime) -> str:
    """Return a time as a person reads it; that it is UTC is said elsewhere."""
    return moment.replace(tzinfo=None).isoformat(sep=" ", timespec="seconds")


_UNITS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"))
_TYPED: Final = re.compile(r"([0-9]{1,6})([mhdw])")
_TYPED_SECONDS: Final = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def in_words(seconds: float) -> str:
    """Return a length of time as a person says it: in the largest unit of which there are two, rounded up."""
    for unit_seconds, unit in _UNITS:
        if seconds >= 2 * unit_seconds:
            return f"{math.ceil(seconds / unit_seconds)} {unit}s"
    count = max(1, math.ceil(seconds))
    return f"{count} second{'s' if count != 1 else ''}"


def duration_seconds(typed: str) -> int | None:
    """Return the seconds of a length of time such as 90m, 24h, 7d or 2w, None for anything else."""
    parts = _TYPED.fullmatch(typed)
    return None if parts is None else int(parts[1]) * _TYPED_SECONDS[parts[2]]
