"""Time as this program uses it; tests pass their own, so that nothing in them waits."""

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Clock"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The three uses of time, all in seconds.

    `now` is the time of day, for what outlives the process (a token's expiry). `monotonic` only measures, so a
    corrected clock cannot expire a code. `sleep` waits.
    """

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
