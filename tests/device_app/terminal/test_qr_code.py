"""The QR code."""

from __future__ import annotations

import segno
from rich.style import Style

from device_app.terminal.qr_code import qr_code

ADDRESS = "https://issuer.example/activate?user_code=BDWP-HQPK"
PIXELS = {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}


def drawn_rows(picture: str) -> list[list[int]]:
    rows = []
    for line in picture.split("\n"):
        rows += [[PIXELS[character][half] for character in line] for half in (0, 1)]
    return rows


def test_each_module_is_drawn_black_on_white_with_the_quiet_zone() -> None:
    text = qr_code(ADDRESS, coloured=True)
    assert text is not None
    expected = [list(row) for row in segno.make_qr(ADDRESS, error="l").matrix_iter(border=4)]
    assert drawn_rows(text.plain)[: len(expected)] == expected
    assert text.style == Style(color="#000000", bgcolor="#ffffff")
    # With an odd number of rows, the lower half of the last line is outside the code: light.
    assert not any(drawn_rows(text.plain)[-1])


def test_without_colours_the_light_modules_are_drawn() -> None:
    coloured, plain = qr_code(ADDRESS, coloured=True), qr_code(ADDRESS, coloured=False)
    assert coloured is not None
    assert plain is not None
    inverted = [[1 - module for module in row] for row in drawn_rows(coloured.plain)]
    assert drawn_rows(plain.plain) == inverted


def test_an_address_that_is_too_long_for_a_qr_code() -> None:
    assert qr_code("https://issuer.example/" + "x" * 3000, coloured=True) is None
