"""Two API processes on one Redis and one PostgreSQL: what one counts and what is revoked holds for both."""

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

# Slow by nature: each process looks for new revocations every two seconds.
pytestmark = [pytest.mark.slow, pytest.mark.needs("postgresql"), pytest.mark.needs("redis-server")]

KEY = rsa_key(0, "key-1")
LIMIT = 6
PROMISED_SECONDS = 5


@dataclass(frozen=True)
class House:
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
        """Say whether both have found Redis."""
        before = self.missed("limits")
        self.statuses(self.token(uuid4().hex))
        return self.missed("limits") == before


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
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
        yield House(keys.issuer, redis, (first, second))


def within(seconds: float, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)  # other processes: no clock of ours moves them


def test_limits_and_revocations_hold_across_processes_and_outages(house: House) -> None:
    assert house.statuses(house.token("limited"), LIMIT + 4) == [200] * LIMIT + [429] * 4

    stolen, old, other = house.token("a", "stolen"), house.token("b"), house.token("c", "mine")
    assert house.statuses(stolen) == house.statuses(old) == [200, 200]
    house.revoke("--jti", "stolen")
    within(PROMISED_SECONDS, lambda: house.statuses(stolen) == [401, 401])
    house.revoke("--sub", "b")
    within(PROMISED_SECONDS, lambda: house.statuses(old) == [401, 401])
    assert house.statuses(other) == [200, 200]

    # Redis gone: nobody waits, nobody is limited, and what was revoked stays revoked.
    house.redis.stop()
    before = house.missed("limits")
    started = time.monotonic()
    assert house.statuses(house.token("unlimited"), 3 * LIMIT) == [200] * 3 * LIMIT
    assert time.monotonic() - started < PROMISED_SECONDS
    assert house.missed("limits") - before == 3 * LIMIT
    within(PROMISED_SECONDS, lambda: house.missed("revocations") >= 2)
    assert house.statuses(stolen) == house.statuses(old) == [401, 401]

    # Redis back, and empty: it is told again what was revoked, and both hold as before.
    house.redis.start()
    within(PROMISED_SECONDS, house.is_counting)
    assert house.statuses(stolen) == house.statuses(old) == [401, 401]
    later = house.token("d", "stolen-later")
    house.revoke("--jti", "stolen-later")
    within(PROMISED_SECONDS, lambda: house.statuses(later) == [401, 401])
    assert house.statuses(house.token("limited-again"), LIMIT + 4) == [200] * LIMIT + [429] * 4
