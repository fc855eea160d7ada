import os
import re
import socket
import threading

import pytest

from api.database import uses as uses_module
from api.database.engine import MAX_CONNECTIONS
from api.database.uses import ConnectionsInUseError, ConnectionUses
from tests.api.database.conftest import Recorded
from tests.kit.processes import ROOT

LIMIT = 2


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def uses(events: Recorded, clock: Clock) -> ConnectionUses:
    return ConnectionUses(LIMIT, events, monotonic=clock)


def test_uses_are_counted(uses: ConnectionUses, events: Recorded) -> None:
    first, second = uses.begin(), uses.begin()
    uses.end(first)
    uses.end(first)  # has ended
    uses.end(second)
    assert events.seen == ["limited 2", "in use 1", "in use 2", "in use 1", "in use 0"]


def test_a_use_is_refused_at_once_while_the_oldest_is_old(uses: ConnectionUses, events: Recorded, clock: Clock) -> None:
    old = uses.begin()
    clock.time += 0.5
    uses.begin()
    with pytest.raises(ConnectionsInUseError):
        uses.begin()
    assert events.seen[-1] == "refused"
    assert "waited" not in events.seen
    uses.end(old)
    uses.end(uses.begin())


def test_a_use_waits_for_a_young_one(uses: ConnectionUses, events: Recorded, clock: Clock) -> None:
    young = uses.begin()
    uses.begin()
    begun = threading.Event()

    def begin() -> None:
        uses.begin()
        begun.set()

    thread = threading.Thread(target=begin)
    thread.start()
    assert not begun.wait(0.05)
    clock.time += 0.25
    uses.end(young)
    assert begun.wait(10)
    thread.join()
    assert "waited" in events.seen
    assert "refused" not in events.seen


def test_an_outage_is_told_once(uses: ConnectionUses, events: Recorded, clock: Clock) -> None:
    late = uses.begin()
    for has_failed in (False, True, True, False, False):
        clock.time += 1
        use = uses.begin()
        use.has_failed = has_failed
        uses.end(use)
    # It began before others succeeded: no second outage.
    late.has_failed = True
    uses.end(late)
    assert [one for one in events.seen if one in {"lost", "found"}] == ["lost", "found"]


def test_a_forked_process_begins_without_uses(uses: ConnectionUses) -> None:
    for _ in range(LIMIT):
        uses.begin()
    uses._changed.acquire()  # as another thread would at the fork
    child = os.fork()
    if child == 0:
        for _ in range(LIMIT):
            uses.begin()
        os._exit(0)
    uses._changed.release()
    assert os.waitpid(child, 0)[1] == 0


def test_the_socket_of_a_long_use_is_shut_down(
    uses: ConnectionUses, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        clock.time += seconds

    monkeypatch.setattr("api.database.uses.time.sleep", sleep)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        use = uses.begin()
        uses.watch(use, ours.fileno())
        theirs.settimeout(10)
        assert theirs.recv(1) == b""  # the end of what we send
        watchdog = uses._watchdog
        uses.end(use)
        if watchdog is not None:
            watchdog.join(10)
    assert naps[0] == uses_module.USE_LIMIT_SECONDS
    assert uses._watchdog is None


def test_without_a_thread_for_the_watchdog_a_use_goes_on_and_the_next_one_tries_again(
    uses: ConnectionUses, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    ours, theirs = socket.socketpair()
    with ours, theirs:
        use = uses.begin()
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", start)
            uses.watch(use, ours.fileno())
        assert uses._watchdog is None
        uses.end(use)
        use = uses.begin()
        monkeypatch.setattr("api.database.uses.time.sleep", lambda _seconds: uses.end(use))
        uses.watch(use, ours.fileno())
        started = uses._watchdog
        assert started is not None
        started.join(10)
        assert not started.is_alive()


def test_two_threads_of_a_server_are_left_without_a_database() -> None:
    configuration = (ROOT / "gunicorn.conf.py").read_text(encoding="utf-8")
    (threads,) = re.findall(r"^threads = (\d+)$", configuration, re.MULTILINE)
    assert int(threads) - MAX_CONNECTIONS == 2
