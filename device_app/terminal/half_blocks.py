"""Pixels drawn with half-block characters, two above each other in one character."""

from collections.abc import Sequence
from typing import Final

__all__ = ["half_block_lines"]

# Upper and lower pixel of a character.
_HALF_BLOCKS: Final = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


def half_block_lines(rows: Sequence[Sequence[bool]]) -> list[str]:
    """Draw an even number of rows of pixels, two rows to a line."""
    return [
        "".join(_HALF_BLOCKS[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    ]
