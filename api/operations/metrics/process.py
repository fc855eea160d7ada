"""What the operating system counts for the server's processes, from /proc; elsewhere there is nothing."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as MetricFamily
from prometheus_client.registry import Collector

# How often all processes are read until none has ended in the meantime.
_TRIES = 3


class _Statistics(NamedTuple):
    """The fields of /proc/<pid>/stat that matter, in clock ticks and pages; proc(5)."""

    # With that of child processes that have ended: a worker's time goes to its parent.
    cpu_ticks: int
    ended_children_ticks: int
    start_ticks: int
    resident_pages: int


class ProcessCollector(Collector):
    """Collects CPU time, memory and open files over the processes that `pids` returns.

    A process that cannot be read, because it has just ended or belongs to another user, is left out.
    """

    def __init__(self, pids: Callable[[], Sequence[int]], proc: Path = Path("/proc")) -> None:
        self._pids, self._proc = pids, proc

    def collect(self) -> Iterator[MetricFamily]:
        """Yield the metrics, with the names that prometheus_client gives those of one process."""
        statistics = self._statistics()
        if not statistics:
            return
        ticks_a_second, page_bytes = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
        yield CounterMetricFamily(
            "process_cpu_seconds",
            "CPU time of all processes, also of workers that have ended, in seconds.",
            sum(process.cpu_ticks for process in statistics.values()) / ticks_a_second,
        )
        yield GaugeMetricFamily(
            "process_resident_memory_bytes",
            "Resident memory of all processes; what they share is counted for each.",
            sum(process.resident_pages for process in statistics.values()) * page_bytes,
        )
        started = self._boot_time()
        if started is not None:
            oldest = min(process.start_ticks for process in statistics.values())
            yield GaugeMetricFamily(
                "process_start_time_seconds",
                "When the oldest process started; Unix time.",
                started + oldest / ticks_a_second,
            )
        open_files, limits = self._open_files(statistics)
        if open_files is not None:
            yield GaugeMetricFamily("process_open_fds", "Open file descriptors of all processes.", open_files)
        if limits is not None:
            yield GaugeMetricFamily("process_max_fds", "File descriptors that all processes may open.", limits)

    def _statistics(self) -> dict[int, _Statistics]:
        """Read all processes; again if a worker ended meanwhile: its time would be missing, or be counted twice."""
        read: dict[int, _Statistics] = {}
        for _ in range(_TRIES):
            pids = self._pids()
            read = self._read(pids)
            again = self._read(pids[:1])
            if all(read.get(pid, again[pid]).ended_children_ticks == again[pid].ended_children_ticks for pid in again):
                break
        return read

    def _read(self, pids: Sequence[int]) -> dict[int, _Statistics]:
        read = {}
        for pid in pids:
            try:
                text = (self._proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
                # The second field is a name in brackets, which may contain any character.
                fields = text.rpartition(")")[2].split()
                user, system, ended_user, ended_system = map(int, fields[11:15])
                ended = ended_user + ended_system
                read[pid] = _Statistics(user + system + ended, ended, int(fields[19]), int(fields[21]))
            except (OSError, ValueError, IndexError):
                continue
        return read

    def _boot_time(self) -> float | None:
        try:
            lines = (self._proc / "stat").read_text(encoding="utf-8").splitlines()
            return next((float(line.split()[1]) for line in lines if line.startswith("btime ")), None)
        except (OSError, ValueError, IndexError):
            return None

    def _open_files(self, pids: Iterable[int]) -> tuple[int | None, float | None]:
        counts, limits = [], []
        for pid in pids:
            try:
                counts.append(len(os.listdir(self._proc / str(pid) / "fd")))  # noqa: PTH208  # the names alone are needed
                lines = (self._proc / str(pid) / "limits").read_text(encoding="utf-8").splitlines()
                soft_limit = next(line.split()[3] for line in lines if line.startswith("Max open files"))
                limits.append(math.inf if soft_limit == "unlimited" else float(soft_limit))
            except (OSError, ValueError, IndexError, StopIteration):
                continue
        return sum(counts) if counts else None, sum(limits) if limits else None
