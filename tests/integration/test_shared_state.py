"""Two API processes on one Redis and one PostgreSQL: rate limits and revocations hold for both."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import requests

from tests.kit.databases import postgresql_schema
from tests.kit.key_server import KeyServer
from tests.kit.processes import ROOT, environment, running_api
from tests.kit.redis_server import RedisServer
from tests.kit.signing import AUDIENCE, claims, jwks, rsa_key

# Slow by nature: each process reads new revocations every two seconds.
pytestmark = [pytest.mark.slow, pytest.mark.needs("postgresql"), pytest.mark.needs("redis-server")]

KEY = rsa_key(0, "key-1")
LIMIT = 6
DEADLINE_SECONDS = 5


@dataclass(frozen=True)
class Servers:
    """Two processes that serve the API, and what they share."""

    issuer: str
    redis: RedisServer
    urls: tuple[str, str]

    def token(self, subject: str, token_id: str | None = None) -> str:
        return KEY.sign(claims(iss=self.issuer, sub=subject, jti=token_id))

    def statuses(self, token: str, count: int = 2) -> list[int]:
        """Send requests to the two in turn, each over a connection of its own."""
        headers = {"Authorization": f"Bearer {token}"}
        return [
            requests.get(f"{self.urls[number % 2]}/v1/devices", headers=headers, timeout=10).status_code
            for number in range(count)
        ]

    def revoke(self, *arguments: str) -> None:
        variables = environment({"API_ISSUERS": self.issuer, "API_AUDIENCE": AUDIENCE, "API_REDIS_URL": self.redis.url})
        command = [sys.executable, "-m", "api", "revoke", *arguments]
        subprocess.run(command, cwd=ROOT, env=variables, check=True, capture_output=True, timeout=30)

    def missed(self, use: str) -> float:
        series = re.compile(rf'^api_redis_missed_total{{use="{use}"}} (\S+)', re.MULTILINE)
        texts = [requests.get(f"{url}/metrics", timeout=10).text for url in self.urls]
        return sum(float(count) for text in texts for count in series.findall(text))

    def is_counting(self) -> bool:
        """Return whether both processes count in Redis."""
        before = self.missed("limits")
        self.statuses(self.token(uuid4().hex))
        return self.missed("limits") == before


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    with ExitStack() as stack:
        keys = stack.enter_context(KeyServer())
        keys.publish(jwks(KEY))
        redis = stack.enter_context(RedisServer())
        variables = {
            "API_DATABASE_URL": stack.enter_context(postgresql_schema()),
            "API_REDIS_URL": redis.url,
            "API_RATE_LIMIT": f"{LIMIT}/minute",
        }
        first, second = (
            stack.enter_context(running_api(keys.issuer, tmp_path, port=None, **variables)) for _ in range(2)
        )
        yield Servers(keys.issuer, redis, (first, second))


def within(seconds: float, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)  # real time: the test cannot move the clock of other processes


def test_limits_and_revocations_hold_across_processes_and_outages(servers: Servers) -> None:
    assert servers.statuses(servers.token("limited"), LIMIT + 4) == [200] * LIMIT + [429] * 4

    stolen, old, other = servers.token("a", "stolen"), servers.token("b"), servers.token("c", "mine")
    assert servers.statuses(stolen) == servers.statuses(old) == [200, 200]
    servers.revoke("--jti", "stolen")
    within(DEADLINE_SECONDS, lambda: servers.statuses(stolen) == [401, 401])
    servers.revoke("--sub", "b")
    within(DEADLINE_SECONDS, lambda: servers.statuses(old) == [401, 401])
    assert servers.statuses(other) == [200, 200]

    # Without Redis, requests neither wait nor are limited, and revoked tokens stay revoked.
    servers.redis.stop()
    before = servers.missed("limits")
    started = time.monotonic()
    assert servers.statuses(servers.token("unlimited"), 3 * LIMIT) == [200] * 3 * LIMIT
    assert time.monotonic() - started < DEADLINE_SECONDS
    assert servers.missed("limits") - before == 3 * LIMIT
    within(DEADLINE_SECONDS, lambda: servers.missed("revocations") >= 2)
    assert servers.statuses(stolen) == servers.statuses(old) == [401, 401]

    # Redis is back and empty: the revocations are stored again, and both processes use them and the limits.
    servers.redis.start()
    within(DEADLINE_SECONDS, servers.is_counting)
    assert servers.statuses(stolen) == servers.statuses(old) == [401, 401]
    later = servers.token("d", "stolen-later")
    servers.revoke("--jti", "stolen-later")
    within(DEADLINE_SECONDS, lambda: servers.statuses(later) == [401, 401])
    assert servers.statuses(servers.token("limited-again"), LIMIT + 4) == [200] * LIMIT + [429] * 4


def test_a_server_started_without_redis_accepts_no_token_until_it_is_there(tmp_path: Path) -> None:
    with ExitStack() as stack:
        keys = stack.enter_context(KeyServer())
        keys.publish(jwks(KEY))
        redis = RedisServer()
        stack.callback(redis.stop)
        variables = {"API_DATABASE_URL": stack.enter_context(postgresql_schema()), "API_REDIS_URL": redis.url}
        url = stack.enter_context(running_api(keys.issuer, tmp_path, port=None, WEB_CONCURRENCY="2", **variables))
        servers = Servers(keys.issuer, redis, (url, url))
        good, revoked = servers.token("a", "good"), servers.token("a", "revoked")

        def readiness(count: int) -> set[int]:
            # Over connections of their own, so that both workers answer.
            return {requests.get(f"{url}/readyz", timeout=10).status_code for _ in range(count)}

        started = time.monotonic()
        assert set(servers.statuses(good, 20)) | readiness(20) == {503}
        assert time.monotonic() - started < DEADLINE_SECONDS
        redis.start()
        servers.revoke("--jti", "revoked")
        within(2 * DEADLINE_SECONDS, lambda: readiness(20) == {200})
        within(DEADLINE_SECONDS, lambda: set(servers.statuses(revoked, 20)) == {401})
        assert set(servers.statuses(good, 20)) == {200}
        before = servers.missed("revocations")
        redis.stop()
        # Both workers find Redis down at their next refresh; each of the two addresses counts both.
        within(DEADLINE_SECONDS, lambda: servers.missed("revocations") >= before + 4)
        assert set(servers.statuses(good, 20)) | readiness(20) == {200}
        assert set(servers.statuses(revoked, 20)) == {401}
