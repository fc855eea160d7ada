"""Values received from a server, checked and cleaned before the program uses or prints them."""

import math
import unicodedata
from collections.abc import Iterable
from typing import Any

import requests

__all__ = ["decimal_integer", "finite_number", "json_object", "oauth_error_text", "plain_text"]

# Control characters (escape sequences begin with one), invisible and bidirectional format characters, lone surrogates,
# private use, and the line and paragraph separators.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
# A longer text would scroll the rest off the screen.
_MAX_TEXT_LENGTH = 500
# Enough for 30 years in seconds; far larger numbers overflow a float or a timer.
_MAX_DIGITS = 9


def plain_text(unverified_text: object, *, hide: Iterable[str | None] = ()) -> str:
    """Return `unverified_text` as one printable line, with each secret in `hide` replaced by an ellipsis.

    White space becomes single spaces; control and format characters are removed; anything but a string or a number
    becomes the empty string.
    """
    if isinstance(unverified_text, bool) or not isinstance(unverified_text, str | int | float):
        return ""
    text = str(unverified_text)
    for secret in hide:
        if secret:
            text = text.replace(secret, "…")
    spaced = " ".join(text.split())
    printable = "".join(c for c in spaced if unicodedata.category(c) not in _UNSAFE_CATEGORIES)
    return printable if len(printable) <= _MAX_TEXT_LENGTH else printable[:_MAX_TEXT_LENGTH] + "…"


def oauth_error_text(
    unverified_error: object, unverified_description: object, *, hide: Iterable[str | None] = ()
) -> str:
    """Return `error` and `error_description` of an OAuth error response (RFC 6749 §5.2) as "error: description".

    A missing or malformed member is left out; the result may be empty. `hide` is as in `plain_text`.
    """
    hide = tuple(hide)
    error, description = plain_text(unverified_error, hide=hide), plain_text(unverified_description, hide=hide)
    return ": ".join(filter(None, [error.rstrip("."), description.rstrip(".")]))


def json_object(response: requests.Response) -> dict[str, Any] | None:
    """Return the JSON object in the body of `response`, or None if the body is anything else."""
    try:
        body = response.json()
    except (ValueError, RecursionError):  # RecursionError: thousands of nested brackets
        return None
    return body if isinstance(body, dict) else None


def finite_number(unverified_value: object) -> float | None:
    """Return a JSON number as a float, or None for anything else, NaN and infinity included."""
    if isinstance(unverified_value, bool) or not isinstance(unverified_value, int | float):
        return None
    try:
        number = float(unverified_value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def decimal_integer(unverified_text: str) -> int | None:
    """Return a non-negative integer of at most nine ASCII digits, or None for anything else."""
    is_valid = unverified_text.isascii() and unverified_text.isdigit() and len(unverified_text) <= _MAX_DIGITS
    return int(unverified_text) if is_valid else None
