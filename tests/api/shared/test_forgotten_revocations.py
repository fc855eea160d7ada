"""Revocations do not stay for ever: neither in Redis, nor in the memory of a process."""

import json
from collections.abc import Iterator

import pytest
import redis

from api.shared.redis import SharedRedis
from api.shared.revocations import Revocation, SharedRevocations
from tests.kit.redis_server import RedisServer

pytestmark = pytest.mark.needs("redis-server")

NOW = 1_800_000_000.0
KEY = "device-api:revocations"


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def revocations(redis_server: RedisServer, clock: Clock) -> Iterator[SharedRevocations]:
    shared = SharedRevocations(SharedRedis(redis_server.url), now=clock)
    yield shared
    shared.close()


def revoke(revocations: SharedRevocations, name: str, kept_until: float) -> None:
    revocations.add(
        Revocation(issuer="https://issuer.example/", by="jti", value=name, revoked_at=NOW, kept_until=kept_until)
    )


def stored(server: RedisServer) -> dict[str, float]:
    """Return the token ids in Redis with the times at which they may be deleted."""
    with redis.Redis(port=server.port) as client:
        return {json.loads(entry)["value"]: score for entry, score in client.zrange(KEY, 0, -1, withscores=True)}


def held(revocations: SharedRevocations) -> set[str]:
    """Return the token ids in the memory of this process."""
    snapshot = revocations._snapshot
    return {one.value for one in snapshot.revocations} if snapshot else set()


def test_a_write_deletes_what_has_reached_kept_until(
    redis_server: RedisServer, revocations: SharedRevocations, clock: Clock
) -> None:
    revoke(revocations, "first", NOW + 60)
    revoke(revocations, "second", NOW + 61)
    clock.now = NOW + 59
    revoke(revocations, "third", NOW + 120)
    assert stored(redis_server) == {"first": NOW + 60, "second": NOW + 61, "third": NOW + 120}
    clock.now = NOW + 60
    revoke(revocations, "fourth", NOW + 120)
    assert stored(redis_server) == {"second": NOW + 61, "third": NOW + 120, "fourth": NOW + 120}


def test_a_revocation_that_is_over_when_it_comes_is_not_stored(
    redis_server: RedisServer, revocations: SharedRevocations
) -> None:
    revoke(revocations, "late", NOW)
    assert stored(redis_server) == {}


def test_a_refresh_forgets_what_has_reached_kept_until(
    redis_server: RedisServer, revocations: SharedRevocations, clock: Clock
) -> None:
    revoke(revocations, "first", NOW + 60)
    revoke(revocations, "second", NOW + 61)
    revocations.refresh()
    assert held(revocations) == {"first", "second"}
    clock.now = NOW + 60
    revoke(revocations, "third", NOW + 120)
    revocations.refresh()
    assert held(revocations) == {"second", "third"}


def test_only_what_still_counts_is_written_back_to_an_empty_redis(
    redis_server: RedisServer, revocations: SharedRevocations, clock: Clock
) -> None:
    revoke(revocations, "first", NOW + 60)
    revoke(revocations, "second", NOW + 61)
    revocations.refresh()
    redis_server.flush()
    clock.now = NOW + 60
    revocations.refresh()
    assert stored(redis_server) == {"second": NOW + 61}
    redis_server.flush()
    clock.now = NOW + 61
    revocations.refresh()
    with redis.Redis(port=redis_server.port) as client:
        assert client.keys() == []  # nothing was written at all
