"""A key set without a usable key is an answer, which a second fetch has to confirm."""

import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from api.auth.events import AuthEvents
from tests.api.auth.keys.bench import NEW, OLD, Bench, unavailable, unknown
from tests.kit.key_server import KeyServer, document
from tests.kit.signing import ec_key, jwks

EMPTY = {"empty": b'{"keys":[]}', "null": b'{"keys":[null]}', "another kind": jwks(ec_key())}
ISSUER = "https://issuer.example/"


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with KeyServer() as server:
        server.publish(jwks(OLD))
        yield server


@pytest.fixture
def bench(server: KeyServer) -> Bench:
    """Return a cache that has keys, and has just seen a set without any."""
    bench = Bench(server)
    bench.warm()
    server.publish(EMPTY["empty"])
    bench.clock.advance(550)
    assert bench.find("old") == "old"
    bench.events.wait()
    return bench


@pytest.mark.parametrize("empty", EMPTY)
def test_it_is_believed_once_a_second_fetch_says_the_same(server: KeyServer, empty: str) -> None:
    bench = Bench(server)
    bench.warm()
    server.publish(EMPTY[empty])
    bench.clock.advance(550)
    assert bench.find("old") == "old"
    bench.events.wait()
    bench.clock.advance(29.9)
    assert bench.find("old") == "old"
    assert server.key_requests == 2
    bench.clock.advance(0.2)
    assert bench.find("old") == "old"  # starts the second fetch, and does not wait for it
    bench.events.wait()
    assert unknown(lambda: bench.find("old")) is None
    bench.events.wait()
    assert bench.events.recorded == [
        *("fetched 1", "unconfirmed", "fetched 0", "confirmed", "fetched 0"),
        *("confirmed", "fetched 0"),  # for the unknown key id
    ]


def test_a_confirmed_set_without_any_key_is_the_current_one(bench: Bench) -> None:
    old_keys = bench.cache.current_keys()
    assert old_keys is not None
    bench.clock.advance(30)
    assert bench.cache.current_keys() is None  # the second fetch is due
    assert bench.find("old") == "old"
    bench.events.wait()
    keys = bench.cache.current_keys()
    assert keys is not None
    assert len(keys) == 0


def test_fetches_for_unknown_key_ids_confirm_nothing_too_early(bench: Bench) -> None:
    for _ in range(2):
        bench.clock.advance(10)
        assert unknown(lambda: bench.find("made-up")) == 10
        bench.events.wait()
    assert bench.find("old") == "old"
    assert bench.server.key_requests == 4


def test_a_usable_set_in_between_begins_anew(bench: Bench) -> None:
    bench.clock.advance(15)
    bench.server.publish(jwks(OLD))
    unknown(lambda: bench.find("made-up"))
    bench.events.wait()
    bench.server.publish(EMPTY["empty"])
    bench.clock.advance(20)
    unknown(lambda: bench.find("made-up"))
    bench.events.wait()
    assert bench.events.recorded[-2:] == ["unconfirmed", "fetched 0"]
    assert bench.find("old") == "old"


def test_an_outage_in_between_confirms_nothing_and_forgets_nothing(bench: Bench) -> None:
    bench.server.break_keys(document(b"", status=500))
    bench.clock.advance(30)
    assert bench.find("old") == "old"
    bench.events.wait()
    assert bench.find("old") == "old"
    bench.server.publish(EMPTY["empty"])
    bench.clock.advance(30)
    assert bench.find("old") == "old"
    bench.events.wait()
    unknown(lambda: bench.find("old"))


def test_right_after_an_outage_it_is_believed_as_soon(server: KeyServer) -> None:
    bench = Bench(server)
    bench.warm()
    server.break_keys(document(b"", status=500))
    bench.clock.advance(601)
    assert bench.find("old") == "old"
    bench.events.wait()
    server.publish(EMPTY["empty"])
    bench.clock.advance(1)
    assert bench.find("old") == "old"
    bench.events.wait()
    bench.clock.advance(30)
    # The issuer answers again, so the request waits for the second fetch.
    assert unknown(lambda: bench.find("old")) is None


def test_the_old_keys_serve_until_then_though_stale_keys_are_turned_off(server: KeyServer) -> None:
    server.publish(jwks(OLD), cache_control="max-age=60")
    bench = Bench(server, stale_seconds=0)
    bench.warm()
    server.publish(EMPTY["empty"])
    bench.clock.advance(55)
    assert bench.find("old") == "old"
    bench.events.wait()
    bench.clock.advance(29)
    assert bench.find("old") == "old"
    bench.clock.advance(1)
    unknown(lambda: bench.find("old"))


def test_keys_that_come_back_are_found(bench: Bench) -> None:
    bench.clock.advance(30)
    bench.find("old")
    bench.events.wait()
    bench.server.publish(jwks(NEW))
    assert bench.find("new") == "new"


@pytest.mark.parametrize("empty", EMPTY)
def test_the_first_set_of_all_is_unavailable_until_it_is_confirmed(server: KeyServer, empty: str) -> None:
    server.publish(EMPTY[empty])
    bench = Bench(server)
    assert unavailable(lambda: bench.find("old")) == 1
    assert not bench.cache.is_ready()
    bench.clock.advance(29.9)
    assert unavailable(lambda: bench.find("old")) == 1
    bench.clock.advance(0.1)
    assert unknown(lambda: bench.find("old")) is None
    assert bench.cache.is_ready()
    assert server.key_requests == 3


def test_the_time_to_wait_is_a_second_at_least(server: KeyServer) -> None:
    server.publish(EMPTY["empty"])
    bench = Bench(server)
    unavailable(lambda: bench.find("old"))
    bench.clock.advance(29.9)

    def answer_late(handler: BaseHTTPRequestHandler) -> None:
        bench.clock.advance(1)  # the time of the second fetch comes during this one
        document(EMPTY["empty"])(handler)

    server.break_keys(answer_late)
    assert unavailable(lambda: bench.find("old")) == 1


def test_a_usable_set_after_an_empty_first_one_is_found_soon(server: KeyServer) -> None:
    server.publish(EMPTY["empty"])
    bench = Bench(server)
    seconds = unavailable(lambda: bench.find("old"))
    server.publish(jwks(OLD))
    bench.clock.advance(seconds)
    assert bench.find("old") == "old"


def test_expired_keys_are_not_used_until_it_is_confirmed(server: KeyServer) -> None:
    bench = Bench(server)
    bench.warm()
    server.publish(EMPTY["empty"])
    bench.clock.advance(600 + 86_400)
    unavailable(lambda: bench.find("old"))
    bench.clock.advance(29)
    unavailable(lambda: bench.find("old"))
    bench.clock.advance(1)
    unknown(lambda: bench.find("old"))


def test_by_default_the_log_tells_it(caplog: pytest.LogCaptureFixture) -> None:
    events = AuthEvents()
    events.key_set_unusable(ISSUER, confirmed=False)
    events.key_set_unusable(ISSUER, confirmed=True)
    events.private_key_published(ISSUER)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 3
    assert all(ISSUER in record.getMessage() for record in caplog.records)
    unconfirmed, confirmed, _ = (record.getMessage() for record in caplog.records)
    assert unconfirmed.endswith("a second fetch will have to say the same")
    assert confirmed.endswith("its tokens are refused")
    assert {record.name for record in caplog.records} == {"api.auth"}
