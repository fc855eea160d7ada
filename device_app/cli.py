"""The command group, and how errors become messages and exit statuses."""

import os
import sys
from typing import Any

import click

from device_app import __version__
from device_app.commands.devices import add, devices, readings
from device_app.commands.login import login, logout, status, token
from device_app.model.errors import DeviceAppError

__all__ = ["cli", "main"]

# Shells report a process ended by a signal as 128 plus the signal's number; SIGINT is 2.
_INTERRUPTED = 130


class _DeviceGroup(click.Group):
    """Prints each error as a message on standard error and exits with the status that README.md lists."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DeviceAppError as exc:
            click.echo(str(exc), err=True)
            ctx.exit(exc.exit_status)
        except UnicodeEncodeError as exc:
            # Only arguments and variables can hold undecodable bytes; servers' responses are decoded strictly.
            raise click.UsageError("An argument or a DEVICE_… variable is not valid text.") from exc
        except (KeyboardInterrupt, click.Abort):
            click.echo("Interrupted.", err=True)
            ctx.exit(_INTERRUPTED)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with whole sentences; click's own list cuts them to one line each."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, _first_sentence(command)) for name, command in commands if command])


def _first_sentence(command: click.Command) -> str:
    return (command.help or "").split("\n\n", maxsplit=1)[0].replace("\n", " ")


_EXAMPLES = """\b
Examples:
  device login
  device devices
  device readings Thermostat --since 24h
  device readings Thermostat --since 7d | tail

\b
Completion of commands and options, in bash (zsh and fish likewise):
  eval "$(_DEVICE_COMPLETE=bash_source device)"
"""


@click.group(
    cls=_DeviceGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EXAMPLES,
)
@click.version_option(__version__, prog_name="device")
def cli() -> None:
    """Log in with the OAuth 2.0 device flow (RFC 8628) and call the Device API."""


for _command in (login, status, token, devices, readings, add, logout):
    cli.add_command(_command)


def main() -> None:
    """Run the command line with the arguments of this process."""
    if sys.stdout is None or sys.stderr is None:
        sys.exit("Standard output or standard error is closed.")
    for stream in (sys.stdout, sys.stderr):
        # Characters that the terminal's encoding lacks are replaced instead of raising UnicodeEncodeError.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # both are text files here
    try:
        cli()
    except OSError as exc:
        # Standard output failed, for example on a full disk; errors of other files are handled elsewhere. The rest of
        # its buffer is sent to /dev/null, since flushing it at exit would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        click.echo(f"Cannot write the output: {exc.strerror}.", err=True)
        sys.exit(DeviceAppError.exit_status)
