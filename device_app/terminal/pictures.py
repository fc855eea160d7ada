"""Pictures made of characters: a QR code that a phone reads, and a code in letters three lines high."""

from typing import Final

import segno
from rich.style import Style
from rich.text import Text
from segno import DataOverflowError

__all__ = ["large_type", "qr_text"]


# ISO/IEC 18004: four light modules all around, without which some readers find nothing.
_QUIET_ZONE_MODULES = 4
# Explicit colours, because a terminal's own may be light on dark. Real white: the "white" of the first eight colours is
# a grey in most schemes.
_BLACK_ON_WHITE = Style(color="#000000", bgcolor="#ffffff")
# Upper and lower module of a character cell. A dark module is drawn in the foreground colour.
_DARK_DRAWN = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}
# Without colours the light modules are drawn, which is right on the dark ground that most terminals have; most phones
# read the negative too.
_LIGHT_DRAWN = {(not upper, not lower): block for (upper, lower), block in _DARK_DRAWN.items()}


def qr_text(content: str, *, coloured: bool) -> Text | None:
    """Return `content` as a QR code, two modules to a character cell, or None where it is too long for any.

    `coloured` says whether the terminal shows colours.
    """
    try:
        code = segno.make_qr(content, error="l")
    except DataOverflowError:
        return None
    rows = [[bool(module) for module in row] for row in code.matrix_iter(border=_QUIET_ZONE_MODULES)]
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    blocks = _DARK_DRAWN if coloured else _LIGHT_DRAWN
    lines = [
        "".join(blocks[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    ]
    return Text("\n".join(lines), style=_BLACK_ON_WHITE if coloured else "", no_wrap=True)


# Five rows of pixels each. Only what user codes are made of (RFC 8628 §6.1): capitals, digits, hyphen, space.
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
_PIXEL_ROWS = 5
# Upper and lower pixel of a character cell.
_BLOCKS: Final = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


def large_type(text: str, columns: int) -> list[str] | None:
    """Return the lines that draw `text`, each at most `columns` wide.

    It breaks after hyphens and spaces where it is too long. Returns None where a part does not fit or has a character
    without a glyph; the caller then shows the text as it is.
    """
    lines: list[str] = []
    rest = text.strip()
    while rest:
        part = _longest_fit(rest, columns)
        if part is None:
            return None
        if lines:
            lines.append("")
        lines += _drawn(part.rstrip(" "))
        rest = rest[len(part) :].lstrip(" ")
    return lines or None


def _longest_fit(text: str, columns: int) -> str | None:
    if not all(character in _GLYPHS for character in text):
        return None
    breaks = [index + 1 for index, character in enumerate(text) if character in "- "]
    ends = [len(text), *reversed(breaks)]
    return next((text[:end] for end in ends if _width(text[:end]) <= columns), None)


def _width(text: str) -> int:
    return sum(len(_GLYPHS[character].split()[0]) + 1 for character in text) - 1


def _drawn(text: str) -> list[str]:
    glyphs = [_GLYPHS[character].split() for character in text]
    pixels = [".".join(glyph[row] for glyph in glyphs) for row in range(_PIXEL_ROWS)]
    pixels.append("." * len(pixels[0]))
    return [
        "".join(_BLOCKS[above == "#", below == "#"] for above, below in zip(upper, lower, strict=True))
        for upper, lower in zip(pixels[::2], pixels[1::2], strict=True)
    ]
