from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from device_app.terminal.tables import print_devices, print_readings

DEVICE = {"id": "dev_0123456789abcdef0123", "name": "Hall", "kind": "set_top_box", "status": "offline"}
READING = {"time": "2026-01-01T00:00:00Z", "metric": "target_temperature", "value": 17.5, "unit": "°C"}


def printed(columns: int, print_table: Any, *rows: dict[str, Any], **arguments: Any) -> list[str]:
    """Return the lines of a table on a terminal without colours."""
    file = io.StringIO()
    print_table(Console(file=file, force_terminal=True, width=columns, no_color=True), rows, **arguments)
    return [re.sub(r"\x1b\[[\d;]*m", "", line).rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.parametrize("columns", [30, 40, 67, 68, 80])
def test_nothing_is_lost_on_a_narrow_terminal(columns: int) -> None:
    devices = printed(columns, print_devices, DEVICE, now=0.0)
    for value in DEVICE.values():
        assert any(value in line for line in devices)
    readings = printed(columns, print_readings, READING)
    assert not any("…" in line for line in devices + readings)
    assert all(len(line) <= columns for line in devices + readings)
