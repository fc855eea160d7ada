"""The Enter key, noticed while the program waits for something else."""

import contextlib
import os
import select
import termios
from types import TracebackType
from typing import Any, Self

from device_app.model.times import Clock

__all__ = ["Keyboard"]

_LOCAL_FLAGS = 3  # the position in what tcgetattr returns
_KEYS_BYTES = 1024


class Keyboard:
    """Standard input without echo, for the time of a `with` block; the terminal is then as it was.

    Ctrl-C still interrupts. Where input is no terminal, or belongs to another job of the shell, nothing is read.
    """

    def __init__(self, descriptor: int, clock: Clock) -> None:
        self._descriptor = descriptor
        self._clock = clock
        self._before: list[Any] | None = None

    @property
    def watched(self) -> bool:
        """Tell whether the Enter key would be noticed."""
        return self._before is not None

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError, termios.error):
            # A job in the background would be stopped by the system for touching the terminal.
            if os.tcgetpgrp(self._descriptor) == os.getpgrp():
                attributes = termios.tcgetattr(self._descriptor)
                changed = [*attributes]
                changed[_LOCAL_FLAGS] &= ~(termios.ECHO | termios.ICANON)
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, changed)
                self._before = attributes
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._before is not None:
            with contextlib.suppress(OSError, termios.error):  # the terminal may be gone
                # Flushed: keys that were pressed here are not meant for the shell.
                termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, self._before)
            self._before = None

    def wait(self, seconds: float) -> bool:
        """Wait for `seconds`, or less when Enter is pressed; tell whether it was."""
        deadline = self._clock.monotonic() + seconds
        while (remaining := deadline - self._clock.monotonic()) > 0:
            if not self.watched:
                self._clock.sleep(remaining)
                return False
            readable, _, _ = select.select([self._descriptor], [], [], remaining)
            if readable:
                keys = self._read()
                if b"\n" in keys or b"\r" in keys:
                    return True
        return False

    def _read(self) -> bytes:
        try:
            keys = os.read(self._descriptor, _KEYS_BYTES)
        except OSError:
            keys = b""
        if not keys:
            # The terminal is gone; selecting on it again would spin.
            self._before = None
        return keys
