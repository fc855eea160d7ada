"""The QR code of an address, for a phone to scan from the terminal."""

import segno
from rich.style import Style
from rich.text import Text
from segno import DataOverflowError

from device_app.terminal.half_blocks import half_block_lines

__all__ = ["qr_code"]

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
    return Text("\n".join(half_block_lines(rows)), style=_BLACK_ON_WHITE if coloured else "", no_wrap=True)
