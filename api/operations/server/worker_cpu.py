"""Which CPU each of gunicorn's workers runs on.

The interpreter lock lets one thread of a worker run at a time. If the kernel puts the threads on several CPUs, they
hand the lock over from one CPU to another, and a request can take more CPU time (docs/speed.md).
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from api.settings import usable_cpus

_ATTRIBUTE = "device_api_cpu"


def choose_cpu(worker: Any, others: Iterable[Any], worker_count: int) -> None:
    """Choose the CPU of a worker before it is forked, if there are as many workers as CPUs that this process may use.

    With another number, some CPU would have fewer workers than another one: the kernel then distributes them.
    """
    cpus = usable_cpus()
    if len(cpus) == 1 or worker_count != len(cpus):
        return
    # A reload starts the new workers first. Those that it ends afterwards, the oldest, do not count.
    staying = sorted(others, key=lambda other: other.age, reverse=True)[: worker_count - 1]
    in_use = {getattr(other, _ATTRIBUTE, None) for other in staying}
    setattr(worker, _ATTRIBUTE, next(cpu for cpu in cpus if cpu not in in_use))


def stay_on_chosen_cpu(worker: Any) -> None:
    """Have this process, `worker`, run on its CPU only. Call it before it starts threads."""
    cpu = getattr(worker, _ATTRIBUTE, None)
    if cpu is not None:
        # Without the right to, or on macOS, the worker runs where the kernel puts it.
        with suppress(AttributeError, OSError):
            os.sched_setaffinity(0, {cpu})
