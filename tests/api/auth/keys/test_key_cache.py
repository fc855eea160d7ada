import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.auth.config import AuthConfig, TrustedIssuer
from api.auth.keys.fetch import Fetched, FetchError
from api.auth.keys.key_cache import KeyCache
from api.auth.keys.key_set import KeySet
from tests.api.auth.keys.bench import NEW, OLD, Bench, Clock, Events, unavailable, unknown
from tests.kit.key_server import Answer, KeyServer, document
from tests.kit.signing import jwks


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with KeyServer() as server:
        server.publish(jwks(OLD))
        yield server


@pytest.fixture
def bench(server: KeyServer) -> Bench:
    return Bench(server)


def test_fetches_on_first_use_and_not_before(bench: Bench) -> None:
    assert bench.server.key_requests == 0
    bench.warm()
    assert bench.find("old") == "old"
    assert bench.server.key_requests == 1
    assert bench.events.recorded == ["fetched 1"]


def test_a_fetch_may_take_three_seconds(server: KeyServer) -> None:
    limits = []

    def fetch(_url: str, timeout_seconds: float) -> Fetched:
        limits.append(timeout_seconds)
        return Fetched(jwks(OLD), None)

    issuer = TrustedIssuer(identifier=server.issuer, audiences=("a",), jwks_url=server.jwks_url)
    KeyCache(issuer, AuthConfig(issuers=(issuer,)), events=Events(), fetch=fetch).find(("RS256", "old"))
    assert len(limits) == 1
    assert 2 < limits[0] <= 3


@pytest.mark.parametrize("seconds", [0, 1, 550, 601])
def test_a_key_is_found_with_the_set_that_has_it(bench: Bench, seconds: int) -> None:
    bench.warm()
    bench.clock.advance(seconds)
    key, keys = bench.cache.find(("RS256", "old"))
    assert keys.find(("RS256", "old")) is key
    assert seconds > 1 or keys is bench.cache.current_keys()


def test_sixteen_cold_requests_share_one_fetch(bench: Bench) -> None:
    started = threading.Barrier(16)

    def find() -> str | None:
        started.wait()
        return bench.find("old")

    with ThreadPoolExecutor(16) as pool:
        found = [future.result() for future in [pool.submit(find) for _ in range(16)]]
    assert found == ["old"] * 16
    assert bench.server.key_requests == 1


# Freshness


@pytest.mark.parametrize(
    ("cache_control", "seconds"),
    [("", 600), ("max-age=1", 60), ("no-store", 60), ("max-age=300", 300), ("max-age=86400", 3600)],
)
def test_freshness_is_the_servers_within_bounds(server: KeyServer, cache_control: str, seconds: int) -> None:
    server.publish(jwks(OLD), cache_control=cache_control)
    bench = Bench(server)
    bench.warm()
    bench.clock.advance(seconds * 0.74)
    bench.find("old")
    assert server.key_requests == 1
    bench.clock.advance(seconds * 0.12)  # past the latest moment of refresh, and before the end of freshness
    bench.find("old")
    bench.events.wait()
    assert server.key_requests == 2
    assert "stale" not in bench.events.recorded


def test_a_known_key_id_never_waits_for_the_network(bench: Bench) -> None:
    bench.warm()
    asked = bench.server.hang_keys()
    bench.clock.advance(550)
    started = time.monotonic()
    for _ in range(20):
        assert bench.find("old") == "old"
    assert time.monotonic() - started < 2
    assert asked.wait(10)
    assert bench.server.key_requests == 2


def test_readiness_does_not_wait_while_there_are_keys(bench: Bench) -> None:
    bench.warm()
    asked = bench.server.hang_keys()
    bench.clock.advance(601)
    started = time.monotonic()
    assert bench.cache.is_ready()
    assert time.monotonic() - started < 2
    assert asked.wait(10)


def test_readiness_fetches_no_more_than_is_due(bench: Bench) -> None:
    bench.warm()
    asked = bench.server.hang_keys()
    assert bench.cache.is_ready()
    bench.cache.start_due_fetch()
    assert bench.cache._running_fetch is None
    bench.clock.advance(550)
    bench.cache.start_due_fetch()
    assert asked.wait(10)


def test_in_an_outage_a_known_key_id_never_waits_for_the_network(bench: Bench) -> None:
    bench.warm()
    bench.server.break_keys(FAULTS["500"])
    bench.clock.advance(550)
    assert bench.find("old") == "old"
    bench.events.wait()
    bench.clock.advance(55)
    asked = bench.server.hang_keys()
    started = time.monotonic()
    for _ in range(20):
        assert bench.find("old") == "old"
    assert time.monotonic() - started < 2
    assert asked.wait(10)
    assert bench.events.recorded[-1] == "stale"


# Idleness


@pytest.mark.parametrize("seconds", [601, 86_399])
def test_after_idleness_a_withdrawn_key_opens_nothing(bench: Bench, seconds: int) -> None:
    bench.warm()
    bench.server.publish(jwks(NEW))
    bench.clock.advance(seconds)
    assert unknown(lambda: bench.find("old")) is None
    assert bench.server.key_requests == 2


def test_after_idleness_all_requests_wait_for_one_fetch(bench: Bench) -> None:
    bench.warm()
    old_keys = bench.cache.current_keys()
    bench.server.publish(jwks(OLD, NEW))
    bench.clock.advance(601)
    started = threading.Barrier(8)

    def find() -> KeySet:
        started.wait()
        return bench.cache.find(("RS256", "old"))[1]

    with ThreadPoolExecutor(8) as pool:
        found = [future.result() for future in [pool.submit(find) for _ in range(8)]]
    assert found == [bench.cache.current_keys()] * 8
    assert found[0] is not old_keys
    assert bench.server.key_requests == 2


def test_after_idleness_in_an_outage_stale_keys_are_used_after_one_try(bench: Bench) -> None:
    bench.warm()
    bench.server.break_keys(FAULTS["500"])
    bench.clock.advance(601)
    assert bench.find("old") == "old"
    bench.events.wait()
    assert sorted(bench.events.recorded) == ["failed: the status is not 200", "fetched 1", "stale"]


@pytest.mark.parametrize("seconds", [61, 3_600])
def test_after_idleness_a_failure_of_long_ago_is_no_outage(bench: Bench, seconds: int) -> None:
    bench.warm()
    bench.server.break_keys(FAULTS["500"])
    bench.clock.advance(550)
    assert bench.find("old") == "old"
    bench.events.wait()
    bench.server.publish(jwks(NEW))
    bench.clock.advance(seconds)
    unknown(lambda: bench.find("old"))


def test_a_hanging_issuer_costs_one_wait_after_idleness(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.auth.keys.key_cache.FETCH_SECONDS", 0.3)
    release = threading.Event()
    answers = [Fetched(jwks(OLD), None)]

    def fetch(_url: str, _seconds: float) -> Fetched:
        if answers:
            return answers.pop()
        release.wait()  # as a resolver does, which no limit of ours reaches
        raise FetchError("no answer")

    issuer = TrustedIssuer(identifier=server.issuer, audiences=("a",), jwks_url=server.jwks_url)
    clock, events = Clock(), Events()
    cache = KeyCache(issuer, AuthConfig(issuers=(issuer,)), events=events, fetch=fetch, monotonic=clock)
    cache.find(("RS256", "old"))
    clock.advance(601)
    started = time.monotonic()
    for _ in range(20):
        assert cache.find(("RS256", "old"))[0].kid == "old"
    assert 0.25 < time.monotonic() - started < 2
    release.set()


# Unchanged and withdrawn keys


def test_a_withdrawn_key_is_refused_from_the_next_refresh_on(bench: Bench) -> None:
    bench.warm()
    bench.server.publish(jwks(NEW))
    assert bench.find("old") == "old"
    bench.clock.advance(550)
    bench.find("old")
    bench.events.wait()
    unknown(lambda: bench.find("old"))


def test_an_equal_document_leaves_the_set_what_it_was(bench: Bench) -> None:
    bench.warm()
    before = bench.cache.current_keys()
    bench.clock.advance(550)
    bench.find("old")
    bench.events.wait()
    assert bench.cache.current_keys() is before
    bench.server.publish(jwks(OLD, NEW))
    bench.clock.advance(550)
    bench.find("old")
    bench.events.wait()
    assert bench.cache.current_keys() is not before


# Outages

FAULTS: dict[str, Answer] = {
    "500": document(b"oops", status=500),
    "html": document(b"<html>Sorry</html>"),
    "no keys": document(b'{"keys":null}'),
    "5 MB": document(b" " * 5_000_000),
    "redirect": document(b"", status=302, headers={"Location": "/elsewhere"}),
    "hang up": lambda handler: handler.wfile.close(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_good_keys_survive_every_fault(bench: Bench, fault: str) -> None:
    bench.warm()
    bench.server.break_keys(FAULTS[fault])
    bench.clock.advance(700)
    assert bench.find("old") == "old"
    bench.events.wait()
    assert bench.find("old") == "old"
    assert bench.events.recorded[-1] == "stale"
    assert any(line.startswith("failed: ") for line in bench.events.recorded)


@pytest.mark.parametrize("fault", FAULTS)
def test_without_any_keys_the_answer_is_503(server: KeyServer, fault: str) -> None:
    server.break_keys(FAULTS[fault])
    bench = Bench(server)
    assert unavailable(lambda: bench.find("old")) >= 1
    assert not bench.cache.is_ready()


def test_stale_keys_are_used_for_a_day_and_no_longer(bench: Bench) -> None:
    bench.warm()
    bench.server.break_keys(FAULTS["500"])
    bench.clock.advance(600 + 86_400 - 1)
    assert bench.find("old") == "old"
    bench.events.wait()
    bench.clock.advance(2)
    unavailable(lambda: bench.find("old"))


def test_stale_keys_can_be_turned_off(server: KeyServer) -> None:
    bench = Bench(server, stale_seconds=0)
    bench.warm()
    server.break_keys(FAULTS["500"])
    bench.clock.advance(599)
    assert bench.find("old") == "old"
    bench.events.wait()
    bench.clock.advance(2)
    unavailable(lambda: bench.find("old"))


def test_failed_fetches_back_off(server: KeyServer) -> None:
    server.break_keys(FAULTS["500"])
    bench = Bench(server)
    waits = []
    for _ in range(10):
        requests = server.key_requests
        waits.append(unavailable(lambda: bench.find("old")))
        assert server.key_requests == requests + 1
        for _ in range(5):  # nobody else asks before it is time
            unavailable(lambda: bench.find("old"))
        assert server.key_requests == requests + 1
        bench.clock.advance(waits[-1])
    assert waits[0] == 1
    assert all(15 <= wait <= 30 for wait in waits[6:])


def test_after_a_success_the_back_off_begins_anew(server: KeyServer) -> None:
    server.break_keys(FAULTS["500"])
    bench = Bench(server, stale_seconds=0)
    for _ in range(6):
        bench.clock.advance(unavailable(lambda: bench.find("old")))
    server.publish(jwks(OLD))
    assert bench.find("old") == "old"
    server.break_keys(FAULTS["500"])
    bench.clock.advance(601)
    assert unavailable(lambda: bench.find("old")) == 1


def test_it_recovers_by_itself(server: KeyServer) -> None:
    server.break_keys(FAULTS["500"])
    bench = Bench(server)
    seconds = unavailable(lambda: bench.find("old"))
    server.publish(jwks(OLD))
    bench.clock.advance(seconds)
    assert bench.find("old") == "old"
    assert bench.cache.is_ready()


def test_a_hanging_issuer_costs_one_wait_without_any_keys(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.auth.keys.key_cache.FETCH_SECONDS", 0.3)
    release = threading.Event()

    def hang(_url: str, _seconds: float) -> Fetched:
        release.wait()  # as a resolver does, which no limit of ours reaches
        raise FetchError("no answer")

    issuer = TrustedIssuer(identifier=server.issuer, audiences=("a",), jwks_url=server.jwks_url)
    cache = KeyCache(issuer, AuthConfig(issuers=(issuer,)), events=Events(), fetch=hang, monotonic=Clock())
    started = time.monotonic()
    for _ in range(20):
        assert unavailable(lambda: cache.find(("RS256", "old"))) == 1
    assert 0.25 < time.monotonic() - started < 2
    release.set()


def test_without_any_keys_one_request_waits_for_an_issuer_that_is_known_to_fail(server: KeyServer) -> None:
    server.break_keys(FAULTS["500"])
    bench = Bench(server)
    unavailable(lambda: bench.find("old"))
    bench.clock.advance(1)
    asked = server.hang_keys()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(bench.find, "old")
        assert asked.wait(10)
        started = time.monotonic()
        for _ in range(20):
            assert unavailable(lambda: bench.find("old")) == 1
        assert time.monotonic() - started < 1
        server.publish(jwks(OLD))
        server.released.set()
        unavailable(first.result)
    bench.clock.advance(2)
    assert bench.find("old") == "old"


def test_a_set_with_a_private_key_is_used_and_reported(server: KeyServer) -> None:
    server.publish(jwks(OLD, NEW.jwk(d="AQAB")))
    bench = Bench(server)
    bench.warm()
    assert unknown(lambda: bench.find("new")) is None
    assert bench.events.recorded[:2] == ["private key", "fetched 1"]


# Discovery


def test_discovers_the_key_set(server: KeyServer) -> None:
    assert Bench(server, discovery=True).find("old") == "old"


def test_falls_back_to_authorization_server_metadata(server: KeyServer) -> None:
    metadata = server.answers.pop("/.well-known/openid-configuration")
    server.answers["/.well-known/oauth-authorization-server"] = metadata
    assert Bench(server, discovery=True).find("old") == "old"


def test_discovery_is_read_again_with_the_keys(server: KeyServer) -> None:
    bench = Bench(server, discovery=True)
    bench.warm()
    moved = {"issuer": server.issuer, "jwks_uri": f"{server.origin}/moved.json"}
    server.answers["/.well-known/openid-configuration"] = document(json.dumps(moved).encode())
    server.answers["/moved.json"] = document(jwks(OLD, NEW))
    assert bench.find("new") == "new"


def test_metadata_of_another_issuer_is_refused(server: KeyServer) -> None:
    metadata = {"issuer": server.origin, "jwks_uri": server.jwks_url}  # without the trailing slash
    server.answers["/.well-known/openid-configuration"] = document(json.dumps(metadata).encode())
    bench = Bench(server, discovery=True)
    unavailable(lambda: bench.find("old"))
    assert server.key_requests == 0


# Threads and processes


def test_where_no_thread_can_be_started_the_next_try_comes_a_second_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    started = time.monotonic()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert unavailable(lambda: bench.find("old")) == 1
    assert time.monotonic() - started < 2
    assert bench.events.recorded == ["failed: no thread could be started"]
    bench.clock.advance(1)
    assert bench.find("old") == "old"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_exception_that_nobody_expected_is_a_failed_fetch(server: KeyServer) -> None:
    is_mended = threading.Event()

    def fetch(_url: str, _seconds: float) -> Fetched:
        if not is_mended.is_set():
            raise IndexError
        return Fetched(jwks(OLD), None)

    issuer = TrustedIssuer(identifier=server.issuer, audiences=("a",), jwks_url=server.jwks_url)
    clock, events = Clock(), Events()
    cache = KeyCache(issuer, AuthConfig(issuers=(issuer,)), events=events, fetch=fetch, monotonic=clock)
    assert unavailable(lambda: cache.find(("RS256", "old"))) == 1
    for thread in threading.enumerate():
        if thread.name == "jwks-fetch":
            thread.join(10)
    assert events.recorded == ["failed: an unexpected error"]
    is_mended.set()
    clock.advance(1)
    assert cache.find(("RS256", "old"))[0].kid == "old"


def test_a_fetch_does_not_keep_the_process_from_its_end(bench: Bench) -> None:
    asked = bench.server.hang_keys()
    bench.cache.start_due_fetch()
    assert asked.wait(10)
    assert [thread.daemon for thread in threading.enumerate() if thread.name == "jwks-fetch"] == [True]


def test_survives_a_fork_in_the_middle_of_a_fetch(bench: Bench) -> None:
    """The child must not wait for a fetch whose thread it does not have."""
    bench.warm()
    asked = bench.server.hang_keys()
    bench.clock.advance(550)
    bench.find("old")
    assert asked.wait(10)
    bench.server.publish(jwks(OLD, NEW))
    child = os.fork()
    if child == 0:
        # Report by the exit status: an exception would go on with the parent's test run in the child.
        try:
            os._exit(0 if bench.find("new") == "new" else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
