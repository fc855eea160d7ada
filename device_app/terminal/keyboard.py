"""The Enter key, detected while the program waits."""

import contextlib
import os
import select
import termios
from types import TracebackType
from typing import Any, Self

from device_app.model.times import Clock

__all__ = ["Keyboard"]

_LOCAL_FLAGS = 3  # index in the list that tcgetattr returns
_READ_BYTES = 1024


class Keyboard:
    """Detects the Enter key in a `with` block, which turns off echo and line buffering and restores them at its end.

    Ctrl-C still interrupts. If `descriptor` is not a terminal, or this process is not in its foreground, no key is
    detected.
    """

    def __init__(self, descriptor: int, clock: Clock) -> None:
        self._descriptor = descriptor
        self._clock = clock
        self._saved_attributes: list[Any] | None = None

    @property
    def is_active(self) -> bool:
        """Whether the Enter key is detected now."""
        return self._saved_attributes is not None

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError, termios.error):
            # The kernel stops a background process that changes the terminal's attributes.
            if os.tcgetpgrp(self._descriptor) == os.getpgrp():
                attributes = termios.tcgetattr(self._descriptor)
                changed = [*attributes]
                changed[_LOCAL_FLAGS] &= ~(termios.ECHO | termios.ICANON)
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, changed)
                self._saved_attributes = attributes
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._saved_attributes is not None:
            with contextlib.suppress(OSError, termios.error):  # the terminal may have been closed
                # TCSAFLUSH discards keys pressed so far, which would otherwise reach the shell.
                termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, self._saved_attributes)
            self._saved_attributes = None

    def wait(self, seconds: float) -> bool:
        """Wait for `seconds`, or until Enter is pressed. Return whether it was."""
        deadline = self._clock.monotonic() + seconds
        while (remaining := deadline - self._clock.monotonic()) > 0:
            if not self.is_active:
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
            keys = os.read(self._descriptor, _READ_BYTES)
        except OSError:
            keys = b""
        if not keys:
            # The terminal was closed; select() would return at once from now on.
            self._saved_attributes = None
        return keys
