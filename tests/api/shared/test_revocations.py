import json
import os
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, replace
from typing import Any

import pytest
import redis
from click.testing import CliRunner
from flask import Flask

from api.auth import AccessToken, TrustedIssuer
from api.auth.claims import read_claims
from api.cli import main
from api.database.schema import upgrade
from api.problems.problem import Problem
from api.settings import Settings
from api.shared import revocations as revocations_module
from api.shared.redis import SharedRedis
from api.shared.revocations import Revocation, SharedRevocations
from tests.api.conftest import AppOf
from tests.kit.headers import header_of
from tests.kit.metrics import counted
from tests.kit.redis_server import RedisServer
from tests.kit.running_api import Bearer
from tests.kit.signing import AUDIENCE, claims

pytestmark = pytest.mark.needs("redis-server")

ISSUER = "https://issuer.example/"
NOW = 1_800_000_000.0


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def revocations(redis_server: RedisServer, clock: Clock) -> Iterator[SharedRevocations]:
    """Yield revocations; `refresh` makes added ones take effect."""
    shared = SharedRevocations(SharedRedis(redis_server.url), now=clock)
    yield shared
    shared.close()


def revocation(by: Any, value: str, *, issuer: str = ISSUER, at: float = NOW, seconds: float = 60) -> Revocation:
    return Revocation(issuer=issuer, by=by, value=value, revoked_at=at, kept_until=at + seconds)


def token(issuer: str = ISSUER, **changes: Any) -> AccessToken:
    trusted = TrustedIssuer(identifier=issuer, audiences=(AUDIENCE,), subject_required=False)
    return read_claims(claims(NOW, iss=issuer, **changes), b"{}", trusted)


def add(revocations: SharedRevocations, *several: Revocation) -> None:
    for one in several:
        revocations.add(one)
    revocations.refresh()


def test_nothing_is_revoked_at_first(revocations: SharedRevocations) -> None:
    assert not revocations.is_revoked(token())


def test_a_token_by_its_id(revocations: SharedRevocations) -> None:
    add(revocations, revocation("jti", "token-1"))
    assert revocations.is_revoked(token())
    assert not revocations.is_revoked(token(jti="token-2"))
    assert not revocations.is_revoked(token(jti=None))
    assert not revocations.is_revoked(token("https://other.example/"))
    assert not revocations.is_revoked(token(jti=None, sub="token-1"))


def test_a_subject_up_to_a_time(revocations: SharedRevocations) -> None:
    add(revocations, revocation("sub", "user-1", at=NOW + 10))
    assert revocations.is_revoked(token())
    assert revocations.is_revoked(token(jti=None))
    assert revocations.is_revoked(token(iat=NOW + 10))
    assert not revocations.is_revoked(token(iat=NOW + 11))
    assert revocations.is_revoked(token(iat=None))
    assert not revocations.is_revoked(token(sub="user-2"))
    assert not revocations.is_revoked(token("https://other.example/"))
    assert not revocations.is_revoked(token(sub="user-2", jti="user-1"))


def test_a_token_without_subject(revocations: SharedRevocations) -> None:
    add(revocations, revocation("sub", "user-1"), revocation("sub", "None"), revocation("jti", "token-2"))
    assert not revocations.is_revoked(token(sub=None))
    assert revocations.is_revoked(token(sub=None, jti="token-2"))


def test_the_later_of_two_revocations_of_a_subject_applies(revocations: SharedRevocations) -> None:
    add(revocations, revocation("sub", "user-1", at=NOW + 10), revocation("sub", "user-1", at=NOW - 10))
    assert revocations.is_revoked(token())


def test_it_is_deleted_at_kept_until(revocations: SharedRevocations, clock: Clock) -> None:
    add(revocations, revocation("jti", "token-1", seconds=60))
    clock.now += 61
    add(revocations, revocation("jti", "token-2", at=clock.now))
    assert not revocations.is_revoked(token())
    assert revocations.is_revoked(token(jti="token-2"))


def test_revocations_at_once_are_all_kept(revocations: SharedRevocations) -> None:
    several = [revocation("jti", f"t-{number}") for number in range(40)]
    # Not more: on a busy machine, many connections at once take longer than Redis's time limit.
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(revocations.add, several))
    add(revocations)
    assert all(revocations.is_revoked(token(jti=one.value)) for one in several)


# With outages

Shared = Callable[[], SharedRevocations]


@pytest.fixture
def shared(stoppable_redis: RedisServer, clock: Clock) -> Iterator[Shared]:
    made: list[SharedRevocations] = []

    def shared() -> SharedRevocations:
        made.append(SharedRevocations(SharedRedis(stoppable_redis.url), now=clock))
        return made[-1]

    yield shared
    for one in made:
        one.close()


def test_the_first_request_of_a_process_knows_what_was_revoked_before(shared: Shared) -> None:
    shared().add(revocation("jti", "token-1"))
    assert shared().is_revoked(token())


def test_another_process_knows_within_five_seconds(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    assert revocations_module.REFRESH_SECONDS < 4
    monkeypatch.setattr(revocations_module, "REFRESH_SECONDS", 0.05)
    one, other = shared(), shared()
    assert not other.is_revoked(token())
    one.add(revocation("jti", "token-1"))
    deadline = time.monotonic() + 5
    while not other.is_revoked(token()):
        assert time.monotonic() < deadline
        time.sleep(0.05)  # the thread refreshes in real time


@pytest.mark.parametrize("way", ["stop", "hang"])
def test_during_an_outage_the_snapshot_is_used_without_waiting(
    shared: Shared, stoppable_redis: RedisServer, way: str
) -> None:
    revocations = shared()
    revocations.add(revocation("jti", "token-1"))
    assert revocations.is_revoked(token())
    getattr(stoppable_redis, way)()
    revocations.refresh()
    started = time.perf_counter()
    for _ in range(1000):
        assert revocations.is_revoked(token())
        assert not revocations.is_revoked(token(jti="token-2"))
    assert time.perf_counter() - started < 1


def test_revocations_are_written_back_to_a_redis_that_restarted_empty(
    shared: Shared, stoppable_redis: RedisServer
) -> None:
    revocations = shared()
    revocations.add(revocation("jti", "token-1"))
    assert revocations.is_revoked(token())
    stoppable_redis.stop()
    stoppable_redis.start()
    revocations.refresh()
    assert revocations.is_revoked(token())
    assert shared().is_revoked(token())


def test_after_a_restart_two_processes_share_what_both_knew(shared: Shared, stoppable_redis: RedisServer) -> None:
    one, other = shared(), shared()
    one.add(revocation("jti", "token-1"))
    assert one.is_revoked(token())
    assert other.is_revoked(token())
    stoppable_redis.stop()
    stoppable_redis.start()
    shared().add(revocation("jti", "token-2"))
    one.refresh()
    other.refresh()
    one.refresh()
    for known in (one, other, shared()):
        assert known.is_revoked(token())
        assert known.is_revoked(token(jti="token-2"))


def test_revocations_written_back_hide_no_others(shared: Shared, stoppable_redis: RedisServer) -> None:
    revocations = shared()
    revocations.add(revocation("jti", "token-1", seconds=600))
    assert revocations.is_revoked(token())
    stoppable_redis.flush()
    revocations.refresh()
    with redis.Redis(port=stoppable_redis.port) as client:
        assert 590 < client.ttl("device-api:revocations") <= 600
    assert shared().is_revoked(token())


# Before the first reading


def assert_unread(revocations: SharedRevocations) -> None:
    """Fail unless no token can be judged, and the client is told so."""
    with pytest.raises(Problem) as caught:
        revocations.is_revoked(token())
    problem = caught.value
    assert (problem.status, problem.error) == (503, "temporarily_unavailable")
    assert problem.detail == "The list of revoked tokens could not be read yet."
    assert problem.headers == {"Retry-After": "2", "Cache-Control": "no-store"}


@pytest.mark.parametrize("way", ["stop", "hang"])
def test_a_process_that_starts_without_redis_judges_no_token_and_waits_only_once(
    shared: Shared, stoppable_redis: RedisServer, way: str
) -> None:
    getattr(stoppable_redis, way)()
    revocations = shared()
    started = time.perf_counter()
    assert_unread(revocations)
    assert time.perf_counter() - started < 1.5
    started = time.perf_counter()
    for _ in range(100):
        assert_unread(revocations)
        assert not revocations.is_ready()
    assert time.perf_counter() - started < 0.5


def test_requests_do_not_wait_in_turn_for_a_first_reading_that_takes_long(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, finish = threading.Event(), threading.Event()

    class SlowRedis(SharedRedis):
        """A Redis whose name takes long to resolve: no timeout of a socket ends that."""

        @property
        def client(self) -> redis.Redis:
            asked.set()
            assert finish.wait(30)
            raise redis.ConnectionError

        @client.setter
        def client(self, client: redis.Redis) -> None:
            pass

    monkeypatch.setattr(revocations_module, "_FIRST_REFRESH_SECONDS", 0.05)
    revocations = SharedRevocations(SlowRedis("redis://127.0.0.1:1/0"), now=clock)
    try:
        assert_unread(revocations)
        assert asked.is_set()
        started = time.perf_counter()
        for _ in range(40):
            assert_unread(revocations)
        assert time.perf_counter() - started < 1
    finally:
        finish.set()
        revocations.close()


def test_all_requests_that_come_during_the_first_reading_wait_for_it(
    shared: Shared, stoppable_redis: RedisServer, clock: Clock
) -> None:
    asked, finish = threading.Event(), threading.Event()

    class SlowRedis(SharedRedis):
        """A Redis that takes long to answer at first."""

        @property
        def client(self) -> redis.Redis:
            asked.set()
            assert finish.wait(30)
            return self._client

        @client.setter
        def client(self, client: redis.Redis) -> None:
            self._client = client

    shared().add(revocation("jti", "token-1"))
    revocations = SharedRevocations(SlowRedis(stoppable_redis.url), now=clock)
    try:
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(revocations.is_revoked, token())
            assert asked.wait(10)
            second = pool.submit(revocations.is_revoked, token())
            wait([second], timeout=0.1)  # whoever does not wait is done by then
            finish.set()
            assert first.result(10)
            assert second.result(10)
    finally:
        finish.set()
        revocations.close()


def test_requests_wait_for_the_first_reading_alone_and_for_a_second_at_most(
    shared: Shared, stoppable_redis: RedisServer
) -> None:
    revocations = shared()
    stoppable_redis.stop()
    before = time.monotonic()
    assert_unread(revocations)
    assert revocations._wait_until == pytest.approx(before + 1, abs=0.5)
    # A failed reading is one too: whoever comes later does not wait.
    assert revocations._refreshed.wait(10)


def test_after_close_nothing_is_read(shared: Shared) -> None:
    revocations = shared()
    revocations.close()
    assert_unread(revocations)
    assert revocations._thread is None


def test_after_close_what_was_read_still_counts(shared: Shared) -> None:
    revocations = shared()
    revocations.add(revocation("jti", "token-1"))
    assert revocations.is_revoked(token())
    revocations.close()
    assert revocations.is_revoked(token())
    assert not revocations.is_revoked(token(jti="token-2"))


def test_the_thread_does_not_keep_its_process_alive(shared: Shared) -> None:
    revocations = shared()
    assert revocations.is_ready()
    assert revocations._thread is not None
    assert revocations._thread.daemon


def test_without_another_duration_a_revocation_is_kept_for_a_day() -> None:
    # The longest lifetime of Auth0's tokens unless it is set higher.
    assert "[default: 86400;" in " ".join(CliRunner().invoke(main, ["revoke", "--help"]).stdout.split())


def test_a_refresh_that_fails_is_counted_as_one_of_the_revocations(
    shared: Shared, stoppable_redis: RedisServer
) -> None:
    revocations = shared()
    stoppable_redis.stop()
    before = counted("api_redis_missed_total", use="revocations")
    revocations.refresh()
    assert counted("api_redis_missed_total", use="revocations") == before + 1


def test_reading_that_nothing_is_revoked_is_reading(shared: Shared) -> None:
    revocations = shared()
    assert revocations.is_ready()
    assert not revocations.is_revoked(token())


def test_asking_whether_it_is_ready_starts_the_reading(
    shared: Shared, stoppable_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations_module, "REFRESH_SECONDS", 0.05)
    stoppable_redis.stop()
    revocations = shared()
    assert not revocations.is_ready()
    stoppable_redis.start()
    deadline = time.monotonic() + 5
    while not revocations.is_ready():
        assert time.monotonic() < deadline
        time.sleep(0.05)  # the thread refreshes in real time
    assert not revocations.is_revoked(token())


def test_a_redis_of_which_the_set_cannot_be_read_counts_as_never_read(
    shared: Shared, stoppable_redis: RedisServer
) -> None:
    with redis.Redis(port=stoppable_redis.port) as client:
        client.set("device-api:revocations", "something else")
        revocations = shared()
        assert_unread(revocations)
        assert not revocations.is_ready()
        client.delete("device-api:revocations")
    revocations.refresh()
    assert revocations.is_ready()


@pytest.mark.parametrize(
    "answer",
    [b"-NOAUTH Authentication required.\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$x\r\n", b":1\r\n", b""],
    ids=["error", "http", "no number", "wrong type", "nothing"],
)
def test_a_server_that_is_no_usable_redis_counts_as_never_read(clock: Clock, answer: bytes) -> None:
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(4096):
                self.request.sendall(answer * 9)
                if not answer:
                    return

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        revocations = SharedRevocations(SharedRedis(f"redis://127.0.0.1:{server.server_address[1]}/0"), now=clock)
        try:
            assert_unread(revocations)
            assert not revocations.is_ready()
            thread = revocations._thread
            assert thread is not None
            assert thread.is_alive()  # it will try again
        finally:
            revocations.close()
            server.shutdown()


@pytest.mark.parametrize("answer", [b":1\r\n", b"*1\r\n:1\r\n"], ids=["number", "numbers"])
def test_a_set_of_another_type_than_redis_sends_counts_as_never_read(clock: Clock, answer: bytes) -> None:
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                if line.strip().isalpha():  # a command or an argument of letters alone
                    is_read = line.strip().upper() == b"ZRANGEBYSCORE"
                    is_version = line.strip().upper() == b"GET"
                    is_setup = line.strip().upper() in {b"HELLO", b"CLIENT", b"SELECT"}
                    if is_read or is_version or is_setup:
                        self.wfile.write(answer if is_read else b"$1\r\n1\r\n" if is_version else b"+OK\r\n")

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        redis_url = f"redis://127.0.0.1:{server.server_address[1]}/0?protocol=2"
        revocations = SharedRevocations(SharedRedis(redis_url), now=clock)
        try:
            revocations.refresh()  # raises nothing: the thread would die of it
            assert not revocations._redis.is_up
            assert_unread(revocations)
        finally:
            revocations.close()
            server.shutdown()


def test_a_url_that_asks_for_texts_hides_no_revocation(
    shared: Shared, stoppable_redis: RedisServer, clock: Clock
) -> None:
    shared().add(revocation("jti", "token-1"))
    other = SharedRevocations(SharedRedis(f"{stoppable_redis.url}?decode_responses=true"), now=clock)
    assert other.is_revoked(token())
    other.close()


# Redis deletes them


def seconds_left(server: RedisServer) -> tuple[int, int]:
    with redis.Redis(port=server.port) as client:
        return client.ttl("device-api:revocations"), client.ttl("device-api:revocations:version")


def test_redis_deletes_them_when_the_last_one_ends(
    revocations: SharedRevocations, redis_server: RedisServer, clock: Clock
) -> None:
    revocations.add(revocation("jti", "token-1", seconds=600))
    assert all(595 < seconds <= 600 for seconds in seconds_left(redis_server))
    revocations.add(revocation("jti", "token-2", seconds=5000.5))
    assert all(4996 < seconds <= 5001 for seconds in seconds_left(redis_server))
    revocations.add(revocation("jti", "token-3", seconds=60))
    assert all(4996 < seconds <= 5001 for seconds in seconds_left(redis_server))
    clock.now += 1000
    revocations.add(revocation("jti", "token-4", at=clock.now, seconds=60))
    assert all(3996 < seconds <= 4001 for seconds in seconds_left(redis_server))
    with redis.Redis(port=redis_server.port) as client:
        assert client.zcard("device-api:revocations") == 2


def test_an_end_that_redis_cannot_hold_prevents_no_revocation(
    revocations: SharedRevocations, redis_server: RedisServer
) -> None:
    with redis.Redis(port=redis_server.port) as client:
        client.zadd("device-api:revocations", {b"garbage": float("inf")})
    add(revocations, revocation("jti", "token-1"))
    assert revocations.is_revoked(token())
    assert all(seconds > 60 for seconds in seconds_left(redis_server))


def test_a_set_without_an_end_gets_that_of_its_last_revocation(
    revocations: SharedRevocations, redis_server: RedisServer
) -> None:
    # As a process of an older version stores them.
    with redis.Redis(port=redis_server.port) as client:
        client.zadd("device-api:revocations", {json.dumps(asdict(revocation("jti", "token-1"))): NOW + 900})
    revocations.add(revocation("jti", "token-2", seconds=60))
    assert all(895 < seconds <= 900 for seconds in seconds_left(redis_server))


@pytest.mark.parametrize(
    "entry",
    [
        b"garbage",
        b'{"a": 1}',
        b"\xff",
        b"[" * 100_000,
        *(
            json.dumps({**asdict(revocation("sub", "user-2")), name: wrong}).encode()
            for name, wrong in (("issuer", 1), ("by", "x"), ("by", []), ("value", ["x"]), ("revoked_at", "soon"))
        ),
        json.dumps({**asdict(revocation("sub", "user-2")), "kept_until": None}).encode(),
    ],
    ids=range(10),
)
def test_an_invalid_entry_is_ignored(shared: Shared, stoppable_redis: RedisServer, entry: bytes) -> None:
    shared().add(revocation("jti", "token-1"))
    with redis.Redis(port=stoppable_redis.port) as client:
        client.zadd("device-api:revocations", {entry: NOW + 60})
    assert shared().is_revoked(token())


def test_a_forked_process_refreshes_its_own_snapshot(shared: Shared) -> None:
    revocations = shared()
    assert not revocations.is_revoked(token())
    revocations.add(revocation("jti", "token-1"))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"1" if revocations.is_revoked(token()) else b"0")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 1) == b"1"
    os.close(reading)
    os.close(writing)


def test_a_forked_process_reads_for_itself(shared: Shared, stoppable_redis: RedisServer) -> None:
    revocations = shared()
    assert not revocations.is_revoked(token())
    stoppable_redis.stop()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            assert_unread(revocations)
            os.write(writing, b"0" if revocations.is_ready() else b"1")
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    assert os.read(reading, 1) == b"1"
    os.close(reading)
    assert revocations.is_ready()


# Over HTTP


def refused(app: Flask, headers: dict[str, str]) -> None:
    response = app.test_client().get("/v1/me", headers=headers)
    assert response.status_code == 401
    assert 'error="invalid_token"' in header_of(response, "WWW-Authenticate")
    assert response.get_json()["error"] == "invalid_token"
    assert response.get_json()["detail"] == "The access token has been revoked."


def test_a_revoked_token_is_refused_cached_or_not(
    settings: Settings, app_of: AppOf, bearer: Bearer, redis_server: RedisServer
) -> None:
    app = app_of(replace(settings, redis_url=redis_server.url))
    headers, by_subject = bearer(jti="a"), bearer(jti=None, sub="user-9")
    for known in (headers, by_subject):
        assert app.test_client().get("/v1/me", headers=known).status_code == 200
    issuer, now = settings.auth.issuers[0].identifier, time.time()
    revocations = app.extensions["revocations"]
    add(
        revocations,
        revocation("jti", "a", issuer=issuer, at=now),
        revocation("jti", "b", issuer=issuer, at=now),
        revocation("sub", "user-9", issuer=issuer, at=now),
    )
    refused(app, headers)
    refused(app, by_subject)
    refused(app, bearer(jti="b"))
    assert app.test_client().get("/v1/me", headers=bearer(jti="c")).status_code == 200


def readiness(app: Flask) -> tuple[int, str, str | None]:
    response = app.test_client().get("/readyz")
    body = response.get_json()
    return response.status_code, body["checks"]["revocations"], body.get("detail")


def refusals(app: Flask) -> float:
    text = app.test_client().get("/metrics").get_data(as_text=True)
    series = 'api_tokens_refused_total{reason="revocations_unread"} '
    return sum(float(line.removeprefix(series)) for line in text.splitlines() if line.startswith(series))


READY = (200, "ok", None)
NOT_READY = (503, "failed", "Not ready: the revoked tokens have not been read from Redis.")


def test_no_token_is_accepted_until_the_revocations_were_read_once(
    settings: Settings,
    app_of: AppOf,
    bearer: Bearer,
    stoppable_redis: RedisServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    upgrade(settings.database_url)
    issuer, now = settings.auth.issuers[0].identifier, time.time()
    other = SharedRevocations(SharedRedis(stoppable_redis.url))
    other.add(revocation("jti", "revoked", issuer=issuer, at=now))
    other.close()
    stoppable_redis.hang()
    app = app_of(replace(settings, redis_url=stoppable_redis.url))
    revoked, good = bearer(jti="revoked"), bearer(jti="good")
    before = refusals(app)
    for headers in (revoked, good, revoked):
        response = app.test_client().get("/v1/me", headers=headers)
        assert response.status_code == 503
        assert response.content_type == "application/problem+json"
        assert response.headers.get("Retry-After") == "2"
        assert response.headers.get("Cache-Control") == "no-store"
        assert "WWW-Authenticate" not in response.headers
        body = response.get_json()
        assert (body["error"], body["type"]) == ("temporarily_unavailable", "/problems/temporarily-unavailable")
        assert body["detail"] == "The list of revoked tokens could not be read yet."
    assert refusals(app) - before == 3
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["auth_refused"] for line in lines if line.get("status") == 503] == ["revocations_unread"] * 3
    assert readiness(app) == NOT_READY
    # What is wrong with the request itself, or with its token, is told as ever.
    assert app.test_client().get("/v1/me").status_code == 401
    assert app.test_client().get("/v1/me", headers=bearer(exp=1)).status_code == 401
    assert app.test_client().get("/livez").status_code == 200

    stoppable_redis.resume()
    deadline = time.monotonic() + 5
    while readiness(app) != READY:
        assert time.monotonic() < deadline
        time.sleep(0.05)  # the thread refreshes in real time
    refused(app, revoked)
    assert app.test_client().get("/v1/me", headers=good).status_code == 200

    stoppable_redis.stop()
    app.extensions["revocations"].refresh()
    refused(app, revoked)
    assert app.test_client().get("/v1/me", headers=good).status_code == 200
    assert readiness(app) == READY
