"""Used DPoP proofs in Redis: what is stored there, and what happens without it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from api.auth import ReplaysUnavailable
from api.settings import DPoPSettings, Settings
from api.shared.redis import SharedRedis
from api.shared.replays import SharedReplays
from tests.api.conftest import AppOf
from tests.kit.headers import header_of
from tests.kit.metrics import counted
from tests.kit.processes import free_port
from tests.kit.proofs import proof, thumbprint
from tests.kit.redis_server import RedisServer
from tests.kit.running_api import Bearer
from tests.kit.signing import ec_key

DEVICE = ec_key()
PUBLIC_URL = "https://api.example"


@pytest.mark.needs("redis-server")
def test_a_proof_is_new_once_for_all_processes(redis_server: RedisServer) -> None:
    one, other = (SharedReplays(SharedRedis(redis_server.url)) for _ in range(2))
    assert one.remember("key", "proof", 121)
    assert not other.remember("key", "proof", 121)
    assert not one.remember("key", "proof", 121)
    assert other.remember("key", "another", 121)
    assert one.remember("another", "proof", 121)
    with redis.Redis(port=redis_server.port) as client:
        names = {name.decode() for name in client.scan_iter()}
        assert names == {f"device-api:dpop:{pair}" for pair in ("key:proof", "key:another", "another:proof")}
        assert all(110 < client.ttl(name) <= 121 for name in names)


@pytest.mark.needs("redis-server")
def test_of_a_thousand_at_once_one_is_new(redis_server: RedisServer) -> None:
    several = [SharedReplays(SharedRedis(redis_server.url)) for _ in range(2)]

    def remember(number: int) -> bool:
        return several[number % 2].remember("key", "proof", 121)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(remember, range(1_000))) == 1


def test_without_redis_nothing_is_new() -> None:
    redis = SharedRedis(f"redis://127.0.0.1:{free_port()}/0")
    replays = SharedReplays(redis)
    for _ in range(2):  # the first finds out, the second knows
        with pytest.raises(ReplaysUnavailable) as caught:
            replays.remember("key", "proof", 121)
        assert caught.value.retry_after_seconds == 2
    assert not redis.is_up


@pytest.mark.needs("redis-server")
def test_a_redis_that_takes_no_writes_is_down(redis_server: RedisServer) -> None:
    shared = SharedRedis(redis_server.url)
    with redis.Redis(port=redis_server.port) as client:
        client.config_set("maxmemory", "1")
        try:
            with pytest.raises(ReplaysUnavailable):
                SharedReplays(shared).remember("key", "proof", 121)
        finally:
            client.config_set("maxmemory", "0")
    assert not shared.is_up


def call(client: FlaskClient, headers: dict[str, str]) -> Any:
    return client.get("/v1/me", headers=headers)


@pytest.mark.needs("redis-server")
def test_an_outage_of_redis_stops_proofs_and_no_other_tokens(
    settings: Settings, app_of: AppOf, bearer: Bearer, stoppable_redis: RedisServer
) -> None:
    dpop = DPoPSettings()
    settings = replace(settings, redis_url=stoppable_redis.url, public_url=PUBLIC_URL, dpop=dpop)
    client = app_of(settings).test_client()
    token = bearer(cnf={"jkt": thumbprint(DEVICE)})["Authorization"].removeprefix("Bearer ")

    def with_proof() -> dict[str, str]:
        return {"Authorization": f"DPoP {token}", "DPoP": proof(DEVICE, token, url=f"{PUBLIC_URL}/v1/me")}

    assert call(client, with_proof()).status_code == 200
    used = with_proof()
    assert [call(client, used).status_code for _ in range(2)] == [200, 401]
    missed = counted("api_redis_missed_total", use="replays")
    refused = counted("api_tokens_refused_total", reason="replays_unavailable")
    stoppable_redis.stop()
    answer = call(client, with_proof())
    assert (answer.status_code, answer.get_json()["error"]) == (503, "temporarily_unavailable")
    assert header_of(answer, "Retry-After") == "2"
    assert "WWW-Authenticate" not in answer.headers
    assert call(client, bearer()).status_code == 200
    assert counted("api_redis_missed_total", use="replays") == missed + 1
    assert counted("api_tokens_refused_total", reason="replays_unavailable") == refused + 1
