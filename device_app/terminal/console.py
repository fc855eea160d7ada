"""What the output streams of this process can display."""

import os
import sys
from typing import TextIO

from rich.console import Console

__all__ = ["make_console", "supports_cursor", "supports_unicode"]

# Wide enough that nothing is wrapped or cropped in a pipe or a file.
_PIPE_COLUMNS = 10_000


def supports_cursor(stream: TextIO) -> bool:
    """Return whether `stream` is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "") not in {"", "dumb", "unknown"}


def make_console(*, to_stderr: bool = False) -> Console:
    """Return a console that prints text unchanged: without markup, emoji codes or highlighting."""
    is_terminal = supports_cursor(sys.stderr if to_stderr else sys.stdout)
    return Console(
        stderr=to_stderr,
        markup=False,
        emoji=False,
        highlight=False,
        force_terminal=is_terminal,
        width=None if is_terminal else _PIPE_COLUMNS,
    )


def supports_unicode(console: Console) -> bool:
    """Return whether `console` is a terminal that displays Unicode's block and Braille characters."""
    return console.is_terminal and console.encoding.startswith("utf")
