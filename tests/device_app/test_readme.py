from __future__ import annotations

from pathlib import Path

import click
import pytest

import device_app
from device_app.cli import cli
from device_app.model import errors

README = (Path(device_app.__file__).parent / "README.md").read_text(encoding="utf-8")
ERRORS = [getattr(errors, name) for name in errors.__all__]
COMMANDS = dict(cli.commands)
OPTIONS = [
    parameter for command in COMMANDS.values() for parameter in command.params if isinstance(parameter, click.Option)
]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_documented(name: str) -> None:
    assert f"$ device {name}" in README


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.opts[0])
def test_each_option_is_documented(option: click.Option) -> None:
    row = next(line for line in README.splitlines() if line.startswith(f"| `{option.opts[0]}"))
    assert option.envvar is None or f"`{option.envvar}`" in row
    if isinstance(option.default, str) and option.default:
        assert f"`{option.default}`" in row


def test_each_exit_status_is_documented() -> None:
    for status in {0, 2, 130, *(error.exit_status for error in ERRORS)}:
        assert f"\n| {status} |" in README or f"\n| {status} " in README


def test_each_state_is_documented() -> None:
    for state in {"logged_in", "interrupted", *(error.state for error in ERRORS)}:
        assert f"`{state}`" in README
