"""Lines → standard error, by one thread per process. Whoever logs never waits, and never gets an exception."""

import atexit
import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from itertools import accumulate
from queue import SimpleQueue

from api.operations.metrics import LOG_LINES_DROPPED

from .lines import json_line

# About 2 MB. At 1,000 requests a second, a sink may stand still for ten seconds before lines are dropped.
MAX_QUEUED_LINES = 10_000
# A line waits so long for others. Each write gives Python's global lock away, and requests have to win it back.
_GATHER_SECONDS = 0.03
# Taken from the queue at once; they count as queued no longer.
_TAKEN_AT_ONCE = 200
_EXIT_SECONDS = 1.0


class LogWriter:
    """Writes lines to what `sys.stderr` is at that moment; drops and counts those that cannot be written.

    Thread-safe, and usable after a fork: the child starts with an empty queue and a thread of its own.
    """

    def __init__(self) -> None:
        self._is_direct = False
        self._reset()

    def _reset(self) -> None:
        # put() may be called again inside of put(), by a signal handler or a finalizer; those of queue.Queue may not.
        self._queue: SimpleQueue[str | threading.Event] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._count_lock = threading.Lock()
        self._unreported = 0
        self._ends_inside_a_line = False

    def after_fork_in_child(self) -> None:
        """Forget what belongs to the parent: its lines, its thread, and locks that were held at the fork."""
        self._is_direct = False
        self._reset()

    def write_directly(self) -> None:
        """From now on, write each line at once, in the thread that logs it, and drop it if that would have to wait.

        For a process that forks others, where a thread may not run at the fork. Its children do not inherit this.
        """
        self._is_direct = True

    def write(self, line: str) -> None:
        """Have a line, which ends with a line break, written soon; drop it if too many wait already."""
        if self._is_direct:
            with self._write_lock:
                self._write_lines([line], may_wait=False)
            return
        if self._queue.qsize() >= MAX_QUEUED_LINES:
            self._count_dropped(1)
            return
        self._queue.put(line)
        if self._thread is None:
            self._start()

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until the lines logged so far are written or dropped; return whether they are, within the time."""
        if self._thread is None:
            return self._queue.empty()
        is_done = threading.Event()
        self._queue.put(is_done)
        return is_done.wait(timeout_seconds)

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is not None:
                return
            # A daemon, so that the process ends even if nobody reads its log.
            thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads, or the interpreter ends; the next line tries again
                return
            self._thread = thread

    def _run(self) -> None:
        while True:
            taken = [self._queue.get()]
            time.sleep(_GATHER_SECONDS)
            # If few lines came while others were written, they wait for more, too.
            while taken or self._queue.qsize() >= _TAKEN_AT_ONCE:
                # This thread alone takes: what qsize() counts is there.
                taken += [self._queue.get_nowait() for _ in range(min(self._queue.qsize(), _TAKEN_AT_ONCE))]
                with self._write_lock:
                    self._write_lines([item for item in taken if isinstance(item, str)], may_wait=True)
                for item in taken:
                    if isinstance(item, threading.Event):
                        item.set()
                taken = []

    def _write_lines(self, lines: list[str], *, may_wait: bool) -> None:
        for written_at_once in _whole_lines(lines):
            report = []
            if unreported := self._unreported:
                report = [json_line("log_lines_dropped", "error", {"count": unreported})]
            parts = [*report, *written_at_once]
            # Ends what an earlier write left of a line, so that the next one is a line of its own.
            start = "\n" if self._ends_inside_a_line else ""
            text = start + "".join(parts)
            sent = _send(text.encode(), may_wait=may_wait)
            if sent:
                self._ends_inside_a_line = text[sent - 1] != "\n"
            is_whole = [end <= sent for end in accumulate(map(len, parts), initial=len(start))][1:]
            if report and is_whole[0]:
                self._count_reported(unreported)
            self._count_dropped(is_whole[len(report) :].count(False))

    def _count_dropped(self, count: int) -> None:
        if count:
            with self._count_lock:
                self._unreported += count
            LOG_LINES_DROPPED.inc(count)

    def _count_reported(self, count: int) -> None:
        with self._count_lock:
            self._unreported -= count


def _whole_lines(lines: list[str]) -> Iterator[list[str]]:
    """Yield lines in groups of at most PIPE_BUF bytes.

    Processes share the pipe, and only writes of this size stay in one piece (POSIX, write()). A longer line is alone.
    """
    group: list[str] = []
    size = 0
    for line in lines:
        if group and size + len(line) > select.PIPE_BUF:
            yield group
            group, size = [], 0
        group.append(line)
        size += len(line)
    if group:
        yield group


def _send(data: bytes, *, may_wait: bool) -> int:
    """Return how many bytes were written to `sys.stderr`: fewer than all if it fails, or if that would have to wait."""
    sent = 0
    try:
        descriptor = _descriptor()
        if descriptor is None:
            sys.stderr.write(data.decode())
            return len(data)
        ready = select.poll()
        ready.register(descriptor, select.POLLOUT)
        while sent < len(data) and ready.poll(None if may_wait else 0):
            sent += os.write(descriptor, data[sent : sent + select.PIPE_BUF])
    # Not OSError alone: sys.stderr is None if the process began without one, ValueError means that it is closed, and a
    # replaced one may raise anything. Whatever it is, there is no place left to tell it.
    except Exception:  # noqa: BLE001, S110
        pass
    return sent


def _descriptor() -> int | None:
    """Return the descriptor of `sys.stderr`, None if it has none, as in tests. Raises ValueError if it is closed."""
    try:
        # Not the number 2: without a standard error at the start, that may be the connection to a database by now.
        return sys.stderr.fileno()
    except OSError:  # io.UnsupportedOperation is one
        return None


# One for the process: all of it shares standard error.
_writer = LogWriter()
write_line = _writer.write
write_directly = _writer.write_directly
flush = _writer.flush
os.register_at_fork(after_in_child=_writer.after_fork_in_child)
# Runs after the threads that serve requests have ended.
atexit.register(flush, _EXIT_SECONDS)
