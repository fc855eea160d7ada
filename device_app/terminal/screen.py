"""What the user sees during a login: a screen on a terminal, plain lines elsewhere."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn, Protocol

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from device_app.http.transport import is_loopback_url
from device_app.login.device_flow import DeviceCode, PollOutcome, PollStatus
from device_app.model.times import Clock, format_duration
from device_app.terminal.browser import has_browser, open_browser
from device_app.terminal.console import make_console, supports_cursor, supports_unicode
from device_app.terminal.keyboard import Keyboard
from device_app.terminal.large_type import large_type
from device_app.terminal.qr_code import qr_code

__all__ = ["PlainLines", "Screen", "TerminalScreen", "login_screen"]

# Between the QR code and the text beside it, and the minimum width of that text.
_GAP_COLUMNS = 3
_MIN_TEXT_COLUMNS = 32
# Below the code: an empty line, and the two lines of the countdown.
_COUNTDOWN_LINES = 3
_SECONDS_PER_MINUTE = 60
# Shells report a process ended by a signal as 128 plus the signal's number.
_SIGNAL_EXIT_BASE = 128


class Screen(Protocol):
    """The display of a login."""

    def showing(self, code: DeviceCode) -> contextlib.AbstractContextManager[None]:
        """Show `code` for the time of a `with` block, which polls."""

    def report(self, status: PollStatus) -> None:
        """Show the state of the polling."""

    def sleep(self, seconds: float) -> None:
        """Wait until the next poll."""

    def wants_new_code(self) -> bool:
        """Ask whether to request another code, after one has expired."""


def login_screen(clock: Clock, *, offer_browser: bool, to_stderr: bool) -> Screen:
    """Return the screen for standard output, or for standard error if `to_stderr`.

    `offer_browser` lets the user open the page with the Enter key, if this machine has a browser.
    """
    if supports_cursor(sys.stderr if to_stderr else sys.stdout):
        console = make_console(to_stderr=to_stderr)
        return TerminalScreen(console, clock, offer_browser=offer_browser and has_browser())
    return PlainLines(clock, to_stderr=to_stderr)


class PlainLines:
    """Prints a line for each change: for a pipe, a log or a terminal that cannot move its cursor."""

    def __init__(self, clock: Clock, *, to_stderr: bool) -> None:
        self._clock = clock
        self._to_stderr = to_stderr
        self._last_failure = ""

    @contextlib.contextmanager
    def showing(self, code: DeviceCode) -> Iterator[None]:
        """Print the code and the URLs."""
        self._print(f"Open {code.verification_uri} in a browser and enter the code {code.user_code}")
        if code.verification_uri_complete:
            self._print(f"or open {code.verification_uri_complete}")
        lifetime = format_duration(code.expires_at - self._clock.monotonic())
        self._print(f"Waiting for approval; the code expires in {lifetime}.")
        yield

    def report(self, status: PollStatus) -> None:
        """Print a slow_down, a new failure or the end of a failure."""
        message = ""
        if status.outcome is PollOutcome.SLOW_DOWN:
            message = f"The issuer asks to slow down; polling every {format_duration(status.wait_seconds)}."
        elif status.outcome is PollOutcome.UNAVAILABLE:
            message = f"The issuer {status.failure}; trying again in {format_duration(status.wait_seconds)}."
        elif self._last_failure:
            message = "The issuer answers again."
        if message and message != self._last_failure:
            self._print(message)
        self._last_failure = message if status.outcome is PollOutcome.UNAVAILABLE else ""

    def sleep(self, seconds: float) -> None:
        """Wait until the next poll."""
        self._clock.sleep(seconds)

    def wants_new_code(self) -> bool:
        """Return False, since no user may be there to ask."""
        return False

    def _print(self, line: str) -> None:
        click.echo(line, err=self._to_stderr)


class TerminalScreen:
    """Prints the QR code and the user code in large letters, and below them a countdown with the last poll's result."""

    def __init__(self, console: Console, clock: Clock, *, offer_browser: bool) -> None:
        self._console = console
        self._clock = clock
        self._unicode = supports_unicode(console)
        self._offer_browser = offer_browser
        self._keyboard: Keyboard | None = None
        # The countdown and the keyboard while they are active; closing it restores the terminal.
        self._terminal = contextlib.ExitStack()
        self._code: DeviceCode | None = None
        self._status: PollStatus | None = None

    @contextlib.contextmanager
    def showing(self, code: DeviceCode) -> Iterator[None]:
        """Print the code once, so that it scrolls like other output, and update the countdown below it."""
        self._code, self._status = code, None
        self._print_code(code)
        if self._offer_browser and sys.stdin is not None:
            self._keyboard = Keyboard(sys.stdin.fileno(), self._clock)
        # SIGTERM and Ctrl-Z must restore the terminal's echo and cursor first.
        with _exiting_on_sigterm():
            try:
                self._start_countdown()
                with _on_suspend(release=self._terminal.close, resume=self._start_countdown):
                    yield
            finally:
                self._terminal.close()

    def report(self, status: PollStatus) -> None:
        """Show `status` from the next redraw on."""
        self._status = status

    def sleep(self, seconds: float) -> None:
        """Wait until the next poll; open the browser each time Enter is pressed."""
        if self._keyboard is None or self._code is None:
            self._clock.sleep(seconds)
            return
        deadline = self._clock.monotonic() + seconds
        while (remaining := deadline - self._clock.monotonic()) > 0:
            if self._keyboard.wait(remaining):
                open_browser(self._code.verification_uri_complete or self._code.verification_uri)

    def wants_new_code(self) -> bool:
        """Ask whether to request another code, if standard input is a terminal."""
        if sys.stdin is None or not sys.stdin.isatty():
            return False
        return click.confirm("The code has expired. Get a new one?", default=True, err=self._console.stderr)

    def __rich__(self) -> Text:
        """Return the countdown; Live calls this for each redraw, four times a second."""
        if self._code is None or self._status is None:
            return Text()
        now = self._clock.monotonic()
        left = max(0, round(self._code.expires_at - now))
        minutes, seconds = divmod(left, _SECONDS_PER_MINUTE)
        text = Text.assemble(
            (f"{minutes}:{seconds:02}", "bold"), f" left {self._separator} ", *self._poll_text(self._status, now)
        )
        if self._keyboard is not None and self._keyboard.is_active:
            text.append("\nPress Enter to open the page in this machine's browser.", style="dim")
        return text

    def _start_countdown(self) -> None:
        """Start the countdown and the keyboard, unless this process is in the background of its shell."""
        if not _is_in_foreground(self._console):
            return
        if self._keyboard is not None:
            self._terminal.enter_context(self._keyboard)
        self._terminal.enter_context(Live(self, console=self._console, transient=True))

    @property
    def _separator(self) -> str:
        return "·" if self._unicode else "|"

    def _poll_text(self, status: PollStatus, now: float) -> tuple[str | tuple[str, str], ...]:
        next_poll = f"next check in {max(0, round(status.next_poll_at - now))} s"
        match status.outcome:
            case PollOutcome.NOT_POLLED:
                return (f"waiting for approval {self._separator} ", next_poll)
            case PollOutcome.PENDING:
                return (f"not approved yet (checked {_times(status.poll_count)}) {self._separator} ", next_poll)
            case PollOutcome.SLOW_DOWN:
                return (("the issuer asks to slow down", "yellow"), f" {self._separator} ", next_poll)
            case PollOutcome.UNAVAILABLE:
                return ((f"the issuer {status.failure}", "yellow"), f" {self._separator} ", next_poll)

    def _print_code(self, code: DeviceCode) -> None:
        console = self._console
        qr = None
        link = code.verification_uri_complete
        # A phone that scans the address of this machine's loopback would look for the page on itself.
        if link and self._unicode and not is_loopback_url(link):
            qr = qr_code(link, coloured=_supports_colour(console))
        layouts = [] if qr is None else _layouts(qr, code, console.width)
        with_qr = next(filter(self._fits, layouts), None)
        if with_qr is not None:
            console.print(with_qr)
        else:
            console.print(_instructions(code, console.width, scannable=False, unicode=self._unicode))
            if qr is not None:
                console.print(Text("A larger window shows a QR code.", style="dim"))
        console.print()

    def _fits(self, shown: RenderableType) -> bool:
        """Return whether nothing of it scrolls off the screen when the countdown stands below it."""
        lines = self._console.render_lines(shown, pad=False)
        return len(lines) + _COUNTDOWN_LINES <= self._console.height


def _layouts(qr: Text, code: DeviceCode, columns: int) -> Iterator[RenderableType]:
    """Yield the ways to show the QR code whole in a number of columns, the clearest first."""
    qr_columns = len(qr.plain.split("\n", maxsplit=1)[0])
    text_columns = columns - qr_columns - _GAP_COLUMNS
    if text_columns >= _MIN_TEXT_COLUMNS:
        side_by_side = Table.grid(padding=(0, _GAP_COLUMNS, 0, 0))
        side_by_side.add_column(no_wrap=True)
        side_by_side.add_column(overflow="fold", vertical="middle", max_width=text_columns)
        side_by_side.add_row(qr, _instructions(code, text_columns, scannable=True))
        yield side_by_side
    if qr_columns <= columns:
        yield Group(qr, _instructions(code, columns, scannable=True))
        # The code is also behind the QR code, so its letters may be small.
        link = Text(code.verification_uri, style="bold", overflow="fold")
        yield Group(qr, Text("Scan it, or open"), link, Text.assemble("and enter ", (code.user_code, "bold")))


def _instructions(code: DeviceCode, columns: int, *, scannable: bool, unicode: bool = True) -> Group:
    large = large_type(code.user_code, columns) if unicode else None
    if scannable:
        where = "Scan the QR code, or open"
    elif is_loopback_url(code.verification_uri):
        where = "In a browser on this machine, open"
    else:
        where = "On your phone or computer, open"
    parts = [
        Text(where),
        Text(code.verification_uri, style="bold", overflow="fold"),
        Text("and enter this code:"),
        Text(),
    ]
    if large:
        parts += [Text("\n".join(large), style="bold", no_wrap=True), Text()]
    # Also as text, for copying, for screen readers, and to distinguish similar letters.
    parts.append(Text(code.user_code, style="bold"))
    if scannable:
        parts += [Text(), Text("The page must show this same code.", style="dim")]
    return Group(*parts)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _supports_colour(console: Console) -> bool:
    return console.color_system is not None and not console.no_color


@contextlib.contextmanager
def _exiting_on_sigterm() -> Iterator[None]:
    """In a `with` block, turn SIGTERM into SystemExit, so that `finally` clauses run."""

    def handle(signal_number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(_SIGNAL_EXIT_BASE + signal_number)

    previous = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def _on_suspend(*, release: Callable[[], None], resume: Callable[[], None]) -> Iterator[None]:
    """In a `with` block, call `release` before Ctrl-Z stops the process, and `resume` when it continues."""

    def handle(signal_number: int, _frame: FrameType | None) -> None:
        release()
        signal.signal(signal_number, signal.SIG_DFL)
        os.kill(os.getpid(), signal_number)
        signal.signal(signal_number, handle)
        resume()

    previous = signal.getsignal(signal.SIGTSTP)
    # A shell without job control ignores the signal; that must stay so.
    if previous is signal.SIG_DFL:
        signal.signal(signal.SIGTSTP, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, previous)


def _is_in_foreground(console: Console) -> bool:
    try:
        return os.tcgetpgrp(console.file.fileno()) == os.getpgrp()
    except OSError:  # not the controlling terminal of this session, so there is no job control
        return True
