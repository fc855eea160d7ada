"""What is in Redis, and for how long: revocations do not stay for ever, there or in the memory of a process."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

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


def revocation(name: str, kept_until: float) -> Revocation:
    return Revocation(issuer="https://issuer.example/", by="jti", value=name, revoked_at=NOW, kept_until=kept_until)


def revoke(revocations: SharedRevocations, name: str, kept_until: float) -> None:
    revocations.add(revocation(name, kept_until))


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
    assert revocations._redis.is_up


def test_what_could_not_be_written_back_is_written_later(
    redis_server: RedisServer, revocations: SharedRevocations
) -> None:
    revoke(revocations, "first", NOW + 60)
    revocations.refresh()
    redis_server.flush()
    with redis.Redis(port=redis_server.port) as client:
        client.config_set("min-replicas-to-write", 1)  # it has none: it refuses every write
        try:
            revocations.refresh()
            assert stored(redis_server) == {}
            assert not revocations._redis.is_up
        finally:
            client.config_set("min-replicas-to-write", 0)
    revocations.refresh()
    assert stored(redis_server) == {"first": NOW + 60}
    assert revocations._redis.is_up


def test_the_set_is_read_only_after_a_change(redis_server: RedisServer, revocations: SharedRevocations) -> None:
    def reads() -> int:
        with redis.Redis(port=redis_server.port) as client:
            statistics: dict[str, Any] = client.info("commandstats")
        return int(statistics.get("cmdstat_zrangebyscore", {"calls": 0})["calls"])

    revocations.refresh()
    for name in ("first", "second"):
        before = reads()
        for _ in range(3):
            revocations.refresh()
        assert reads() == before
        revoke(revocations, name, NOW + 60)
        for _ in range(3):
            revocations.refresh()
        assert reads() == before + 1


def put(server: RedisServer, entry: dict[str, Any]) -> None:
    with redis.Redis(port=server.port) as client:
        client.zadd(KEY, {json.dumps(entry): NOW + 60})


NO_TEXTS: list[Any] = [5, None, True, [], {}, ["text"]]


@pytest.mark.parametrize(
    ("member", "wrong"), [("by", "aud"), *((name, one) for name in ("issuer", "by", "value") for one in NO_TEXTS)]
)
def test_an_entry_with_a_text_of_another_type_is_ignored(
    redis_server: RedisServer, revocations: SharedRevocations, member: str, wrong: Any
) -> None:
    revoke(revocations, "first", NOW + 60)
    put(redis_server, asdict(revocation("second", NOW + 60)) | {member: wrong})
    revocations.refresh()
    assert held(revocations) == {"first"}


@pytest.mark.parametrize("wrong", ["5", None, True, [], {}])
@pytest.mark.parametrize("member", ["revoked_at", "kept_until"])
def test_an_entry_with_a_time_of_another_type_is_ignored(
    redis_server: RedisServer, revocations: SharedRevocations, member: str, wrong: Any
) -> None:
    revoke(revocations, "first", NOW + 60)
    put(redis_server, asdict(revocation("second", NOW + 60)) | {member: wrong})
    revocations.refresh()
    assert held(revocations) == {"first"}


def test_a_time_may_be_an_integer(redis_server: RedisServer, revocations: SharedRevocations) -> None:
    revoke(revocations, "first", NOW + 60)
    put(redis_server, asdict(revocation("second", NOW)) | {"revoked_at": int(NOW), "kept_until": int(NOW) + 60})
    revocations.refresh()
    assert held(revocations) == {"first", "second"}
