"""The screen of a terminal as SVG.

Block characters become rectangles: fonts draw them with gaps, in which a QR code cannot be read. Other text keeps its
place, whatever its font.
"""

from collections.abc import Iterator
from html import escape

from rich.ansi import AnsiDecoder
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import SVG_EXPORT_THEME

# The half of a cell is a square, as a QR code needs.
_CELL_WIDTH, _CELL_HEIGHT = 9, 18
_FONT_SIZE, _BASELINE = 15, 14
_FONTS = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
_MARGIN = 16
# The upper and the lower half of a cell: whether they are filled.
_BLOCKS = {"█": (True, True), "▀": (True, False), "▄": (False, True)}


def terminal_as_svg(screen: str, *, columns: int, title: str, description: str) -> str:
    """Return a screen as SVG; `screen` has the escape sequences of ECMA-48 for colours and weight alone."""
    console = Console(width=columns, color_system="truecolor", legacy_windows=False)
    lines = list(AnsiDecoder().decode(screen.rstrip()))
    width, height = columns * _CELL_WIDTH + 2 * _MARGIN, len(lines) * _CELL_HEIGHT + 2 * _MARGIN
    # By colour. The backgrounds are drawn first.
    backgrounds: dict[str, list[str]] = {}
    blocks: dict[str, list[str]] = {}
    texts: list[str] = []
    for row, line in enumerate(lines):
        column = 0
        for segment in line.render(console):
            _draw_background(segment, column, row, backgrounds)
            _draw_text(segment, column, row, blocks, texts)
            column += segment.cell_length
    paths = [
        f'<path fill="{color}" shape-rendering="crispEdges" d="{"".join(rectangles)}"/>'
        for color, rectangles in [*backgrounds.items(), *blocks.items()]
    ]
    shapes = "\n".join([*paths, *texts])
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" \
role="img" aria-labelledby="title description">
<title id="title">{escape(title)}</title>
<desc id="description">{escape(description)}</desc>
<rect width="{width}" height="{height}" rx="10" fill="{SVG_EXPORT_THEME.background_color.hex}"/>
<g transform="translate({_MARGIN} {_MARGIN})" font-size="{_FONT_SIZE}" font-family="{_FONTS}">
{shapes}
</g>
</svg>
"""


def _draw_background(segment: Segment, column: int, row: int, backgrounds: dict[str, list[str]]) -> None:
    color = (segment.style or Style()).bgcolor
    if color and not color.is_default:
        rectangle = _rectangle(column, row * 2, segment.cell_length, 2)
        backgrounds.setdefault(color.get_truecolor(SVG_EXPORT_THEME).hex, []).append(rectangle)


def _draw_text(segment: Segment, column: int, row: int, blocks: dict[str, list[str]], texts: list[str]) -> None:
    style = segment.style or Style()
    color = (style.color.get_truecolor(SVG_EXPORT_THEME) if style.color else SVG_EXPORT_THEME.foreground_color).hex
    for offset, count, character in _runs(segment.text):
        if character in _BLOCKS:
            for part, is_filled in enumerate(_BLOCKS[character]):
                if is_filled:
                    blocks.setdefault(color, []).append(_rectangle(column + offset, row * 2 + part, count, 1))
    words = "".join(" " if character in _BLOCKS else character for character in segment.text)
    text = words.strip()
    if text:
        start = column + len(words) - len(words.lstrip())
        weight = ' font-weight="bold"' if style.bold else ""
        weight += ' opacity="0.7"' if style.dim else ""
        texts.append(
            f'<text x="{start * _CELL_WIDTH}" y="{row * _CELL_HEIGHT + _BASELINE}" '
            f'textLength="{len(text) * _CELL_WIDTH}" fill="{color}"{weight}>{escape(text)}</text>'
        )


def _runs(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield each run of one character: where it starts, how long it is, the character."""
    start = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or text[end] != text[start]:
            yield start, end - start, text[start]
            start = end


def _rectangle(column: int, half_row: int, columns: int, half_rows: int) -> str:
    width, half = columns * _CELL_WIDTH, _CELL_HEIGHT // 2
    return f"M{column * _CELL_WIDTH} {half_row * half}h{width}v{half_rows * half}h-{width}z"
