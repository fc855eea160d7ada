"""Processes that count together. The forks happen in a process of its own: pytest has threads."""

import itertools
import json
import subprocess
import sys
import textwrap

import pytest

from api.operations.metrics.kinds import Counter, Gauge
from api.operations.metrics.memory import Key, Memory
from api.operations.metrics.region import Region
from tests.kit.processes import ROOT

# Without api/__init__.py, which imports the whole application: it takes most of the time of such a process.
# `start` runs a function in a forked process, which then waits until its parent ends.
PROGRAM = """
import json, os, signal, sys, structlog, types
sys.modules["api"] = types.ModuleType("api")
sys.modules["api"].__path__ = ["api"]
from api.operations.metrics.kinds import MEMORY, Counter, Gauge, Histogram

requests, busy = Counter("requests", "", ("status",)), Gauge("busy", "", across="sum")
seconds = Histogram("seconds", "")

def start(count):
    ready, tell = os.pipe()
    wait, parent_lives = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(parent_lives)
            count()
            os.write(tell, b"x")
            os.close(tell)
            os.read(wait, 1)
        finally:
            os._exit(1)
    os.close(tell)
    os.close(wait)
    assert os.read(ready, 1) == b"x"
    os.close(ready)
    return pid

def kill(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

def values(name):
    return sorted((list(key.labels), values[0]) for key, values in MEMORY.read() if key.name == name)

def total(name):
    return sum(value for _, value in values(name))
"""


def run(program: str) -> tuple[list[object], list[str]]:
    """Run PROGRAM and `program`; return the objects it prints as JSON, and the lines on standard error."""
    code = PROGRAM + textwrap.dedent(program)
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines() if line], ended.stderr.splitlines()


def test_processes_count_together_and_each_reads_all_of_it() -> None:
    printed, _ = run("""
        requests.labels(200).inc(100)
        assert MEMORY.share(2)
        requests.labels(200).inc(10)
        def count():
            requests.labels(200).inc()
            requests.labels(404).inc()
            busy.set(3)
        pids = start(count), start(count)
        print(json.dumps([total("requests_total"), total("busy"), len(MEMORY.pids())]), flush=True)
        start(lambda: print(json.dumps([total("requests_total"), total("busy"), len(MEMORY.pids())]), flush=True))
    """)
    assert printed == [[114, 6, 3], [114, 6, 4]]


def test_counts_outlive_their_process_and_gauges_do_not() -> None:
    printed, _ = run("""
        MEMORY.share(2)
        def count():
            requests.labels(200).inc()
            seconds.observe(0.25)
            busy.inc()
        first, second = start(count), start(count)
        kill(first)
        # The gauge of a dead process does not count before its region is merged either.
        print(json.dumps([total("requests_total"), total("busy")]))
        MEMORY.process_ended(first)
        print(json.dumps([total("requests_total"), total("busy")]))
        kill(second)
        MEMORY.process_ended(second)
        print(json.dumps([values("requests_total"), values("busy"), len(MEMORY.pids())]))
        print(json.dumps([sum(values) for key, values in MEMORY.read() if key.name == "seconds"]))
    """)
    assert printed == [[2, 1], [2, 1], [[[["200"], 2]], [], 1], [2.5]]


@pytest.mark.parametrize("told", [True, False])
def test_regions_of_dead_processes_are_used_again(*, told: bool) -> None:
    printed, errors = run(f"""
        MEMORY.share(1)
        for number in range(50):
            pid = start(lambda: requests.labels(200).inc())
            kill(pid)
            if {told}:
                MEMORY.process_ended(pid)
        print(json.dumps([total("requests_total"), len(MEMORY.read()) <= 2]))
    """)
    assert printed == [[50, True]]
    assert not errors


def test_without_a_free_region_a_process_counts_for_itself_and_logs_it_once() -> None:
    printed, _ = run("""
        MEMORY.share(1)  # a region for each of 10 processes
        structlog.configure(processors=[lambda _, level, event: print(json.dumps(event), flush=True) or ""])
        def count():
            requests.labels(200).inc()
            requests.labels(404).inc()
        for _ in range(10):
            start(count)
        print(json.dumps([total("requests_total")]), flush=True)
        def count_alone():
            count()
            print(json.dumps([total("requests_total")]), flush=True)
        start(count_alone)
        print(json.dumps([total("requests_total")]))
    """)
    assert printed == [[20], {"cause": "no_free_region", "event": "metrics_incomplete"}, [2], [20]]


def test_a_process_that_a_worker_forks_leaves_the_workers_counts_alone() -> None:
    printed, _ = run("""
        MEMORY.share(1)
        def count():
            requests.labels(200).inc()
            start(lambda: requests.labels(200).inc(1000))
        structlog.configure(processors=[lambda _, level, event: ""])
        start(count)
        print(json.dumps([total("requests_total")]))
    """)
    assert printed == [[1]]


def test_without_shared_memory_a_forked_process_counts_for_itself() -> None:
    printed, _ = run("""
        requests.labels(200).inc()
        start(lambda: requests.labels(200).inc(1000))
        print(json.dumps([total("requests_total"), len(MEMORY.pids())]))
    """)
    assert printed == [[1, 1]]


def test_no_reader_sees_a_count_fall_while_processes_end() -> None:
    # The reader ends with status 1 at the first lower count, and is killed at the end.
    printed, _ = run("""
        MEMORY.share(4)
        reader = os.fork()
        if reader == 0:
            last = 0
            while (now := total("requests_total")) >= last:
                last = now
            os._exit(1)
        for _ in range(300):
            pid = start(lambda: [requests.labels(number).inc() for number in range(20)])
            kill(pid)
            MEMORY.process_ended(pid)
        os.kill(reader, signal.SIGKILL)
        print(json.dumps([total("requests_total"), os.waitstatus_to_exitcode(os.waitpid(reader, 0)[1])]))
    """)
    assert printed == [[6000, -9]]


def test_a_region_that_is_reserved_while_it_is_read_is_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory()
    Counter("requests", "", memory=memory).inc()
    # A pid at the first look, then what the first process writes before it forks.
    pids = itertools.chain([1, 1], itertools.repeat(2**64 - 1))
    monkeypatch.setattr(Region, "pid", property(lambda _region: next(pids), lambda _region, _pid: None))
    assert [values for _, values in memory.read()] == [[1]]
    assert memory.pids() == []


def test_too_much_memory_is_refused_and_counting_goes_on() -> None:
    memory = Memory()
    counter = Counter("requests", "", memory=memory)
    counter.inc()
    # More than an address space.
    assert not memory.share(10**9)
    assert not memory.share(10**18)
    counter.inc()
    assert memory.read() == [(Key("counter", "requests_total", ()), [2])]


def test_private_memory_grows() -> None:
    memory = Memory()
    counter, gauge = Counter("requests", "", ("number",), memory=memory), Gauge("g", "", across="sum", memory=memory)
    gauge.set(1)
    for number in range(20_000):
        counter.labels(number).inc()
    gauge.inc()
    read = dict(memory.read())
    assert len(read) == 20_001
    assert read[Key("gauge", "g", ())] == [2]


def test_a_full_shared_region_drops_new_series_and_keeps_the_others() -> None:
    memory = Memory()
    assert memory.share(1)
    counter = Counter("requests", "", ("number",), memory=memory)
    for _ in range(2):
        for number in range(10_000):
            counter.labels(number).inc()
    counts = [values for _, values in memory.read()]
    assert 1000 < len(counts) < 10_000
    assert all(values == [2] for values in counts)


@pytest.mark.parametrize("labels", [(), ("a", ""), ('"', "\x00", "é", "\ud800")])
def test_a_key_is_read_as_it_was_written(labels: tuple[str, ...]) -> None:
    key = Key("counter", "c", labels)
    assert Key.decode(key.encode()) == key
