"""Which processes write metrics where.

The first process makes shared memory before it starts workers, and every worker inherits it: a region per worker, one
for the first process, and one for the counts of processes that have ended. There is no file, so no disk can be full,
read-only or slow.
"""

import json
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

import structlog

from .region import REGION_BYTES, Region

# Held by a worker between the fork and its first statement.
_RESERVED: Final = 2**64 - 1
# At a reload, the old workers finish their requests while the new ones serve; SIGTTIN adds workers.
_SPARE_REGIONS: Final = 8
# How often a reader waits 1 ms for the end of a merge. It takes less, but a busy machine may interrupt it for long.
_MERGE_TRIES: Final = 2_000

_log = structlog.stdlib.get_logger()


class Key(NamedTuple):
    """What identifies an entry: the metric's kind (`counter`, `gauge`, `histogram`) and name, and its label values."""

    kind: str
    name: str
    labels: tuple[str, ...]

    def encode(self) -> bytes:
        """Return the key as bytes."""
        return json.dumps([self.kind, self.name, *self.labels]).encode()

    @classmethod
    def decode(cls, key: bytes) -> "Key":
        """Return the key that `encode` made these bytes from."""
        kind, name, *labels = json.loads(key)
        return cls(kind, name, tuple(labels))


class Memory:
    """The regions of all processes, and the one that this process writes.

    Until `share` is called, there is one process, and its memory grows. `lock` protects all writing in this process. A
    process holds it for about a microsecond, and longer only to merge the region of a process that has ended. It is
    reentrant, because a signal handler can run while its own thread holds it.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._region = _private_region()
        # Merged counts are in the first region, in private memory too.
        self._regions = [Region(memoryview(bytearray(REGION_BYTES))), self._region]
        self._is_private = True
        # The process that made the shared memory.
        self._first_pid: int | None = None
        self._ended_values: dict[bytes, memoryview[float] | None] = {}
        self._reserved: Region | None = None
        self._on_change: list[Callable[[], None]] = []
        self._unlogged_fault: str | None = None
        self._has_logged_full = False
        self._last_read: list[tuple[Key, list[float]]] = []

    def call_on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback`, with the lock held, whenever values that `add` returned are no longer this process's."""
        self._on_change.append(callback)

    def share(self, workers: int) -> bool:
        """Make memory that is shared with processes forked from now on; return False if there is none.

        It has a region for each of `workers` processes, and enough for twice as many while they are replaced. Counts so
        far are kept. A second call does nothing.
        """
        with self.lock:
            if self._first_pid is not None:
                return True
            count = 2 + 2 * workers + _SPARE_REGIONS
            try:
                memory = memoryview(mmap.mmap(-1, count * REGION_BYTES))
            except (OSError, ValueError, OverflowError):
                return False
            private = self._regions
            self._regions = [
                Region(memory[number * REGION_BYTES : (number + 1) * REGION_BYTES]) for number in range(count)
            ]
            self._first_pid = os.getpid()
            self._ended_values = {}
            for region in private:
                self._add_to_ended(region)
            self._use(self._regions[1], private=False)
            return True

    def follow_forks(self) -> None:
        """From now on, let each process that this one forks write a region of its own."""
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before_fork, after_in_parent=self.lock.release, after_in_child=self._after_fork_in_child
            )

    def _before_fork(self) -> None:
        # Released by both processes: a lock that another thread held at the fork would stay held in the new process.
        self.lock.acquire()
        self._reserved = None
        # Only one process may reserve regions, or two would reserve the same.
        if self._first_pid == os.getpid():
            self._merge_ended()
            self._reserved = next((region for region in self._regions[2:] if region.pid == 0), None)
            if self._reserved is not None:
                self._reserved.pid = _RESERVED

    def _after_fork_in_child(self) -> None:
        try:
            if self._reserved is not None:
                self._use(self._reserved, private=False)
            elif self._first_pid is not None:
                region = _private_region()
                self._regions = [Region(memoryview(bytearray(REGION_BYTES))), region]
                self._unlogged_fault = "no_free_region"
                self._first_pid = None
                self._use(region, private=True)
            else:
                for region in self._regions[1:]:
                    region.pid = os.getpid()
        finally:
            self.lock.release()

    def _use(self, region: Region, *, private: bool) -> None:
        region.pid = os.getpid()
        self._region, self._is_private = region, private
        for callback in self._on_change:
            callback()

    def add(self, key: Key, size: int) -> "memoryview[float]":
        """Add an entry of this process and return its values; if there is no space, values that nobody reads."""
        with self.lock:
            values = self._region.add(key.encode(), size)
            if values is None and self._is_private:
                self._region = _private_region()
                self._regions.append(self._region)
                values = self._region.add(key.encode(), size)
            if values is None and not self._has_logged_full:
                self._has_logged_full, self._unlogged_fault = True, "region_full"
        return memoryview(bytearray(size * 8)).cast("d") if values is None else values

    def log_fault(self) -> None:
        """Log once why other processes do not see all counts of this one, if so."""
        if self._unlogged_fault is not None:
            cause, self._unlogged_fault = self._unlogged_fault, None
            _log.warning("metrics_incomplete", cause=cause)

    def process_ended(self, pid: int) -> None:
        """Keep the counts of a process that has ended, forget its gauges, and free its region.

        Only the process that called `share` may call this.
        """
        with self.lock:
            for region in self._regions[2:]:
                if region.pid == pid:
                    self._merge(region)

    def _merge_ended(self) -> None:
        for region in self._regions[2:]:
            if (pid := region.pid) not in (0, _RESERVED) and not _is_writing(pid):
                self._merge(region)

    def _merge(self, region: Region) -> None:
        # Between the two steps, a reader would see the counts twice, and then a counter that falls.
        self._regions[0].merges += 1
        try:
            self._add_to_ended(region)
            region.clear()
        finally:
            self._regions[0].merges += 1

    def _add_to_ended(self, region: Region) -> None:
        for key, values in region.entries():
            if Key.decode(key).kind == "gauge":
                continue
            if key not in self._ended_values:
                self._ended_values[key] = self._regions[0].add(key, len(values))
            ended = self._ended_values[key]
            if ended is not None:
                for index, value in enumerate(values):
                    ended[index] += value

    def read(self) -> list[tuple[Key, list[float]]]:
        """Return the entries of all processes, without the gauges of those that have ended."""
        for _ in range(_MERGE_TRIES):
            merges = self._regions[0].merges
            if merges % 2 == 0:
                # A region that another process takes over while it is read can look broken.
                with suppress(ValueError, IndexError, struct.error):
                    entries = self._read_once()
                    if self._regions[0].merges == merges:
                        self._last_read = entries
                        return entries
            time.sleep(0.001)
        # The first process was killed or suspended while it merged.
        return self._last_read

    def _read_once(self) -> list[tuple[Key, list[float]]]:
        entries = []
        for region in self._regions:
            is_alive = _is_writing(region.pid)
            for encoded, values in region.entries():
                key = Key.decode(encoded)
                if is_alive or key.kind != "gauge":
                    entries.append((key, list(values)))
        return entries

    def pids(self) -> list[int]:
        """Return the processes that write here now, the one that started the others first."""
        return [pid for pid in dict.fromkeys(region.pid for region in self._regions) if _is_writing(pid)]


def _private_region() -> Region:
    region = Region(memoryview(bytearray(REGION_BYTES)))
    region.pid = os.getpid()
    return region


def _is_writing(pid: int) -> bool:
    """Return whether this pid of a region is that of a living process; another process may change it meanwhile."""
    if pid in (0, _RESERVED):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to another user
        return True
    return True
