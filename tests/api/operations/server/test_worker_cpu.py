"""Each worker of gunicorn stays on a CPU of its own if there are as many workers as CPUs."""

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

from api.operations.server import worker_cpu
from api.operations.server.worker_cpu import choose_cpu, stay_on_chosen_cpu
from tests.kit.processes import BIN, free_port, running

PATIENCE_SECONDS = 30


class Affinity:
    """The CPUs that this process may use, as `os` would tell and set them."""

    def __init__(self, *cpus: int) -> None:
        self.cpus = set(cpus)

    def get(self, process: int) -> set[int]:
        assert process == 0
        return self.cpus

    def set(self, process: int, cpus: set[int]) -> None:
        assert process == 0
        assert {type(cpu) for cpu in cpus} == {int}
        if not cpus <= self.cpus:
            raise OSError
        self.cpus = cpus


@pytest.fixture
def affinity(monkeypatch: pytest.MonkeyPatch) -> Affinity:
    """Return an affinity of three CPUs, which stands in for that of the system."""
    affinity = Affinity(1, 4, 6)
    monkeypatch.setattr(os, "sched_getaffinity", affinity.get, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", affinity.set, raising=False)
    return affinity


_ages = itertools.count(1)


def started(worker_count: int, *others: SimpleNamespace, further: int) -> list[SimpleNamespace]:
    """Return `others` and so many further workers, of `worker_count` in all."""
    workers = list(others)
    for _ in range(further):
        worker = SimpleNamespace(age=next(_ages))
        choose_cpu(worker, reversed(workers), worker_count)
        workers.append(worker)
    return workers


def cpus_of(workers: list[SimpleNamespace]) -> list[int | None]:
    return [getattr(worker, worker_cpu._ATTRIBUTE, None) for worker in workers]


@pytest.mark.parametrize(("worker_count", "cpus"), [(3, [1, 4, 6]), (1, [None]), (2, [None] * 2), (6, [None] * 6)])
def test_workers_get_a_cpu_each_if_there_are_as_many(
    affinity: Affinity, worker_count: int, cpus: list[int | None]
) -> None:
    assert cpus_of(started(worker_count, further=worker_count)) == cpus
    assert affinity.cpus == {1, 4, 6}


@pytest.mark.usefixtures("affinity")
def test_a_new_worker_gets_the_cpu_of_the_one_that_ended() -> None:
    for ended in range(3):
        workers = started(3, further=3)
        cpu = cpus_of(workers)[ended]
        del workers[ended]
        assert cpus_of(started(3, *workers, further=1))[-1] == cpu


@pytest.mark.usefixtures("affinity")
def test_a_reload_does_not_count_the_workers_that_it_will_end() -> None:
    before = started(3, further=3)
    assert cpus_of(started(3, *before, further=3))[3:] == [1, 4, 6]
    for left in ([0], [1], [2], [0, 1], [0, 2], [1, 2]):  # after SIGTTOU or a crash
        after = started(3, *[before[number] for number in left], further=3)[len(left) :]
        assert sorted(map(str, cpus_of(after))) == ["1", "4", "6"]


def test_with_two_cpus_two_workers_are_enough_and_with_one_nothing_is_set(affinity: Affinity) -> None:
    affinity.cpus = {0, 4}
    assert cpus_of(started(2, further=2)) == [0, 4]
    affinity.cpus = {4}
    assert cpus_of(started(1, further=1)) == [None]


def test_a_process_runs_on_the_cpu_that_was_chosen(affinity: Affinity) -> None:
    stay_on_chosen_cpu(SimpleNamespace())
    assert affinity.cpus == {1, 4, 6}
    first, second, _ = started(3, further=3)
    stay_on_chosen_cpu(second)
    assert affinity.cpus == {4}
    # The system does not allow it.
    stay_on_chosen_cpu(first)
    assert affinity.cpus == {4}


def test_systems_without_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    (worker,) = started(2, further=1)
    stay_on_chosen_cpu(worker)


@contextmanager
def at_most_two_cpus() -> Iterator[list[int]]:
    """Have this thread, and processes that it starts, use two CPUs, or one if there are no more; yield them."""
    before = os.sched_getaffinity(0)
    chosen = sorted(before)[:2]
    os.sched_setaffinity(0, chosen)
    try:
        yield chosen
    finally:
        os.sched_setaffinity(0, before)


def workers_of(process: int) -> list[int]:
    children = Path(f"/proc/{process}/task/{process}/children")
    return list(map(int, children.read_text(encoding="ascii").split()))


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)  # other processes: the test cannot control their clock


@pytest.mark.slow
@pytest.mark.needs("/proc")
def test_gunicorns_workers_have_a_cpu_each_after_crashes_signals_and_reloads_too(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/livez"
    variables = {
        "PORT": str(port),
        "WEB_CONCURRENCY": "0",  # as many as CPUs
        "API_ISSUERS": "https://issuer.example/",
        "API_AUDIENCE": "https://device-api.example",
        "API_DATABASE_URL": f"sqlite:///{tmp_path}/devices.db",
    }
    command = [str(BIN / "gunicorn"), "-c", "gunicorn.conf.py", "api:create_app()"]
    with at_most_two_cpus() as cpus, running(command, url, **variables) as server:
        each = [{cpu} for cpu in cpus]

        def wait_for(expected: list[set[int]], *, without: Iterable[int] = ()) -> list[int]:
            """Wait until the workers, the oldest first, may use these CPUs in any order; return their numbers."""

            def holds() -> bool:
                workers = workers_of(server.pid)
                if set(workers) & set(without):
                    return False
                return sorted(map(sorted, map(os.sched_getaffinity, workers))) == sorted(map(sorted, expected))

            wait_until(holds)
            return workers_of(server.pid)

        first, *others = wait_for(each)
        os.kill(first, signal.SIGKILL)
        before = [first, *others, *wait_for(each, without=[first])]
        server.send_signal(signal.SIGHUP)
        before += wait_for(each, without=before)
        # One more: now the kernel distributes it, and after a reload all.
        server.send_signal(signal.SIGTTIN)
        before += wait_for([*each, set(cpus)])
        # gunicorn ends the oldest. The reload starts as many workers as at first.
        server.send_signal(signal.SIGTTOU)
        wait_until(lambda: len(workers_of(server.pid)) == len(cpus))
        before += workers_of(server.pid)
        server.send_signal(signal.SIGHUP)
        wait_for(each, without=before)
        # All threads, those that answer requests too.
        for _ in range(20):
            requests.get(url, timeout=10).raise_for_status()
        threads = [int(thread.name) for one in workers_of(server.pid) for thread in Path(f"/proc/{one}/task").iterdir()]
        assert len(threads) > len(cpus)
        assert {len(os.sched_getaffinity(thread)) for thread in threads} == {1}
        # The first process starts further workers, and reads the CPUs that they may use.
        assert os.sched_getaffinity(server.pid) == set(cpus)
