"""A fetch that runs in a thread, and for which requests wait. key_cache.py starts and ends it."""

import threading
import time
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class RunningFetch:
    """A fetch in a thread of the process `process_id`; the thread sets `finished` at its end.

    `overdue_at` is in seconds of the system's monotonic clock, since threads wait until then. A fetch can run longer: a
    resolver has time limits of its own. `waiting` counts the requests that have waited for an unknown key id.
    `succeeded` is whether the cache has its key set.
    """

    process_id: int
    overdue_at: float
    waiting: int
    finished: threading.Event = field(default_factory=threading.Event)
    succeeded: bool = False

    def wait(self, deadline: float) -> None:
        """Wait for the end until `deadline` or `overdue_at`."""
        self.finished.wait(max(min(deadline, self.overdue_at) - time.monotonic(), 0))
