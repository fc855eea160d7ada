import os
from pathlib import Path

import pytest

from api.operations.metrics.process import ProcessCollector

TICKS, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


def write(proc: Path, pid: int, *, cpu: tuple[int, int, int, int], started: int, pages: int, files: int) -> None:
    directory = proc / str(pid)
    (directory / "fd").mkdir(parents=True, exist_ok=True)
    for number in range(files):
        (directory / "fd" / str(number)).touch()
    fields = ["S", *["0"] * 10, *map(str, cpu), *["0"] * 4, str(started), "0", str(pages), "0"]
    (directory / "stat").write_text(f"{pid} (a) name)) {' '.join(fields)}\n")
    limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096   files\n"
    (directory / "limits").write_text(limits)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "stat").write_text("cpu 1 2 3\nbtime 1000000\nprocesses 7\n")
    write(tmp_path, 10, cpu=(1, 2, 300, 400), started=50 * TICKS, pages=10, files=3)
    write(tmp_path, 11, cpu=(10, 20, 0, 0), started=60 * TICKS, pages=5, files=4)
    return tmp_path


def values(collector: ProcessCollector) -> dict[str, float]:
    return {sample.name: sample.value for family in collector.collect() for sample in family.samples}


def test_processes_are_added_up(proc: Path) -> None:
    assert values(ProcessCollector(lambda: [10, 11], proc)) == {
        "process_cpu_seconds_total": 733 / TICKS,  # with the workers that have ended
        "process_resident_memory_bytes": 15 * PAGE,
        "process_start_time_seconds": 1_000_050,
        "process_open_fds": 7,
        "process_max_fds": 2048,
    }


def test_a_process_that_cannot_be_read_is_left_out(proc: Path) -> None:
    (proc / "12").mkdir()
    (proc / "12" / "stat").write_text("12 (x)")
    (proc / "11" / "limits").write_text("")
    found = values(ProcessCollector(lambda: [10, 11, 12, 13], proc))
    assert found["process_cpu_seconds_total"] == 733 / TICKS
    assert found["process_max_fds"] == 1024


def test_a_worker_that_ends_meanwhile_is_counted_once(proc: Path) -> None:
    asked = 0

    def pids() -> list[int]:
        nonlocal asked
        asked += 1
        if asked == 1:
            # Read with its own time, and reaped before the first process is read again.
            return EndsWhenRead([10, 11], proc)
        return [10]

    assert values(ProcessCollector(pids, proc))["process_cpu_seconds_total"] == 733 / TICKS
    assert asked == 2


class EndsWhenRead(list[int]):
    """Process ids; once all are read, 11 has ended and its time has gone to its parent, 10."""

    def __init__(self, pids: list[int], proc: Path) -> None:
        super().__init__(pids)
        self.proc = proc

    def __getitem__(self, index: object) -> list[int]:  # type: ignore[override]  # it is asked for the first process, as a slice
        assert index == slice(1)
        write(self.proc, 10, cpu=(1, 2, 310, 420), started=50 * TICKS, pages=10, files=3)
        return [10]


def test_without_proc_there_is_nothing(tmp_path: Path) -> None:
    assert values(ProcessCollector(lambda: [os.getpid()], tmp_path / "absent")) == {}


@pytest.mark.needs("/proc")
def test_this_process() -> None:
    found = values(ProcessCollector(lambda: [os.getpid()]))
    own = os.times()
    assert 0 < found["process_cpu_seconds_total"] <= sum(own[:4]) + 1
    assert 2**20 < found["process_resident_memory_bytes"] < 2**34
    assert 3 <= found["process_open_fds"] <= found["process_max_fds"]
    assert found["process_start_time_seconds"] > 1_600_000_000
