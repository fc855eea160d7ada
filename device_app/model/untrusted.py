"""Values that come from a server, made harmless before anything else sees them."""

import math
import unicodedata
from collections.abc import Iterable
from typing import Any

import requests

__all__ = ["finite_number", "json_object", "plain_text"]

# Controls (escape sequences begin with one), invisible and direction-changing format characters, lone surrogates,
# private use, and the two separators that some terminals take for line breaks.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})

# Long enough for any honest description; a longer one would push the rest off the screen.
_LONGEST_TEXT = 500


def plain_text(unverified_text: object, *, hide: Iterable[str | None] = ()) -> str:
    """Return `unverified_text` as one printable line, without the secrets in `hide`.

    Line breaks and tabs become spaces, other control and format characters disappear; what is no string or number
    becomes the empty string. A server that echoes a token in its message must not make us print it.
    """
    if isinstance(unverified_text, bool) or not isinstance(unverified_text, str | int | float):
        return ""
    text = str(unverified_text)
    for secret in hide:
        if secret:
            text = text.replace(secret, "…")
    spaced = " ".join(text.split())
    printable = "".join(c for c in spaced if unicodedata.category(c) not in _UNSAFE_CATEGORIES)
    return printable if len(printable) <= _LONGEST_TEXT else printable[:_LONGEST_TEXT] + "…"


def json_object(response: requests.Response) -> dict[str, Any] | None:
    """Return the JSON object in the body of `response`, or None where there is something else."""
    try:
        body = response.json()
    except (ValueError, RecursionError):  # RecursionError: brackets nested by the thousand
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
