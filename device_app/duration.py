"""Lengths of time, in words."""

import math
from typing import Final

__all__ = ["in_words"]

_UNITS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def in_words(seconds: float) -> str:
    """Return a length of time as a person says it: in the largest unit of which there are two, rounded up."""
    for unit_seconds, unit in _UNITS:
        if seconds >= 2 * unit_seconds:
            return f"{math.ceil(seconds / unit_seconds)} {unit}s"
    count = max(1, math.ceil(seconds))
    return f"{count} second{'s' if count != 1 else ''}"
