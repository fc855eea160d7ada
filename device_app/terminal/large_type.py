"""The user code in letters three lines high."""

from typing import Final

from device_app.terminal.half_blocks import half_block_lines

__all__ = ["large_type"]

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
    return half_block_lines(rows)
