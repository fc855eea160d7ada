"""Made-up key ids and an issuer that hangs: the API goes on answering everybody else."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.kit.key_server import KeyServer
from tests.kit.processes import running_api
from tests.kit.signing import claims, jwks, rsa_key

pytestmark = pytest.mark.slow

CLIENTS = 40
# A fetch takes 3 s at most; another one is due after 10 s.
SECONDS = 5
KEY = rsa_key(0, "key-1")


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with KeyServer() as server:
        server.publish(jwks(KEY))
        yield server


def test_made_up_key_ids_and_a_hanging_issuer_delay_nobody_else(server: KeyServer, tmp_path: Path) -> None:
    good = {"Authorization": f"Bearer {KEY.sign(claims(iss=server.issuer))}"}
    made_up = [
        {"Authorization": f"Bearer {KEY.sign(claims(iss=server.issuer), kid=f'made-up-{number}')}"}
        for number in range(CLIENTS)
    ]
    statuses: Counter[tuple[int, bool]] = Counter()
    with running_api(server.issuer, tmp_path) as url, ThreadPoolExecutor(CLIENTS) as pool:
        assert requests.get(f"{url}/v1/me", headers=good, timeout=10).ok
        server.hang_keys()
        stopped = threading.Event()

        def send(headers: dict[str, str]) -> None:
            while not stopped.wait(0.05):
                answer = requests.get(f"{url}/v1/me", headers=headers, timeout=10)
                statuses[answer.status_code, "Retry-After" in answer.headers] += 1

        senders = [pool.submit(send, headers) for headers in made_up]
        slowest = 0.0
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            for path in ("/livez", "/v1/me"):
                started = time.monotonic()
                assert requests.get(f"{url}{path}", headers=good, timeout=10).ok
                slowest = max(slowest, time.monotonic() - started)
        stopped.set()
        server.released.set()
        for sender in senders:
            sender.result()
    assert set(statuses) == {(401, True)}
    assert statuses.total() > CLIENTS
    # 3 s if the threads of the server wait for the issuer; the machine is busy otherwise.
    assert slowest < 2
    assert server.key_requests == 2
