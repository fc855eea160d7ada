"""Tables of devices and readings: with rules on a terminal, one line per row in a pipe."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from device_app.model.times import format_time, parse_rfc3339
from device_app.model.untrusted import plain_text

__all__ = ["print_devices", "print_readings", "print_readings_by_time"]

# In a narrower table, the device ID would be cut, and users copy it.
_MIN_TABLE_COLUMNS = 68
# Narrower terminals omit the least important columns, so that each row stays on one line.
_MIN_LOCATION_COLUMNS = 100
_MIN_MODEL_COLUMNS = 120
_STATUS_STYLES = {"online": "green", "offline": "red"}
# Abbreviated to keep the column narrow.
_AGE_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def print_devices(console: Console, devices: Iterable[Mapping[str, Any]], *, now: float) -> None:
    """Print one row for each device, or three lines if the terminal is narrow.

    `now` is in seconds since 1970.
    """
    if console.is_terminal and console.width < _MIN_TABLE_COLUMNS:
        _print_stacked(console, devices, now=now)
        return
    with_location, with_model = console.width >= _MIN_LOCATION_COLUMNS, console.width >= _MIN_MODEL_COLUMNS
    table = _empty_table(console)
    table.add_column("ID", no_wrap=True, overflow="ignore")
    table.add_column("Name", overflow="fold")
    table.add_column("Kind", no_wrap=True)
    if with_model:
        table.add_column("Model", overflow="fold")
    if with_location:
        table.add_column("Location", overflow="fold")
    table.add_column("Status", no_wrap=True)
    table.add_column("Last seen" if console.is_terminal else "Last seen (UTC)", no_wrap=True)
    for device in devices:
        status, last_seen = plain_text(device.get("status")), device.get("last_seen_at")
        cells = [
            _cell(device, "id"),
            _cell(device, "name"),
            _cell(device, "kind"),
            *([_cell(device, "model")] if with_model else []),
            *([_cell(device, "location")] if with_location else []),
            Text(status, style=_STATUS_STYLES.get(status, "")),
            Text(_age_text(last_seen, now) if console.is_terminal else _time_text(last_seen)),
        ]
        table.add_row(*cells)
    console.print(table)


def _print_stacked(console: Console, devices: Iterable[Mapping[str, Any]], *, now: float) -> None:
    for device in devices:
        status = plain_text(device.get("status"))
        console.print(_cell(device, "name"), style="bold", overflow="fold")
        console.print(
            Text.assemble(
                _cell(device, "kind"),
                ", ",
                (status, _STATUS_STYLES.get(status, "")),
                ", ",
                _age_text(device.get("last_seen_at"), now),
            ),
            overflow="fold",
        )
        console.print(_cell(device, "id"), no_wrap=True, overflow="ignore")
        console.print()


def print_readings(console: Console, readings: Iterable[Mapping[str, Any]]) -> None:
    """Print one row for each reading, in the given order."""
    table = _empty_table(console)
    table.add_column("Time (UTC)", overflow="fold")
    table.add_column("Metric", overflow="fold")
    table.add_column("Value", justify="right")
    table.add_column("Unit")
    for reading in readings:
        table.add_row(
            Text(_time_text(reading.get("time"))),
            _cell(reading, "metric"),
            _cell(reading, "value"),
            _cell(reading, "unit"),
        )
    console.print(table)


def print_readings_by_time(console: Console, readings: Iterable[Mapping[str, Any]]) -> None:
    """Print one row for each time, with a column for each metric and unit. Times and metrics keep the given order.

    Of several readings of a metric at one time, the last one is printed.
    """
    rows: dict[str, dict[str, Text]] = {}
    columns: dict[str, None] = {}
    for reading in readings:
        metric, unit = _cell(reading, "metric").plain, plain_text(reading.get("unit"))
        column = f"{metric} ({unit})" if unit else metric
        columns[column] = None
        rows.setdefault(_time_text(reading.get("time")), {})[column] = _cell(reading, "value")
    table = _empty_table(console)
    table.add_column("Time (UTC)", no_wrap=True)
    for column in columns:
        table.add_column(Text(column), justify="right", no_wrap=True)
    for time, values in rows.items():
        table.add_row(Text(time), *(values.get(column, Text("-")) for column in columns))
    console.print(table)


def _empty_table(console: Console) -> Table:
    if console.is_terminal:
        return Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0))
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))


def _cell(row: Mapping[str, Any], name: str) -> Text:
    # A Text is printed unchanged; rich would interpret markup in a str.
    return Text(plain_text(row.get(name)) or "-")


def _time_text(unverified_time: object) -> str:
    """Return an RFC 3339 time for display, in UTC; if it cannot be parsed, return it as it is."""
    moment = parse_rfc3339(unverified_time)
    return plain_text(unverified_time) or "-" if moment is None else format_time(moment)


def _age_text(unverified_time: object, now: float) -> str:
    moment = parse_rfc3339(unverified_time)
    if moment is None:
        return plain_text(unverified_time) or "-"
    age_seconds = now - moment.timestamp()
    for unit_seconds, unit in _AGE_UNITS:
        if age_seconds >= unit_seconds:
            return f"{age_seconds // unit_seconds:.0f} {unit} ago"
    return "just now"
