import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest
import redis
from flask import Flask

from api.auth import AccessToken
from api.auth.claims import read_claims
from api.settings import Settings
from api.shared import revocations as revocations_module
from api.shared.redis import SharedRedis
from api.shared.revocations import Revocation, SharedRevocations
from tests.api.conftest import AppOf
from tests.kit.headers import header_of
from tests.kit.redis_server import RedisServer
from tests.kit.running_api import Bearer
from tests.kit.signing import claims

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
    return read_claims(claims(NOW, iss=issuer, **changes), b"{}", issuer, ("scope",))


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
    threads = [threading.Thread(target=revocations.add, args=(one,)) for one in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
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


def test_a_process_that_starts_without_redis_does_not_wait_twice(shared: Shared, stoppable_redis: RedisServer) -> None:
    stoppable_redis.hang()
    revocations = shared()
    started = time.perf_counter()
    assert not revocations.is_revoked(token())
    assert time.perf_counter() - started < 1.5
    started = time.perf_counter()
    assert not revocations.is_revoked(token())
    assert time.perf_counter() - started < 0.1


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
