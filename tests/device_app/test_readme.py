from __future__ import annotations

from pathlib import Path

import click
import pytest

import device_app.errors
from device_app.cli import cli

README = (Path(device_app.errors.__file__).parent / "README.md").read_text(encoding="utf-8")
COMMANDS = dict(cli.commands)
OPTIONS = [
    parameter for command in COMMANDS.values() for parameter in command.params if isinstance(parameter, click.Option)
]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_told(name: str) -> None:
    assert f"$ device {name}" in README


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.opts[0])
def test_each_option_is_told(option: click.Option) -> None:
    row = next(line for line in README.splitlines() if line.startswith(f"| `{option.opts[0]}"))
    assert option.envvar is None or f"`{option.envvar}`" in row
    if isinstance(option.default, str) and option.default:
        assert f"`{option.default}`" in row


def test_each_exit_status_is_told() -> None:
    errors = [getattr(device_app.errors, name) for name in device_app.errors.__all__]
    for status in {0, 2, 130, *(error.exit_status for error in errors)}:
        assert f"\n| {status} |" in README or f"\n| {status} " in README


def test_each_state_is_told() -> None:
    errors = [getattr(device_app.errors, name) for name in device_app.errors.__all__]
    for state in {"logged_in", "interrupted", *(error.state for error in errors)}:
        assert f"`{state}`" in README
