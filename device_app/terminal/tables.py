"""Devices and readings as tables: ruled on a terminal, one unbroken line each on a pipe."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from device_app.model.times import parse_time, time_text
from device_app.model.untrusted import plain_text

__all__ = ["print_devices", "print_readings"]

# Below this an identifier, which is there to be copied, would not fit beside the rest.
_WIDTH_FOR_TABLE = 68
# Narrower terminals lose the columns that matter least, so that the rest stays on one line.
_WIDTH_FOR_LOCATION = 100
_WIDTH_FOR_MODEL = 120
_STATUS_STYLES = {"online": "green", "offline": "red"}
# Short, so that the column is narrow.
_AGE_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def print_devices(console: Console, devices: Iterable[Mapping[str, Any]], *, now: float) -> None:
    """Print one row for each device, or three lines where the terminal is narrow.

    `now` is the time of day in seconds since 1970.
    """
    if console.is_terminal and console.width < _WIDTH_FOR_TABLE:
        _print_stacked(console, devices, now=now)
        return
    with_location, with_model = console.width >= _WIDTH_FOR_LOCATION, console.width >= _WIDTH_FOR_MODEL
    table = _table(console)
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
            Text(_age(last_seen, now) if console.is_terminal else _time(last_seen)),
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
                _age(device.get("last_seen_at"), now),
            ),
            overflow="fold",
        )
        console.print(_cell(device, "id"), no_wrap=True, overflow="ignore")
        console.print()


def print_readings(console: Console, readings: Iterable[Mapping[str, Any]]) -> None:
    """Print one row for each reading, in the given order."""
    table = _table(console)
    table.add_column("Time (UTC)", overflow="fold")
    table.add_column("Metric", overflow="fold")
    table.add_column("Value", justify="right")
    table.add_column("Unit")
    for reading in readings:
        table.add_row(
            Text(_time(reading.get("time"))),
            _cell(reading, "metric"),
            _cell(reading, "value"),
            _cell(reading, "unit"),
        )
    console.print(table)


def _table(console: Console) -> Table:
    if console.is_terminal:
        return Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0))
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))


def _cell(row: Mapping[str, Any], name: str) -> Text:
    # A Text is printed as it is: rich reads no markup in it.
    return Text(plain_text(row.get(name)) or "-")


def _time(unverified_time: object) -> str:
    """Return an RFC 3339 time in UTC as a person reads it, or what there is where it is none."""
    moment = parse_time(unverified_time)
    if moment is None:
        return plain_text(unverified_time) or "-"
    return time_text(moment)


def _age(unverified_time: object, now: float) -> str:
    moment = parse_time(unverified_time)
    if moment is None:
        return plain_text(unverified_time) or "-"
    age_seconds = now - moment.timestamp()
    for unit_seconds, unit in _AGE_UNITS:
        if age_seconds >= unit_seconds:
            return f"{age_seconds // unit_seconds:.0f} {unit} ago"
    return "just now"
