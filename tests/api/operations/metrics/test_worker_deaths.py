"""Which ends of a worker are counted, with real processes in place of workers."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from api.operations.metrics import worker_deaths
from api.operations.metrics.kinds import MEMORY


def deaths() -> dict[str, float]:
    read = [(key.labels[0], values[0]) for key, values in MEMORY.read() if key.name == "api_worker_deaths_total"]
    return {label: sum(value for name, value in read if name == label) for label, _ in read}


class Arbiter:
    """What is used of gunicorn's arbiter; it reaps one worker."""

    def __init__(self, process: subprocess.Popen[bytes], *, aborted: bool) -> None:
        self.process = process
        self.worker = SimpleNamespace(pid=process.pid, aborted=aborted)
        self.WORKERS = {process.pid: self.worker}

    def reap_workers(self) -> None:
        pid, _ = os.waitpid(self.process.pid, os.WNOHANG)
        if pid:
            self.WORKERS.clear()
            worker_deaths.worker_ended(self.worker)


def counted(process: subprocess.Popen[bytes], end: Callable[[], None], *, aborted: bool = False) -> dict[str, float]:
    return counted_by(Arbiter(process, aborted=aborted), end)


def counted_by(arbiter: Arbiter, end: Callable[[], None]) -> dict[str, float]:
    worker_deaths.watch(arbiter)
    before = deaths()
    end()
    # gunicorn too reaps when it is told that a child has ended.
    os.waitid(os.P_PID, arbiter.process.pid, os.WEXITED | os.WNOWAIT)
    arbiter.reap_workers()
    assert not arbiter.WORKERS
    after = deaths()
    return {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}


def start(code: str = "input()") -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_a_signal_is_counted_by_its_name(number: signal.Signals) -> None:
    with start() as process:
        assert counted(process, lambda: process.send_signal(number)) == {number.name: 1}


def test_a_signal_without_a_name_is_counted_by_its_number() -> None:
    with start() as process:
        assert counted(process, lambda: process.send_signal(signal.SIGRTMIN + 1)) == {f"SIG{signal.SIGRTMIN + 1}": 1}


def test_a_worker_that_was_asked_to_end_is_not_counted() -> None:
    with start() as process:
        assert counted(process, process.terminate) == {}
    with start("raise SystemExit(0)") as process:
        assert counted(process, lambda: None) == {}


def test_another_exit_is_counted_without_a_signal() -> None:
    with start("raise SystemExit(1)") as process:
        assert counted(process, lambda: None) == {"none": 1}


def test_a_worker_that_ends_while_another_one_is_reaped_is_counted() -> None:
    with start() as first, start() as second:
        arbiter = Arbiter(first, aborted=False)
        reap_first = arbiter.reap_workers

        def reap_both() -> None:
            reap_first()
            second.kill()
            pid, _ = os.waitpid(second.pid, 0)
            worker_deaths.worker_ended(SimpleNamespace(pid=pid, aborted=False))

        setattr(arbiter, "reap_workers", reap_both)  # noqa: B010  # mypy: a method
        assert counted_by(arbiter, first.kill) == {"SIGKILL": 2}


def test_a_worker_that_gunicorn_aborted_after_a_timeout_counts_as_aborted() -> None:
    with start("raise SystemExit(1)") as process:
        assert counted(process, lambda: None, aborted=True) == {"SIGABRT": 1}
