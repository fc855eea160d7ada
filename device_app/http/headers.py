"""Response headers that this program acts on: WWW-Authenticate and Retry-After."""

import datetime as dt
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from device_app.model.times import in_words

__all__ = ["bearer_parameters", "retry_after_seconds", "try_again_words"]


_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# A parameter with a quoted or bare value, or else the name of a scheme.
_PART: Final = re.compile(
    rf'(?P<name>{_WORD})[ \t]*=[ \t]*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>{_WORD}))|(?P<scheme>{_WORD})'
)


def bearer_parameters(unverified_header: str) -> dict[str, str]:
    """Return the parameters of the first Bearer challenge in a header that may hold several.

    Names are in lower case. The result is empty where there is no such challenge or it has no parameters.
    """
    parameters: dict[str, str] = {}
    scheme = ""
    for part in _PART.finditer(unverified_header):
        if part["scheme"]:
            if scheme == "bearer":
                break
            scheme = part["scheme"].lower()
        elif scheme == "bearer":
            quoted = part["quoted"]
            value = part["bare"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            parameters.setdefault(part["name"].lower(), value)
    return parameters


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
