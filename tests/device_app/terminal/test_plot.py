from __future__ import annotations

import io
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from device_app.terminal.plot import print_plots


def reading(hour: float, value: Any, metric: Any = "power", unit: Any = "W") -> dict[str, Any]:
    minutes = round(hour * 60)
    time = f"2026-11-21T{minutes // 60:02}:{minutes % 60:02}:00Z"
    return {"time": time, "metric": metric, "value": value, "unit": unit}


def drawn(*readings: dict[str, Any], columns: int = 60, encoding: str = "utf-8") -> list[str]:
    """Return the lines of the plots on a terminal without colours."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    print_plots(Console(file=file, force_terminal=True, width=columns, no_color=True), readings)
    file.seek(0)
    return [re.sub(r"\x1b\[[\d;]*m", "", line).rstrip() for line in file.read().splitlines()]


def test_a_rising_line() -> None:
    lines = drawn(reading(0, 0), reading(10, 40), columns=45)
    assert lines == [
        "",
        "power (W)",
        "40                                 ⣀⣀⣀⠤⠤⠔⠒⠒⠊⠉",
        "                        ⣀⣀⣀⠤⠤⠔⠒⠒⠊⠉⠉",
        "             ⣀⣀⡠⠤⠤⠔⠒⠒⠉⠉⠉",
        " 0 ⣀⡠⠤⠤⠔⠒⠒⠉⠉⠉",
        "   2026-11-21 00:00      2026-11-21 10:00 UTC",
    ]


def test_in_ascii() -> None:
    lines = drawn(reading(0, 1), reading(1, 3), reading(2, 2), columns=46, encoding="ascii")
    assert lines[1] == "power (W)"
    assert lines[2].startswith("3  ")
    assert lines[7].startswith("1 .")
    assert set("".join(lines[2:8])) <= set(" .':13")


def test_each_metric_has_a_scale_of_its_own_and_is_sorted_by_time() -> None:
    lines = drawn(
        reading(2, 900),
        reading(0, 800),
        reading(1, 21.25, "temperature", "°C"),
        reading(0, 20, "temperature", "°C"),
        columns=60,
    )
    titles = [line for line in lines if "(" in line]
    assert titles == ["power (W)", "temperature (°C)"]
    assert any(line.startswith("900 ") for line in lines)
    assert any(line.startswith("21.25 ") for line in lines)


def test_a_constant_is_a_level_line() -> None:
    lines = drawn(reading(0, 5), reading(1, 5))
    assert lines[2] == "5 " + "⠉" * 58
    assert "".join(lines[3:6]).strip() == ""


@pytest.mark.parametrize(
    "readings",
    [
        [],
        [reading(1, 5)],
        [reading(1, 5), reading(1, 6)],
        [reading(1, 5), reading(2, "odd")],
        [reading(1, 5), reading(2, value=True)],
        [reading(1, 5), {"time": "yesterday", "metric": "power", "value": 1, "unit": "W"}],
        [reading(1, 5), reading(2, 5, metric="other")],
        [{}, {}],
    ],
)
def test_fewer_than_two_usable_readings_are_not_plotted(readings: list[dict[str, Any]]) -> None:
    assert drawn(*readings) == []


def test_names_are_stripped_of_escape_sequences() -> None:
    lines = drawn(reading(0, 1, "\x1b[2J[red]", "\x07"), reading(1, 2, "\x1b[2J[red]", "\x07"))
    assert lines[1] == "[2J[red]"


values = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.lists(st.tuples(st.floats(0, 23), values), max_size=9), st.integers(1, 200), st.sampled_from(["utf-8", "ascii"])
)
def test_no_line_is_too_long_whatever_the_values(
    points: list[tuple[float, float]], columns: int, encoding: str
) -> None:
    lines = drawn(*(reading(hour, value) for hour, value in points), columns=columns, encoding=encoding)
    assert len(lines) in {0, 7, 9}
    assert all(len(line) <= columns for line in lines)
