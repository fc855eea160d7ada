"""What the output streams of this process can show."""

import os
import sys
from typing import TextIO

from rich.console import Console

__all__ = ["draws_unicode", "is_terminal", "make_console", "shows_screen"]

# On a pipe nothing is wrapped or cut: what reads it has no margins.
_PIPE_COLUMNS = 10_000


def is_terminal(stream: TextIO) -> bool:
    """Tell whether a person may be looking at `stream`."""
    return stream.isatty()


def shows_screen(stream: TextIO) -> bool:
    """Tell whether `stream` is a terminal that can move its cursor."""
    return is_terminal(stream) and os.environ.get("TERM", "") not in {"", "dumb", "unknown"}


def make_console(*, to_stderr: bool = False) -> Console:
    """Return a console that reads no markup and invents no colours in what it prints."""
    is_screen = shows_screen(sys.stderr if to_stderr else sys.stdout)
    return Console(
        stderr=to_stderr,
        markup=False,
        emoji=False,
        highlight=False,
        force_terminal=is_screen,
        width=None if is_screen else _PIPE_COLUMNS,
    )


def draws_unicode(console: Console) -> bool:
    """Tell whether pictures made of Unicode's block and Braille characters reach the terminal as such."""
    return console.is_terminal and console.encoding.startswith("utf")
