import functools
import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from api.auth.config import AuthConfig, TrustedIssuer
from api.auth.errors import InvalidToken, KeysUnavailable, Reason
from api.auth.events import AuthEvents
from api.auth.keys.key_cache import KeyCache
from tests.kit.key_server import Answer, KeyServer, document
from tests.kit.signing import ec_key, jwks, rsa_key

OLD, NEW = rsa_key(0, "old"), rsa_key(1, "new")


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


class Events(AuthEvents):
    """Records the callbacks; `finished` is released at the end of each fetch."""

    def __init__(self) -> None:
        self.recorded: list[str] = []
        self.finished = threading.Semaphore(0)

    def keys_fetched(self, issuer: str, key_count: int) -> None:
        self.recorded.append(f"fetched {key_count}")
        self.finished.release()

    def keys_fetch_failed(self, issuer: str, cause: str) -> None:
        self.recorded.append(f"failed: {cause}")
        self.finished.release()

    def stale_keys_used(self, issuer: str) -> None:
        self.recorded.append("stale")

    def wait(self) -> None:
        assert self.finished.acquire(timeout=10), "no fetch finished"


class Bench:
    """A KeyCache that fetches from a live server, with a clock and recorded callbacks."""

    def __init__(self, server: KeyServer, *, discovery: bool = False, **config: Any) -> None:
        self.server = server
        self.clock = Clock()
        self.events = Events()
        issuer = TrustedIssuer(
            identifier=server.issuer, audiences=("a",), jwks_url=None if discovery else server.jwks_url
        )
        self.cache = KeyCache(issuer, AuthConfig(issuers=(issuer,), **config), events=self.events, monotonic=self.clock)

    def find(self, kid: str) -> str | None:
        return self.cache.find(("RS256", kid))[0].kid

    def warm(self) -> None:
        assert self.find("old") == "old"
        self.events.wait()


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with KeyServer() as server:
        server.publish(jwks(OLD))
        yield server


@pytest.fixture
def bench(server: KeyServer) -> Bench:
    return Bench(server)


def unavailable(find: Callable[[], object]) -> int:
    with pytest.raises(KeysUnavailable) as caught:
        find()
    assert caught.value.retry_after_seconds is not None
    return caught.value.retry_after_seconds


def unknown(find: Callable[[], object]) -> None:
    with pytest.raises(InvalidToken) as caught:
        find()
    assert caught.value.reason is Reason.KEY_UNKNOWN


def test_fetches_on_first_use_and_not_before(bench: Bench) -> None:
    assert bench.server.key_requests == 0
    bench.warm()
    assert bench.find("old") == "old"
    assert bench.server.key_requests == 1
    assert bench.events.recorded == ["fetched 1"]


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
    for _ in range(20):
        bench.clock.advance(600)
        assert bench.find("old") == "old"
    assert asked.wait(10)
    assert bench.server.key_requests == 2


def test_a_known_key_id_does_not_wait_for_those_who_look_for_unknown_ones(bench: Bench) -> None:
    bench.warm()
    asked = bench.server.hang_keys()
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(unavailable, lambda: bench.find("unknown")) for _ in range(4)]
        assert asked.wait(10)
        assert bench.find("old") == "old"
        assert not any(future.done() for future in waiting)
        bench.server.released.set()
        for future in waiting:
            assert future.result() >= 1


# Rotation and unknown key ids


def test_a_new_key_is_found_at_once(bench: Bench) -> None:
    bench.warm()
    bench.server.publish(jwks(OLD, NEW))
    assert bench.find("new") == "new"
    assert bench.find("old") == "old"


def test_a_rotation_right_after_a_scheduled_fetch_is_seen_at_once(bench: Bench) -> None:
    bench.warm()
    bench.clock.advance(550)
    bench.find("old")
    bench.events.wait()
    bench.server.publish(jwks(NEW))
    assert bench.find("new") == "new"


def test_sixty_unknown_key_ids_cause_one_fetch(bench: Bench) -> None:
    bench.warm()
    with ThreadPoolExecutor(12) as pool:
        finds = [functools.partial(bench.find, f"made-up-{number}") for number in range(60)]
        for future in [pool.submit(unknown, find) for find in finds]:
            future.result()
    assert bench.server.key_requests == 2


def test_unknown_key_ids_cause_one_fetch_in_ten_seconds(bench: Bench) -> None:
    bench.warm()
    unknown(lambda: bench.find("a"))
    bench.clock.advance(9.9)
    unknown(lambda: bench.find("b"))
    assert bench.server.key_requests == 2
    bench.server.publish(jwks(OLD, NEW))
    bench.clock.advance(0.2)
    assert bench.find("new") == "new"
    assert bench.server.key_requests == 3


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
    before = bench.cache.usable_keys()
    bench.clock.advance(550)
    bench.find("old")
    bench.events.wait()
    assert bench.cache.usable_keys() is before
    bench.server.publish(jwks(OLD, NEW))
    bench.clock.advance(550)
    bench.find("old")
    bench.events.wait()
    assert bench.cache.usable_keys() is not before


# Outages

FAULTS: dict[str, Answer] = {
    "500": document(b"oops", status=500),
    "html": document(b"<html>Sorry</html>"),
    "empty set": document(b'{"keys":[]}'),
    "no usable key": document(jwks(ec_key())),
    "null": document(b'{"keys":[null]}'),
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


def test_an_unknown_key_id_is_not_refused_while_its_key_cannot_be_looked_for(bench: Bench) -> None:
    bench.warm()
    bench.server.break_keys(FAULTS["500"])
    unavailable(lambda: bench.find("new"))
    unavailable(lambda: bench.find("new"))
    assert bench.server.key_requests == 2
    bench.server.publish(jwks(OLD, NEW))
    bench.clock.advance(10)
    assert bench.find("new") == "new"


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


def test_it_recovers_by_itself(server: KeyServer) -> None:
    server.break_keys(FAULTS["500"])
    bench = Bench(server)
    seconds = unavailable(lambda: bench.find("old"))
    server.publish(jwks(OLD))
    bench.clock.advance(seconds)
    assert bench.find("old") == "old"
    assert bench.cache.is_ready()


def test_a_hung_fetch_keeps_nobody_for_longer_than_the_limit(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.auth.keys.key_cache.FETCH_SECONDS", 0.2)
    release = threading.Event()

    def hang(_url: str, _seconds: float) -> Any:
        release.wait()  # as a resolver does, which no limit of ours reaches
        raise AssertionError("nobody waits for this any more")

    issuer = TrustedIssuer(identifier=server.issuer, audiences=("a",), jwks_url=server.jwks_url)
    cache = KeyCache(issuer, AuthConfig(issuers=(issuer,)), events=AuthEvents(), fetch=hang, monotonic=Clock())
    unavailable(lambda: cache.find(("RS256", "old")))
    unavailable(lambda: cache.find(("RS256", "old")))


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


# Processes


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
