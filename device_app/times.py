"""Points in time, in UTC."""

import datetime as dt

from device_app.untrusted import plain_text

__all__ = ["parse_time", "rfc3339", "time_at", "time_text"]


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
