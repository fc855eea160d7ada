"""Counts workers of gunicorn that ended although nobody had asked them to, by signal."""

import os
import signal
from collections.abc import Iterable
from typing import Any

from .catalogue import WORKER_DEATHS
from .kinds import MEMORY

# How the workers ended that gunicorn has not reaped yet: os.CLD_EXITED with a status, or another code with a signal.
_ended: dict[int, tuple[int, int]] = {}


def watch(arbiter: Any) -> None:
    """Look how workers ended before `arbiter`, gunicorn's, reaps them: it does not pass their status on to any hook."""
    reap_workers = arbiter.reap_workers

    def look_and_reap() -> None:
        _look(arbiter.WORKERS)
        reap_workers()

    arbiter.reap_workers = look_and_reap


def worker_ended(arbiter: Any, worker: Any) -> None:
    """Keep the counts of a worker that gunicorn has reaped, and count its death if nobody had asked for it."""
    code, status = _ended.pop(worker.pid, (None, 0))
    # For the next worker that gunicorn reaps: it may have ended since the last look.
    _look(arbiter.WORKERS)
    MEMORY.process_ended(worker.pid)
    name = _cause(code, status, timed_out=worker.aborted)
    if name is not None:
        WORKER_DEATHS.labels(name).inc()


def _look(pids: Iterable[int]) -> None:
    if not hasattr(os, "waitid"):  # macOS with Python 3.12 or older
        return
    for pid in tuple(pids):
        try:
            # WNOWAIT leaves the worker to gunicorn.
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except OSError:
            continue
        if ended is not None:
            _ended[pid] = ended.si_code, ended.si_status


def _cause(code: int | None, status: int, *, timed_out: bool) -> str | None:
    """Return the signal's name, `none` if there was no signal, and None if the worker was asked to end.

    A worker that gunicorn asked to end, by SIGTERM at a reload for instance, exits with status 0.
    """
    if code is None or (code == os.CLD_EXITED and status == 0):
        return None
    if code == os.CLD_EXITED:
        # gunicorn's workers handle the SIGABRT after a timeout by an exit.
        return "SIGABRT" if timed_out else "none"
    if status == signal.SIGTERM:  # before the worker had its handler
        return None
    try:
        return signal.Signals(status).name
    except ValueError:  # a real-time signal
        return f"SIG{status}"
