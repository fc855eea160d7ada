"""Rotations and made-up key ids: published keys are found, and unknown ones cost little."""

import contextlib
import functools
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler

import pytest

from api.auth.config import AuthConfig, TrustedIssuer
from api.auth.errors import InvalidToken, KeysUnavailable
from api.auth.events import AuthEvents
from api.auth.keys.fetch import Fetched
from api.auth.keys.key_cache import KeyCache
from api.auth.keys.running_fetch import RunningFetch
from tests.api.auth.keys.bench import NEW, OLD, Bench, Clock, unavailable, unknown
from tests.kit.key_server import KeyServer, document
from tests.kit.signing import jwks


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with KeyServer() as server:
        server.publish(jwks(OLD))
        yield server


@pytest.fixture
def bench(server: KeyServer) -> Bench:
    bench = Bench(server)
    bench.warm()
    return bench


def wait_until_waiting(bench: Bench, count: int) -> None:
    """Wait until so many requests wait for the running fetch."""
    running, never = bench.cache._running_fetch, threading.Event()
    assert running is not None
    while running.waiting < count:
        assert not never.wait(0.001)


# Rotations


def test_a_new_key_is_found_at_once(bench: Bench) -> None:
    bench.server.publish(jwks(OLD, NEW))
    key, keys = bench.cache.find(("RS256", "new"))
    assert key.kid == "new"
    assert keys is bench.cache.current_keys()
    assert bench.find("old") == "old"


def test_a_rotation_right_after_a_scheduled_fetch_is_seen_at_once(bench: Bench) -> None:
    bench.clock.advance(550)
    bench.find("old")
    bench.events.wait()
    bench.server.publish(jwks(NEW))
    assert bench.find("new") == "new"


def test_a_key_that_is_published_during_a_scheduled_fetch_is_found(bench: Bench) -> None:
    asked, before_publication = threading.Event(), document(jwks(OLD))

    def answer_late(handler: BaseHTTPRequestHandler) -> None:
        asked.set()
        bench.server.released.wait()
        before_publication(handler)

    bench.server.break_keys(answer_late)
    bench.clock.advance(550)
    bench.find("old")
    assert asked.wait(10)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(bench.find, "new")
        wait_until_waiting(bench, 1)
        bench.server.publish(jwks(OLD, NEW))
        bench.server.released.set()
        assert waiting.result() == "new"
    assert bench.server.key_requests == 3


class SteppedClock(Clock):
    """Runs `step` in the `number`-th look at the time of the thread that made this clock."""

    def __init__(self) -> None:
        super().__init__()
        self.number = -1
        self.step: Callable[[], object] = lambda: None
        self._looks = itertools.count()
        self._thread = threading.get_ident()

    def arm(self, number: int, step: Callable[[], object]) -> None:
        self.number, self.step = number, step
        self._looks = itertools.count()

    def __call__(self) -> float:
        if threading.get_ident() == self._thread and next(self._looks) == self.number:
            self.step()
        return super().__call__()


@pytest.mark.parametrize("number", range(8))
def test_a_fetch_that_ends_at_any_moment_of_a_look_up_refuses_no_published_key(server: KeyServer, number: int) -> None:
    """Another request fetches the new key, and no further fetch is due, while this request looks for it."""
    clock = SteppedClock()
    bench = Bench(server)
    issuer = TrustedIssuer(identifier=server.issuer, audiences=("a",), jwks_url=server.jwks_url)
    cache = KeyCache(issuer, AuthConfig(issuers=(issuer,)), events=bench.events, monotonic=clock)
    cache.find(("RS256", "old"))

    fetches_before = []

    def find() -> None:
        with contextlib.suppress(InvalidToken):
            cache.find(("RS256", "new"))

    def fetch_new_key() -> None:
        fetches_before.append(server.key_requests)
        server.publish(jwks(OLD, NEW))
        other = threading.Thread(target=find)
        other.start()
        other.join()

    clock.arm(number, fetch_new_key)
    try:
        assert cache.find(("RS256", "new"))[0].kid == "new"
    except InvalidToken:
        # Its own fetch ended before the key was published, or it never looked at the time as often.
        assert fetches_before in ([2], [])


@pytest.mark.parametrize("seconds", [550, 601])
@pytest.mark.parametrize("number", range(3))
def test_a_known_key_that_another_request_finds_missing_is_looked_for_again(
    server: KeyServer, seconds: int, number: int
) -> None:
    """The other request's fetch ended before the issuer published the key again."""
    clock = SteppedClock()
    bench = Bench(server)
    issuer = TrustedIssuer(identifier=server.issuer, audiences=("a",), jwks_url=server.jwks_url)
    cache = KeyCache(issuer, AuthConfig(issuers=(issuer,)), events=bench.events, monotonic=clock)
    cache.find(("RS256", "old"))
    bench.events.wait()

    def fetch_other_keys() -> None:
        server.publish(jwks(NEW))
        other = threading.Thread(target=cache.start_due_fetch)
        other.start()
        other.join()
        bench.events.wait()
        server.publish(jwks(OLD, NEW))

    clock.advance(seconds)
    clock.arm(number, fetch_other_keys)
    assert cache.find(("RS256", "old"))[0].kid == "old"
    assert server.key_requests >= 2


def test_a_known_key_that_another_request_s_fetch_misses_is_looked_for_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request waits for a fetch that began before the issuer published the key again."""
    asked, other_keys, wait = threading.Event(), document(jwks(NEW)), RunningFetch.wait

    def answer_late(handler: BaseHTTPRequestHandler) -> None:
        asked.set()
        bench.server.released.wait()
        other_keys(handler)

    def publish_and_wait(running: RunningFetch, deadline: float) -> None:
        bench.server.publish(jwks(OLD, NEW))
        bench.server.released.set()
        wait(running, deadline)

    bench.server.break_keys(answer_late)
    bench.clock.advance(601)
    bench.cache.start_due_fetch()
    assert asked.wait(10)
    monkeypatch.setattr(RunningFetch, "wait", publish_and_wait)
    assert bench.find("old") == "old"
    assert bench.server.key_requests == 3


def test_threads_that_rotate_together_find_the_key_or_are_told_when(server: KeyServer) -> None:
    """Nobody is refused for good."""
    published = [jwks(OLD)]
    clock = Clock()
    issuer = TrustedIssuer(identifier=server.issuer, audiences=("a",), jwks_url=server.jwks_url)
    cache = KeyCache(
        issuer,
        AuthConfig(issuers=(issuer,)),
        events=AuthEvents(),
        fetch=lambda _url, _seconds: Fetched(published[0], None),
        monotonic=clock,
    )
    keys = [OLD, NEW]
    cache.find(("RS256", "old"))
    for _ in range(100):
        keys.reverse()
        published[0] = jwks(keys[1])
        kid = str(keys[1].kid)
        clock.advance(10)
        started = threading.Barrier(4)

        def find(kid: str = kid, started: threading.Barrier = started) -> str | None:
            started.wait()
            try:
                return cache.find(("RS256", kid))[0].kid
            except InvalidToken as refused:
                return None if refused.retry_after_seconds is None else kid

        with ThreadPoolExecutor(4) as pool:
            assert [future.result() for future in [pool.submit(find) for _ in range(4)]] == [kid] * 4


# Made-up key ids


def test_sixty_unknown_key_ids_cause_one_fetch(bench: Bench) -> None:
    with ThreadPoolExecutor(12) as pool:
        finds = [functools.partial(bench.find, f"made-up-{number}") for number in range(60)]
        seconds = [future.result() for future in [pool.submit(unknown, find) for find in finds]]
    assert bench.server.key_requests == 2
    # The one whose fetch said so is refused for good.
    assert seconds.count(None) == 1
    assert {1, 10, None} >= set(seconds)


def test_unknown_key_ids_cause_one_fetch_in_ten_seconds(bench: Bench) -> None:
    assert unknown(lambda: bench.find("a")) is None
    bench.clock.advance(3.5)
    assert unknown(lambda: bench.find("a")) == 7
    bench.clock.advance(6.4)
    assert unknown(lambda: bench.find("b")) == 1
    assert bench.server.key_requests == 2
    bench.server.publish(jwks(OLD, NEW))
    bench.clock.advance(0.2)
    assert bench.find("new") == "new"
    assert bench.server.key_requests == 3


def test_the_time_to_wait_ends_where_a_refresh_is_due(bench: Bench) -> None:
    bench.server.publish(jwks(OLD), cache_control="max-age=60")
    bench.clock.advance(600)
    bench.find("old")
    bench.clock.advance(44)
    unknown(lambda: bench.find("a"))
    seconds = unknown(lambda: bench.find("a"))
    assert seconds is not None
    bench.server.publish(jwks(OLD, NEW))
    bench.clock.advance(seconds)
    assert bench.find("new") == "new"


@pytest.mark.parametrize("seconds", [0, 550])
def test_two_requests_wait_for_an_unknown_key_id_and_no_more(bench: Bench, seconds: int) -> None:
    asked = bench.server.hang_keys()
    bench.clock.advance(seconds)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(unknown, functools.partial(bench.find, f"made-up-{number}")) for number in range(2)]
        assert asked.wait(10)
        wait_until_waiting(bench, 2)
        started = time.monotonic()
        for number in range(40):
            assert unknown(functools.partial(bench.find, f"another-{number}")) == 1
            assert bench.find("old") == "old"
        assert time.monotonic() - started < 2
        assert not any(future.done() for future in waiting)
        bench.server.released.set()
        assert all((future.result() or 0) >= 1 for future in waiting)
    assert bench.server.key_requests == 2


def test_two_requests_wait_for_a_scheduled_fetch(bench: Bench) -> None:
    asked, started = threading.Event(), threading.Barrier(2)

    def answer_late(handler: BaseHTTPRequestHandler) -> None:
        asked.set()
        bench.server.released.wait()
        document(jwks(OLD, NEW))(handler)

    def find() -> str | None:
        started.wait()
        return bench.find("new")

    bench.server.break_keys(answer_late)
    bench.clock.advance(550)
    bench.cache.start_due_fetch()
    assert asked.wait(10)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(find) for _ in range(2)]
        wait_until_waiting(bench, 2)
        assert unknown(lambda: bench.find("another")) == 1
        bench.server.released.set()
        assert [future.result() for future in waiting] == ["new"] * 2
    assert bench.server.key_requests == 2


def test_after_idleness_two_requests_wait_for_an_unknown_key_id_and_no_more(bench: Bench) -> None:
    asked = bench.server.hang_keys()
    bench.clock.advance(3_600)
    with ThreadPoolExecutor(8) as pool:
        started = threading.Barrier(8)

        def find(number: int) -> None:
            started.wait()
            unknown(functools.partial(bench.find, f"made-up-{number}"))

        waiting = [pool.submit(find, number) for number in range(8)]
        assert asked.wait(10)
        never = threading.Event()
        while sum(future.done() for future in waiting) < 6:
            assert not never.wait(0.001)
        assert sum(future.done() for future in waiting) == 6
        bench.server.released.set()
        for future in waiting:
            future.result()


def test_a_key_id_that_was_just_found_missing_is_refused_at_once(bench: Bench) -> None:
    assert unknown(lambda: bench.find("made-up")) is None
    bench.server.hang_keys()
    bench.clock.advance(5)
    started = time.monotonic()
    for _ in range(40):
        assert unknown(lambda: bench.find("made-up")) == 5
    assert time.monotonic() - started < 2
    assert bench.server.key_requests == 2


# While the issuer fails


def test_in_an_outage_an_unknown_key_id_is_refused_with_the_time_of_the_next_try(bench: Bench) -> None:
    bench.server.break_keys(document(b"", status=500))
    assert unknown(lambda: bench.find("new")) == 10
    assert unknown(lambda: bench.find("new")) == 10
    assert bench.server.key_requests == 2
    bench.server.publish(jwks(OLD, NEW))
    bench.clock.advance(10)
    assert bench.find("new") == "new"


def test_in_an_outage_the_time_to_wait_is_that_of_the_back_off(bench: Bench) -> None:
    bench.server.break_keys(document(b"", status=500))
    for _ in range(8):
        bench.clock.advance(600)
        bench.find("old")
        bench.events.wait()
    seconds = unknown(lambda: bench.find("made-up"))
    assert seconds is not None
    assert 15 <= seconds <= 30


def test_a_hanging_issuer_costs_an_unknown_key_id_one_wait(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.auth.keys.key_cache.FETCH_SECONDS", 0.3)
    bench.server.hang_keys()
    started = time.monotonic()
    for number in range(20):
        assert unknown(functools.partial(bench.find, f"made-up-{number}")) in {1, 10}
    assert 0.25 < time.monotonic() - started < 2
    assert bench.server.key_requests == 2


def test_without_any_keys_an_unknown_key_id_is_not_judged(bench: Bench) -> None:
    bench.server.break_keys(document(b"", status=500))
    bench.clock.advance(600 + 86_400)
    assert unavailable(lambda: bench.find("made-up")) == 1


def test_the_first_fetch_of_all_refuses_an_unknown_key_id_for_good(server: KeyServer) -> None:
    bench = Bench(server)
    assert unknown(lambda: bench.find("made-up")) is None
    assert server.key_requests == 1


def test_keys_that_expire_during_a_wait_are_unavailable(bench: Bench) -> None:
    asked = bench.server.hang_keys()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(bench.find, "made-up")
        assert asked.wait(10)
        bench.clock.advance(600 + 86_400)
        bench.server.released.set()
        assert isinstance(waiting.exception(10), KeysUnavailable)
