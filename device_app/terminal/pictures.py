"""The QR code, and the user code in large letters, drawn with half-block characters."""

from collections.abc import Sequence
from typing import Final

import segno
from rich.style import Style
from rich.text import Text
from segno import DataOverflowError

__all__ = ["large_type", "qr_code"]

# ISO/IEC 18004: a margin of four light modules, without which some readers do not find the code.
_QUIET_ZONE_MODULES = 4
# Explicit colours, since a terminal's defaults may be light on dark. "White" of the basic eight colours is often grey.
_BLACK_ON_WHITE = Style(color="#000000", bgcolor="#ffffff")


def qr_code(content: str, *, coloured: bool) -> Text | None:
    """Return `content` as a QR code, two modules to a character, or None if it is too long for any QR code.

    Without colours the light modules are drawn, which is right on a dark background; most phones also read the inverse.
    """
    try:
        code = segno.make_qr(content, error="l")
    except DataOverflowError:
        return None
    rows = [[bool(module) == coloured for module in row] for row in code.matrix_iter(border=_QUIET_ZONE_MODULES)]
    if len(rows) % 2:
        rows.append([not coloured] * len(rows[0]))
    return Text("\n".join(_half_block_lines(rows)), style=_BLACK_ON_WHITE if coloured else "", no_wrap=True)


# Five rows of pixels for each character of a user code (RFC 8628 §6.1): capitals, digits, hyphen, space.
_GLYPHS: Final = {
    "A": ".##. #..# #### #..# #..#",
    "B": "###. #..# ###. #..# ###.",
    "C": ".### #... #... #... .###",
    "D": "###. #..# #..# #..# ###.",
    "E": "#### #... ###. #... ####",
    "F": "#### #... ###. #... #...",
    "G": ".### #... #.## #..# .###",
    "H": "#..# #..# #### #..# #..#",
    "I": "### .#. .#. .#. ###",
    "J": "..## ...# ...# #..# .##.",
    "K": "#..# #.#. ##.. #.#. #..#",
    "L": "#... #... #... #... ####",
    "M": "#...# ##.## #.#.# #...# #...#",
    "N": "#...# ##..# #.#.# #..## #...#",
    "O": ".##. #..# #..# #..# .##.",
    "P": "###. #..# ###. #... #...",
    "Q": ".##.. #..#. #..#. #.##. .####",
    "R": "###. #..# ###. #.#. #..#",
    "S": ".### #... .##. ...# ###.",
    "T": "##### ..#.. ..#.. ..#.. ..#..",
    "U": "#..# #..# #..# #..# .##.",
    "V": "#...# #...# .#.#. .#.#. ..#..",
    "W": "#...# #...# #.#.# ##.## #...#",
    "X": "#...# .#.#. ..#.. .#.#. #...#",
    "Y": "#...# .#.#. ..#.. ..#.. ..#..",
    "Z": "##### ...#. ..#.. .#... #####",
    "0": ".###. #..## #.#.# ##..# .###.",
    "1": ".#. ##. .#. .#. ###",
    "2": "###. ...# .##. #... ####",
    "3": "###. ...# .##. ...# ###.",
    "4": "#..# #..# #### ...# ...#",
    "5": "#### #... ###. ...# ###.",
    "6": ".##. #... ###. #..# .##.",
    "7": "#### ...# ..#. .#.. .#..",
    "8": ".##. #..# .##. #..# .##.",
    "9": ".##. #..# .### ...# .##.",
    "-": "... ... ### ... ...",
    " ": ".. .. .. .. ..",
}


def large_type(text: str, columns: int) -> list[str] | None:
    """Return the lines that draw `text` in letters three lines high, each line at most `columns` wide.

    A long text is broken after hyphens and spaces. Returns None if a part does not fit, or if a character has no glyph.
    """
    lines: list[str] = []
    rest = text.strip()
    while rest:
        part = _longest_fitting_part(rest, columns)
        if part is None:
            return None
        if lines:
            lines.append("")
        lines += _draw(part.rstrip(" "))
        rest = rest[len(part) :].lstrip(" ")
    return lines or None


def _longest_fitting_part(text: str, columns: int) -> str | None:
    if not all(character in _GLYPHS for character in text):
        return None
    breaks = [index + 1 for index, character in enumerate(text) if character in "- "]
    ends = [len(text), *reversed(breaks)]
    return next((text[:end] for end in ends if _width(text[:end]) <= columns), None)


def _width(text: str) -> int:
    return sum(len(_GLYPHS[character].split()[0]) + 1 for character in text) - 1


def _draw(text: str) -> list[str]:
    glyphs = [_GLYPHS[character].split() for character in text]
    rows = [[pixel == "#" for pixel in ".".join(row)] for row in zip(*glyphs, strict=True)]
    rows.append([False] * len(rows[0]))
    return _half_block_lines(rows)


# Upper and lower pixel of a character.
_HALF_BLOCKS: Final = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


def _half_block_lines(rows: Sequence[Sequence[bool]]) -> list[str]:
    """Draw an even number of rows of pixels, two rows to a line."""
    return [
        "".join(_HALF_BLOCKS[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    ]
