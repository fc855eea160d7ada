"""The Retry-After header of an answer (RFC 9110 §10.2.3)."""

import datetime as dt
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from device_app.duration import in_words

__all__ = ["retry_after_seconds", "try_again_words"]

# Digits that fit any honest delay; more would only overflow.
_MOST_DIGITS = 9


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """Return how long to wait, in seconds from `now` (the time of day in seconds), or None."""
    unverified_value = headers.get("Retry-After", "").strip()
    if unverified_value.isascii() and unverified_value.isdigit():
        return float(unverified_value) if len(unverified_value) <= _MOST_DIGITS else None
    try:
        moment = parsedate_to_datetime(unverified_value)
    except ValueError:
        return None
    if moment.tzinfo is None:  # "-0000": UTC, with nothing known about the sender's own zone
        moment = moment.replace(tzinfo=dt.UTC)
    return max(0.0, moment.timestamp() - now)


def try_again_words(headers: Mapping[str, str], now: float) -> str:
    """Return the sentence that says when to try again, arguments as above."""
    wait_seconds = retry_after_seconds(headers, now)
    return "Try again later." if wait_seconds is None else f"Try again in {in_words(wait_seconds)}."
