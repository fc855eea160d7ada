import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TextIO

import pytest

from api.operations.log import writer
from api.operations.log.writer import MAX_QUEUED_LINES, LogWriter
from tests.kit.metrics import counted

PATIENCE_SECONDS = 10

Redirect = Callable[[TextIO | None], None]


def dropped() -> float:
    return counted("api_log_lines_dropped_total")


@pytest.fixture
def redirect(monkeypatch: pytest.MonkeyPatch) -> Redirect:
    return lambda stream: monkeypatch.setattr("sys.stderr", stream)


@pytest.fixture
def full() -> Iterator[TextIO]:
    # Unbuffered, as nothing could be written at the close.
    with Path("/dev/full").open("w", encoding="utf-8") as stream:
        yield stream


def read(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def lines_of(count: int) -> list[str]:
    return [f'{{"number": {number}}}\n' for number in range(count)]


def write_all(log: LogWriter, count: int) -> None:
    for line in lines_of(count):
        log.write(line)
    assert log.flush(PATIENCE_SECONDS)


def test_lines_are_written_in_order(tmp_path: Path, redirect: Redirect) -> None:
    with (tmp_path / "log").open("w") as stream:
        redirect(stream)
        write_all(LogWriter(), 1000)
    assert [line["number"] for line in read(tmp_path / "log")] == list(range(1000))


def test_lines_that_come_while_others_are_written_wait_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    log, writes = LogWriter(), []

    def send(data: bytes, *, may_wait: bool) -> int:
        assert may_wait
        writes.append(data)
        log.write("meanwhile\n")
        return len(data)

    monkeypatch.setattr(writer, "_send", send)
    started = time.monotonic()
    log.write("first\n")
    while len(writes) < 5:
        time.sleep(0.001)
    # Each write gives Python's global lock away.
    assert time.monotonic() - started >= 5 * writer._GATHER_SECONDS
    monkeypatch.setattr(writer, "_send", lambda data, may_wait: len(data))  # its parameter's name
    assert log.flush(PATIENCE_SECONDS)


@pytest.mark.parametrize("is_direct", [False, True])
def test_dropped_lines_are_counted_and_told_when_lines_can_be_written_again(
    tmp_path: Path, redirect: Redirect, full: TextIO, *, is_direct: bool
) -> None:
    log, before = LogWriter(), dropped()
    if is_direct:
        log.write_directly()
    redirect(full)
    write_all(log, 7)
    assert dropped() - before == 7
    with (tmp_path / "log").open("w") as stream:
        redirect(stream)
        write_all(log, 2)
    report, first, second = read(tmp_path / "log")
    assert (report["event"], report["level"], report["count"]) == ("log_lines_dropped", "error", 7)
    assert report["pid"] == os.getpid()
    assert (first, second) == ({"number": 0}, {"number": 1})
    assert dropped() - before == 7


class Unusable:
    """A stream that tests might put in the place of standard error."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)


@pytest.mark.parametrize("stream", ["none", "closed", "unusable", "bad descriptor", "no reader"])
def test_an_unusable_standard_error_raises_nothing(tmp_path: Path, redirect: Redirect, stream: str) -> None:
    log, before = LogWriter(), dropped()
    file = (tmp_path / "log").open("w")
    if stream == "none":
        redirect(None)
    elif stream == "unusable":
        redirect(Unusable())  # type: ignore[arg-type]
    else:
        redirect(file)
    if stream == "bad descriptor":
        os.close(file.fileno())
    elif stream == "no reader":
        reader, end = os.pipe()
        os.close(reader)
        os.dup2(end, file.fileno())
        os.close(end)
    elif stream == "closed":
        file.close()
    write_all(log, 3)
    assert dropped() - before == 3
    if stream == "bad descriptor":
        with pytest.raises(OSError, match="Bad file descriptor"):
            file.close()
    file.close()


@pytest.fixture
def full_pipe() -> Iterator[tuple[int, TextIO]]:
    reader, end = os.pipe()
    os.set_blocking(end, False)
    with closing(os.fdopen(end, "w")) as stream:
        try:
            while True:
                os.write(end, b"{}\n" * 100)
        except BlockingIOError:
            os.set_blocking(end, True)
        yield reader, stream
    os.close(reader)


def test_a_pipe_that_nobody_reads_holds_nobody_up(redirect: Redirect, full_pipe: tuple[int, TextIO]) -> None:
    reader, stream = full_pipe
    log, before = LogWriter(), dropped()
    redirect(stream)
    for line in lines_of(MAX_QUEUED_LINES + 500):
        log.write(line)
    assert 0 < dropped() - before <= 500
    assert not log.flush(0.01)
    # Those that were queued come when somebody reads, and then the count of the others.
    text = b""
    while b"log_lines_dropped" not in text:
        text += os.read(reader, 65_536)
    assert f'"count": {int(dropped() - before)}'.encode() in text
    while f'"number": {MAX_QUEUED_LINES - 1}}}'.encode() not in text:
        text += os.read(reader, 65_536)


def test_a_direct_writer_drops_what_would_have_to_wait(redirect: Redirect, full_pipe: tuple[int, TextIO]) -> None:
    _, stream = full_pipe
    log, before = LogWriter(), dropped()
    log.write_directly()
    redirect(stream)
    write_all(log, 3)
    assert dropped() - before == 3


def test_a_line_after_half_a_line_stands_alone(
    tmp_path: Path, redirect: Redirect, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, before, real_write = LogWriter(), dropped(), os.write

    def disk_that_becomes_full(descriptor: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", fail)
        return real_write(descriptor, data[: len('{"number": 0}\n{"num')])

    def fail(_descriptor: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with (tmp_path / "log").open("w") as stream:
        redirect(stream)
        monkeypatch.setattr(os, "write", disk_that_becomes_full)
        write_all(log, 3)
        assert dropped() - before == 2
        monkeypatch.setattr(os, "write", real_write)
        write_all(log, 1)
    complete, half, report, line = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert (complete, half, line) == ('{"number": 0}', '{"num', '{"number": 0}')
    assert json.loads(report)["count"] == 2


def test_a_child_writes_its_own_lines_after_a_fork(tmp_path: Path, redirect: Redirect) -> None:
    log = LogWriter()
    with (tmp_path / "log").open("a") as stream:
        redirect(stream)
        write_all(log, 1)
        with log._start_lock, log._write_lock, log._count_lock:
            log._queue.put('{"number": "parent"}\n')
            child = os.fork()
            if child == 0:
                signal.alarm(20)  # ends a child that waits for a lock
                log.after_fork_in_child()
                log.write('{"number": "child"}\n')
                os._exit(0 if log.flush(PATIENCE_SECONDS) else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert log.flush(PATIENCE_SECONDS)
    assert [line["number"] for line in read(tmp_path / "log")] == [0, "child", "parent"]


def test_without_a_thread_lines_wait_for_the_next_try(
    tmp_path: Path, redirect: Redirect, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogWriter()

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with (tmp_path / "log").open("w") as stream:
        redirect(stream)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", fail)
            log.write('{"number": -1}\n')
            assert not log.flush(0)
        write_all(log, 1)
    assert [line["number"] for line in read(tmp_path / "log")] == [-1, 0]


def test_long_lines_are_written_whole(tmp_path: Path, redirect: Redirect) -> None:
    log = LogWriter()
    with (tmp_path / "log").open("w") as stream:
        redirect(stream)
        for length in (10, 5000, 4000, 100, 20_000, 1):
            log.write(f'"{"x" * length}"\n')
        assert log.flush(PATIENCE_SECONDS)
    assert [len(text) for text in read(tmp_path / "log")] == [10, 5000, 4000, 100, 20_000, 1]
