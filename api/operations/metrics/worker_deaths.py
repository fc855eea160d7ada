"""Counts workers of gunicorn that ended although nobody had asked them to, by signal."""

import os
import signal
from typing import Any

from .catalogue import WORKER_DEATHS
from .kinds import MEMORY

# The wait statuses of the processes that gunicorn has reaped, until its hook is called.
_statuses: dict[int, int] = {}


def watch(arbiter: Any) -> None:
    """Remember how the workers end that `arbiter`, gunicorn's, reaps: it does not pass their status on to any hook.

    To look at a worker before gunicorn reaps it is not enough: another one may end in between.
    """
    reap_workers = arbiter.reap_workers
    waitpid = os.waitpid

    def remembering_waitpid(pid: int, options: int) -> tuple[int, int]:
        reaped, status = waitpid(pid, options)
        _statuses[reaped] = status
        return reaped, status

    def reap_and_remember() -> None:
        # gunicorn's first process has one thread.
        os.waitpid = remembering_waitpid
        try:
            reap_workers()
        finally:
            os.waitpid = waitpid
            _statuses.clear()

    arbiter.reap_workers = reap_and_remember


def worker_ended(worker: Any) -> None:
    """Keep the counts of a worker that gunicorn has reaped, and count its death if nobody had asked for it."""
    MEMORY.process_ended(worker.pid)
    name = _cause(_statuses.get(worker.pid, 0), timed_out=worker.aborted)
    if name is not None:
        WORKER_DEATHS.labels(name).inc()


def _cause(status: int, *, timed_out: bool) -> str | None:
    """Return the signal's name, `none` if there was no signal, and None if the worker was asked to end.

    A worker that gunicorn asked to end, by SIGTERM at a reload for instance, exits with status 0.
    """
    if status == 0:
        return None
    if os.WIFEXITED(status):
        # gunicorn's workers handle the SIGABRT after a timeout by an exit.
        return "SIGABRT" if timed_out else "none"
    number = os.WTERMSIG(status)
    if number == signal.SIGTERM:  # before the worker had its handler
        return None
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"SIG{number}"
