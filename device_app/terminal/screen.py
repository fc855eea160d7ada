"""What the person at the device sees during a login: a screen on a terminal, plain lines on a pipe."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn, Protocol

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from device_app.login.device_flow import DeviceCode, PollOutcome, PollStatus
from device_app.model.times import Clock, in_words
from device_app.terminal.browser import has_browser, open_browser
from device_app.terminal.console import draws_unicode, make_console, shows_screen
from device_app.terminal.keyboard import Keyboard
from device_app.terminal.pictures import large_type, qr_text

__all__ = ["PlainLines", "Screen", "TerminalScreen", "login_screen"]

# Between the QR code and the text beside it, and the least that the text needs.
_GAP_COLUMNS = 3
_LEAST_TEXT_COLUMNS = 32
# Below the code: an empty line and the countdown.
_COUNTDOWN_LINES = 3
_SECONDS_PER_MINUTE = 60
# Exit status of a process that a signal ended, as shells count.
_SIGNAL_EXIT_BASE = 128


class Screen(Protocol):
    """What a login shows."""

    def waiting(self, code: DeviceCode) -> contextlib.AbstractContextManager[None]:
        """Show `code`; the block then polls."""

    def report(self, status: PollStatus) -> None:
        """Show where the polling stands."""

    def sleep(self, seconds: float) -> None:
        """Wait until the next poll."""

    def wants_new_code(self) -> bool:
        """After a code has expired: tell whether the person wants another."""


def login_screen(clock: Clock, *, offer_browser: bool, to_stderr: bool) -> Screen:
    """Return the screen that fits standard output, or standard error where output is for a program."""
    if shows_screen(sys.stderr if to_stderr else sys.stdout):
        console = make_console(to_stderr=to_stderr)
        return TerminalScreen(console, clock, offer_browser=offer_browser and has_browser())
    return PlainLines(clock, to_stderr=to_stderr)


class PlainLines:
    """A line for each change, for a pipe, a log or a terminal that cannot move its cursor."""

    def __init__(self, clock: Clock, *, to_stderr: bool) -> None:
        self._clock = clock
        self._to_stderr = to_stderr
        self._said = ""

    @contextlib.contextmanager
    def waiting(self, code: DeviceCode) -> Iterator[None]:
        """Print the code and the addresses."""
        self._print(f"Open {code.verification_uri} in a browser and enter the code {code.user_code}")
        if code.verification_uri_complete:
            self._print(f"or open {code.verification_uri_complete}")
        lifetime = in_words(code.expires_at - self._clock.monotonic())
        self._print(f"Waiting for approval; the code is good for {lifetime}.")
        yield

    def report(self, status: PollStatus) -> None:
        """Print what has changed; that nothing has is no news."""
        news = ""
        if status.outcome is PollOutcome.SLOWED:
            news = f"The issuer asks for patience: polling every {in_words(status.wait_seconds)}."
        elif status.outcome is PollOutcome.UNAVAILABLE:
            news = f"The issuer {status.trouble}; trying again in {in_words(status.wait_seconds)}."
        elif self._said:
            news = "The issuer answers again."
        if news and news != self._said:
            self._print(news)
        self._said = news if status.outcome is PollOutcome.UNAVAILABLE else ""

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self._clock.sleep(seconds)

    def wants_new_code(self) -> bool:
        """Nobody is there to answer."""
        return False

    def _print(self, line: str) -> None:
        click.echo(line, err=self._to_stderr)


class TerminalScreen:
    """The code in large type beside its QR code, and a countdown that says what each poll brought."""

    def __init__(self, console: Console, clock: Clock, *, offer_browser: bool) -> None:
        self._console = console
        self._clock = clock
        self._unicode = draws_unicode(console)
        self._offer_browser = offer_browser
        self._keyboard: Keyboard | None = None
        self._held = contextlib.ExitStack()
        self._code: DeviceCode | None = None
        self._status: PollStatus | None = None

    @contextlib.contextmanager
    def waiting(self, code: DeviceCode) -> Iterator[None]:
        """Print the code once, where it scrolls away undisturbed, and keep the countdown below it."""
        self._code, self._status = code, None
        self._print_code(code)
        if self._offer_browser and sys.stdin is not None:
            self._keyboard = Keyboard(sys.stdin.fileno(), self._clock)
        # A terminal without echo or cursor must not be left behind when the process is asked to end or to pause.
        with _ending_cleanly():
            try:
                self._take_terminal()
                with _pausing_cleanly(self._held.close, self._take_terminal):
                    yield
            finally:
                self._held.close()

    def report(self, status: PollStatus) -> None:
        """Show `status` from the next redraw on."""
        self._status = status

    def sleep(self, seconds: float) -> None:
        """Wait, and open the browser when Enter is pressed meanwhile."""
        if self._keyboard is None or self._code is None:
            self._clock.sleep(seconds)
            return
        deadline = self._clock.monotonic() + seconds
        while (remaining := deadline - self._clock.monotonic()) > 0:
            if self._keyboard.wait(remaining):
                open_browser(self._code.verification_uri_complete or self._code.verification_uri)

    def wants_new_code(self) -> bool:
        """Ask, where there is somebody to answer."""
        if sys.stdin is None or not sys.stdin.isatty():
            return False
        return click.confirm("The code has expired. Get a new one?", default=True, err=self._console.stderr)

    def __rich__(self) -> Text:
        """Return the countdown as it stands; Live asks for it four times a second."""
        if self._code is None or self._status is None:
            return Text()
        now = self._clock.monotonic()
        left = max(0, round(self._code.expires_at - now))
        minutes, seconds = divmod(left, _SECONDS_PER_MINUTE)
        text = Text.assemble(
            (f"{minutes}:{seconds:02}", "bold"), f" left {self._dot} ", *self._poll_words(self._status, now)
        )
        if self._keyboard is not None and self._keyboard.watched:
            text.append("\nPress Enter to open the page in this machine's browser.", style="dim")
        return text

    def _take_terminal(self) -> None:
        """Start the countdown, and notice keys; in the background of a shell, leave the terminal to the others."""
        if not _in_foreground(self._console):
            return
        if self._keyboard is not None:
            self._held.enter_context(self._keyboard)
        self._held.enter_context(Live(self, console=self._console, transient=True))

    @property
    def _dot(self) -> str:
        return "·" if self._unicode else "|"

    def _poll_words(self, status: PollStatus, now: float) -> tuple[str | tuple[str, str], ...]:
        next_poll = f"next check in {max(0, round(status.next_at - now))} s"
        match status.outcome:
            case PollOutcome.NOT_ASKED:
                return (f"waiting for approval {self._dot} ", next_poll)
            case PollOutcome.PENDING:
                return (f"not approved yet (checked {_times(status.asked)}) {self._dot} ", next_poll)
            case PollOutcome.SLOWED:
                return (("the issuer asks for patience", "yellow"), f" {self._dot} ", next_poll)
            case PollOutcome.UNAVAILABLE:
                return ((f"the issuer {status.trouble}", "yellow"), f" {self._dot} ", next_poll)

    def _print_code(self, code: DeviceCode) -> None:
        console = self._console
        qr = None
        if code.verification_uri_complete and self._unicode:
            qr = qr_text(code.verification_uri_complete, coloured=_shows_colours(console))
        if qr is None:
            console.print(_instructions(code, console.width, scannable=False, unicode=self._unicode))
            console.print()
            return
        lines = qr.plain.split("\n")
        text_columns = console.width - len(lines[0]) - _GAP_COLUMNS
        if len(lines) + _COUNTDOWN_LINES > console.height or len(lines[0]) > console.width:
            console.print(_instructions(code, console.width, scannable=False))
            console.print(Text("A larger window also shows a QR code to scan.", style="dim"))
        elif text_columns >= _LEAST_TEXT_COLUMNS:
            beside = Table.grid(padding=(0, _GAP_COLUMNS, 0, 0))
            beside.add_column(no_wrap=True)
            beside.add_column(overflow="fold", vertical="middle", max_width=text_columns)
            beside.add_row(qr, _instructions(code, text_columns, scannable=True))
            console.print(beside)
        else:
            console.print(qr)
            console.print(_instructions(code, console.width, scannable=True))
        console.print()


def _instructions(code: DeviceCode, columns: int, *, scannable: bool, unicode: bool = True) -> Group:
    large = large_type(code.user_code, columns) if unicode else None
    parts = [
        Text("Scan the QR code, or open" if scannable else "On your phone or computer, open"),
        Text(code.verification_uri, style="bold", overflow="fold"),
        Text("and enter this code:"),
        Text(),
    ]
    if large:
        parts += [Text("\n".join(large), style="bold", no_wrap=True), Text()]
    # Also as text: for copying, for a screen reader, and where a drawn letter leaves a doubt.
    parts.append(Text(code.user_code, style="bold"))
    if scannable:
        parts += [Text(), Text("The page must show this same code.", style="dim")]
    return Group(*parts)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _shows_colours(console: Console) -> bool:
    return console.color_system is not None and not console.no_color


@contextlib.contextmanager
def _ending_cleanly() -> Iterator[None]:
    """Let SIGTERM unwind the stack, as Ctrl-C does."""

    def end(signal_number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(_SIGNAL_EXIT_BASE + signal_number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _pausing_cleanly(let_go: Callable[[], None], take_again: Callable[[], None]) -> Iterator[None]:
    """Let go of the terminal before Ctrl-Z stops the process, and take it again when the process goes on."""

    def pause(signal_number: int, _frame: FrameType | None) -> None:
        let_go()
        signal.signal(signal_number, signal.SIG_DFL)
        os.kill(os.getpid(), signal_number)
        signal.signal(signal_number, pause)
        take_again()

    before = signal.getsignal(signal.SIGTSTP)
    # Ignored where the shell has no jobs; it stays so.
    if before is signal.SIG_DFL:
        signal.signal(signal.SIGTSTP, pause)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)


def _in_foreground(console: Console) -> bool:
    try:
        return os.tcgetpgrp(console.file.fileno()) == os.getpgrp()
    except OSError:  # a terminal that is not this session's, which has no jobs then
        return True
