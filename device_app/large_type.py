"""A code in letters three lines high, to be read from a sofa."""

from typing import Final

__all__ = ["large_type"]

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
