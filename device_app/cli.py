"""The program and its end: commands, errors, exit statuses."""

import os
import sys
from typing import Any

import click

from device_app.commands.devices import add, devices, readings
from device_app.commands.login import login, logout, status, token
from device_app.model.errors import DeviceAppError

__all__ = ["cli", "main"]

# Shells count 128 and the signal's number; SIGINT is 2.
_INTERRUPTED = 130


class _DeviceGroup(click.Group):
    """Commands whose errors are one sentence on standard error and the exit status that README.md lists."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DeviceAppError as exc:
            click.echo(str(exc), err=True)
            ctx.exit(exc.exit_status)
        except UnicodeEncodeError as exc:
            # Only what was typed or set can hold bytes that were no text; what servers send is text, or no JSON.
            raise click.UsageError("An argument or a variable DEVICE_… is not valid text.") from exc
        except (KeyboardInterrupt, click.Abort):
            click.echo("Interrupted.", err=True)
            ctx.exit(_INTERRUPTED)


@click.group(cls=_DeviceGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="device-api", prog_name="device")
def cli() -> None:
    """A device that reads its data from the Device API."""


for _command in (login, status, token, devices, readings, add, logout):
    cli.add_command(_command)


def main() -> None:
    """Run the command line that the process was started with."""
    if sys.stdout is None or sys.stderr is None:
        sys.exit("Standard output or standard error is closed.")
    for stream in (sys.stdout, sys.stderr):
        # A name that this terminal's encoding cannot show must not end the program.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # both are text files here
    try:
        cli()
    except OSError as exc:
        # Standard output itself, say on a full disk: every other file is dealt with where it is used. What is left in
        # its buffer must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        click.echo(f"Cannot write the output: {exc.strerror}.", err=True)
        sys.exit(DeviceAppError.exit_status)
