"""A QR code that a phone reads from any terminal, dark or light."""

import segno
from rich.style import Style
from rich.text import Text
from segno import DataOverflowError

__all__ = ["qr_text"]

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
