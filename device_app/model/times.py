"""Time: the clock, which tests replace, and points in time and durations as text."""

import datetime as dt
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from device_app.model.untrusted import plain_text

__all__ = [
    "Clock",
    "format_duration",
    "format_rfc3339",
    "format_time",
    "from_timestamp",
    "parse_duration",
    "parse_rfc3339",
]

# The units of an option such as --since 24h.
_DURATION: Final = re.compile(r"([0-9]{1,6})([mhdw])")
_DURATION_UNIT_SECONDS: Final = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DISPLAYED_UNITS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The time functions of the program, all in seconds.

    `now` is seconds since 1970, for what is stored (a token's expiry). `monotonic` measures durations, so that
    changing the system's clock does not expire a code. `sleep` waits.
    """

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def from_timestamp(seconds: float) -> dt.datetime | None:
    """Return the UTC time of `seconds` since 1970, or None if datetime cannot represent it."""
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return None


def parse_rfc3339(unverified_time: object) -> dt.datetime | None:
    """Return an RFC 3339 time in UTC, or None if it cannot be read.

    Other ISO 8601 forms are accepted too; a time without an offset is taken as local time.
    """
    try:
        return dt.datetime.fromisoformat(plain_text(unverified_time)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None


def format_rfc3339(moment: dt.datetime) -> str:
    """Return a time in UTC as RFC 3339, to the second."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_time(moment: dt.datetime) -> str:
    """Return a time for display, to the second and without its offset."""
    return moment.replace(tzinfo=None).isoformat(sep=" ", timespec="seconds")


def parse_duration(text: str) -> int | None:
    """Return the seconds of a duration such as 90m, 24h, 7d or 2w, or None for anything else."""
    parts = _DURATION.fullmatch(text)
    return None if parts is None else int(parts[1]) * _DURATION_UNIT_SECONDS[parts[2]]


def format_duration(seconds: float) -> str:
    """Return a duration for display, such as "15 minutes": rounded up, in the largest unit of which it has two."""
    for unit_seconds, unit in _DISPLAYED_UNITS:
        if seconds >= 2 * unit_seconds:
            return f"{math.ceil(seconds / unit_seconds)} {unit}s"
    count = max(1, math.ceil(seconds))
    return f"{count} second{'s' if count != 1 else ''}"
