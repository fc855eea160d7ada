"""Lengths of time, in words and as typed."""

import math
import re
from typing import Final

__all__ = ["duration_seconds", "in_words"]

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
