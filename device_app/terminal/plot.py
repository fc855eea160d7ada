"""Line plots of readings, one for each metric: in Braille characters, or in ASCII on terminals without Unicode."""

import datetime as dt
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from device_app.model.times import parse_rfc3339
from device_app.model.untrusted import finite_number, plain_text
from device_app.terminal.console import supports_unicode

__all__ = ["print_plots"]

# A line needs two.
_MIN_POINTS = 2
# The axis shows two times.
_MIN_COLUMNS = 40
_TIME_FORMAT = "%Y-%m-%d %H:%M"


@dataclass(frozen=True, slots=True, kw_only=True)
class _CharacterSet:
    """Characters that draw dots: each is a grid of `columns` by `rows` dots, and a plot is `lines` characters high.

    The sum of the weights of a character's dots is its index in `characters`.
    """

    columns: int
    rows: int
    weights: Mapping[tuple[int, int], int]
    characters: str
    lines: int


_BRAILLE: Final = _CharacterSet(
    columns=2,
    rows=4,
    # The Unicode Standard, Braille Patterns; column and row from the upper left.
    weights={(0, 0): 1, (0, 1): 2, (0, 2): 4, (1, 0): 8, (1, 1): 16, (1, 2): 32, (0, 3): 64, (1, 3): 128},
    characters=" " + "".join(chr(0x2800 + weight) for weight in range(1, 256)),
    lines=4,
)
_ASCII: Final = _CharacterSet(columns=1, rows=2, weights={(0, 0): 1, (0, 1): 2}, characters=" '.:", lines=6)


@dataclass(frozen=True, slots=True)
class _Point:
    time: dt.datetime
    value: float


def print_plots(console: Console, readings: Iterable[Mapping[str, Any]]) -> None:
    """Print a plot for each metric that has at least two readings."""
    charset = _BRAILLE if supports_unicode(console) else _ASCII
    # make_console() treats a terminal that cannot move its cursor as a pipe, but such a terminal has a width.
    columns = console.width if console.is_terminal else shutil.get_terminal_size().columns
    for title, points in _group_by_metric(readings).items():
        for line in _plot(title, sorted(points, key=lambda point: point.time), columns=columns, charset=charset):
            console.print(line, no_wrap=True, overflow="crop")


def _group_by_metric(readings: Iterable[Mapping[str, Any]]) -> dict[str, list[_Point]]:
    groups: dict[str, list[_Point]] = {}
    for reading in readings:
        time, value = parse_rfc3339(reading.get("time")), finite_number(reading.get("value"))
        if time is not None and value is not None:
            metric, unit = plain_text(reading.get("metric")), plain_text(reading.get("unit"))
            groups.setdefault(f"{metric} ({unit})" if unit else metric, []).append(_Point(time, value))
    return groups


def _plot(title: str, points: list[_Point], *, columns: int, charset: _CharacterSet) -> Iterator[Text]:
    low, high = min(point.value for point in points), max(point.value for point in points)
    labels = [f"{high:.6g}", *[""] * (charset.lines - 2), f"{low:.6g}" if low != high else ""]
    label_columns = max(len(label) for label in labels)
    plot_columns = columns - label_columns - 1
    if len(points) < _MIN_POINTS or points[0].time == points[-1].time or plot_columns < _MIN_COLUMNS:
        return
    yield Text()
    yield Text(title, style="bold")
    for label, line in zip(labels, _lines(points, low, high, columns=plot_columns, charset=charset), strict=True):
        yield Text.assemble((label.rjust(label_columns), "dim"), " ", line)
    first, last = (point.time.strftime(_TIME_FORMAT) for point in (points[0], points[-1]))
    axis = first + f"{last} UTC".rjust(plot_columns - len(first))
    yield Text(" " * (label_columns + 1) + axis, style="dim")


def _lines(points: list[_Point], low: float, high: float, *, columns: int, charset: _CharacterSet) -> Iterator[str]:
    right, bottom = columns * charset.columns - 1, charset.lines * charset.rows - 1
    start, end = points[0].time, points[-1].time
    # Halved first: the difference of two finite floats can be infinite.
    spread = high / 2 - low / 2

    def dot(point: _Point) -> tuple[int, int]:
        across = (point.time - start) / (end - start)
        up = (point.value / 2 - low / 2) / spread if spread else 1.0
        return round(across * right), round((1 - up) * bottom)

    weights = [[0] * columns for _ in range(charset.lines)]
    for x, y in {xy for start_dot, end_dot in pairwise(map(dot, points)) for xy in _segment(start_dot, end_dot)}:
        weights[y // charset.rows][x // charset.columns] += charset.weights[x % charset.columns, y % charset.rows]
    for line in weights:
        yield "".join(charset.characters[weight] for weight in line)


def _segment(start: tuple[int, int], end: tuple[int, int]) -> Iterator[tuple[int, int]]:
    steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    for step in range(steps + 1):
        yield (
            start[0] + round((end[0] - start[0]) * step / steps),
            start[1] + round((end[1] - start[1]) * step / steps),
        )
