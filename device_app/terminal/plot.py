"""Readings as lines on a terminal: one plot for each metric, in Braille dots or, where those do not show, in ASCII."""

import datetime as dt
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from device_app.model.times import parse_time
from device_app.model.untrusted import finite_number, plain_text
from device_app.terminal.console import draws_unicode

__all__ = ["print_plots"]

# Fewer show no course.
_LEAST_POINTS = 2
# Room for the two times below.
_LEAST_COLUMNS = 40
_TIME_FORMAT = "%Y-%m-%d %H:%M"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ink:
    """What a character cell can show: for each set of dots a character, found by the sum of the dots' weights."""

    columns: int
    rows: int
    weights: Mapping[tuple[int, int], int]
    characters: str
    lines: int


_BRAILLE: Final = _Ink(
    columns=2,
    rows=4,
    # The Unicode Standard, Braille Patterns: columns and rows are counted from the upper left.
    weights={(0, 0): 1, (0, 1): 2, (0, 2): 4, (1, 0): 8, (1, 1): 16, (1, 2): 32, (0, 3): 64, (1, 3): 128},
    characters=" " + "".join(chr(0x2800 + weight) for weight in range(1, 256)),
    lines=4,
)
_ASCII: Final = _Ink(columns=1, rows=2, weights={(0, 0): 1, (0, 1): 2}, characters=" '.:", lines=6)


@dataclass(frozen=True, slots=True)
class _Point:
    time: dt.datetime
    value: float


def print_plots(console: Console, readings: Iterable[Mapping[str, Any]]) -> None:
    """Draw a line for each metric of which there are two readings at least."""
    ink = _BRAILLE if draws_unicode(console) else _ASCII
    # A terminal that cannot move its cursor has a width all the same.
    columns = console.width if console.is_terminal else shutil.get_terminal_size().columns
    for title, points in _by_metric(readings).items():
        for line in _plot(title, sorted(points, key=lambda point: point.time), columns=columns, ink=ink):
            console.print(line, no_wrap=True, overflow="crop")


def _by_metric(readings: Iterable[Mapping[str, Any]]) -> dict[str, list[_Point]]:
    found: dict[str, list[_Point]] = {}
    for reading in readings:
        time, value = parse_time(reading.get("time")), finite_number(reading.get("value"))
        if time is not None and value is not None:
            metric, unit = plain_text(reading.get("metric")), plain_text(reading.get("unit"))
            found.setdefault(f"{metric} ({unit})" if unit else metric, []).append(_Point(time, value))
    return found


def _plot(title: str, points: list[_Point], *, columns: int, ink: _Ink) -> Iterator[Text]:
    low, high = min(point.value for point in points), max(point.value for point in points)
    labels = [f"{high:.6g}", *[""] * (ink.lines - 2), f"{low:.6g}" if low != high else ""]
    label_columns = max(len(label) for label in labels)
    plot_columns = columns - label_columns - 1
    if len(points) < _LEAST_POINTS or points[0].time == points[-1].time or plot_columns < _LEAST_COLUMNS:
        return
    yield Text()
    yield Text(title, style="bold")
    for label, line in zip(labels, _lines(points, low, high, columns=plot_columns, ink=ink), strict=True):
        yield Text.assemble((label.rjust(label_columns), "dim"), " ", line)
    first, last = (point.time.strftime(_TIME_FORMAT) for point in (points[0], points[-1]))
    axis = first + f"{last} UTC".rjust(plot_columns - len(first))
    yield Text(" " * (label_columns + 1) + axis, style="dim")


def _lines(points: list[_Point], low: float, high: float, *, columns: int, ink: _Ink) -> Iterator[str]:
    right, bottom = columns * ink.columns - 1, ink.lines * ink.rows - 1
    start, end = points[0].time, points[-1].time
    # Halved first: the difference of two finite numbers need not be one.
    spread = high / 2 - low / 2

    def dot(point: _Point) -> tuple[int, int]:
        across = (point.time - start) / (end - start)
        up = (point.value / 2 - low / 2) / spread if spread else 1.0
        return round(across * right), round((1 - up) * bottom)

    weights = [[0] * columns for _ in range(ink.lines)]
    for x, y in {between for one, next_one in pairwise(map(dot, points)) for between in _segment(one, next_one)}:
        weights[y // ink.rows][x // ink.columns] += ink.weights[x % ink.columns, y % ink.rows]
    for line in weights:
        yield "".join(ink.characters[weight] for weight in line)


def _segment(one: tuple[int, int], other: tuple[int, int]) -> Iterator[tuple[int, int]]:
    steps = max(abs(other[0] - one[0]), abs(other[1] - one[1]), 1)
    for step in range(steps + 1):
        yield (
            one[0] + round((other[0] - one[0]) * step / steps),
            one[1] + round((other[1] - one[1]) * step / steps),
        )
