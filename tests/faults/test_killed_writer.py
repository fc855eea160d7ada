"""Kill a process while clients write: every acknowledged write is stored, exactly once."""

import itertools
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from api.database.schema import upgrade
from tests.kit.databases import postgresql_schema
from tests.kit.key_server import KeyServer
from tests.kit.processes import BIN, ROOT, environment, free_port, wait_until_ready
from tests.kit.signing import AUDIENCE, claims, jwks, rsa_key

pytestmark = pytest.mark.slow

START = datetime(2026, 11, 21, tzinfo=UTC)
CLIENTS = 4
BATCHES_EACH = 250
BATCH = 10
# The process is killed after so many batches, while others are in progress.
KILL_AFTER = 300
# A client registers a device after each so many batches.
REGISTER_EVERY = 25
PATIENCE_SECONDS = 30


@contextmanager
def serving(issuer: str, database_url: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the API with one worker in a new process group, yield its URL, and kill the group at the end."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = {
        "PORT": str(port),
        "WEB_CONCURRENCY": "1",
        "API_ISSUERS": issuer,
        "API_AUDIENCE": AUDIENCE,
        "API_DATABASE_URL": database_url,
        "API_LOG_LEVEL": "error",
    }
    command = [str(BIN / "gunicorn"), "-c", "gunicorn.conf.py", "api:create_app()"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            wait_until_ready(process, f"{url}/readyz")
            yield url, process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


class Writers:
    """Clients that write to `urls` in turn, and repeat a request until it is acknowledged."""

    def __init__(self, urls: list[str], headers: dict[str, str]) -> None:
        self.urls = itertools.cycle(urls)
        self.headers = headers
        self.halfway = threading.Event()
        self.counts = Counter[str]()
        self.lock = threading.Lock()

    def send(self, session: requests.Session, path: str, **request: Any) -> Any:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with self.lock:
                url = next(self.urls)
            try:
                answer = session.post(f"{url}{path}", timeout=5, **request)
            except requests.RequestException:
                pass
            else:
                if answer.ok:
                    return answer.json()
                assert answer.status_code == 503, answer.text
            self.count("sent again")
            time.sleep(0.02)  # waits for other processes
        raise AssertionError(f"{path} was not acknowledged in time")

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1
            if self.counts["batches"] >= KILL_AFTER:
                self.halfway.set()

    def register(self, session: requests.Session, name: str) -> str:
        body = {"name": name, "kind": "sensor", "model": "M"}
        return str(self.send(session, "/v1/devices", json=body, headers={"Idempotency-Key": name})["id"])

    def write(self, number: int) -> dict[str, set[str]]:
        """Return the acknowledged times by device id."""
        with requests.Session() as session:
            session.headers.update(self.headers)
            device = self.register(session, f"client-{number}")
            acknowledged: dict[str, set[str]] = {device: set()}
            for batch in range(BATCHES_EACH):
                times = [START + timedelta(seconds=batch * BATCH + second) for second in range(BATCH)]
                texts = [time.strftime("%Y-%m-%dT%H:%M:%SZ") for time in times]
                readings = [{"time": text, "metric": "power", "value": 1, "unit": "W"} for text in texts]
                result = self.send(session, f"/v1/devices/{device}/readings", json={"readings": readings})
                assert result["added"] + result["known"] == BATCH
                acknowledged[device].update(texts)
                self.count("batches")
                if batch % REGISTER_EVERY == 0:
                    acknowledged[self.register(session, f"device-{number}-{batch}")] = set()
        return acknowledged


def write_and_kill(urls: list[str], issuer_token: str, kill: Callable[[], None]) -> None:
    """Write from several clients, kill in the middle, and compare what is stored with what was acknowledged."""
    writers = Writers(urls, {"Authorization": f"Bearer {issuer_token}"})
    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(writers.write, number) for number in range(CLIENTS)]
        assert writers.halfway.wait(PATIENCE_SECONDS)
        kill()
        acknowledged: dict[str, set[str]] = {}
        for client in running:
            acknowledged |= client.result()
    assert writers.counts["batches"] == CLIENTS * BATCHES_EACH
    # Otherwise the kill affected no request.
    assert writers.counts["sent again"] > 0
    with requests.Session() as session:
        session.headers.update(writers.headers)
        url = urls[-1]
        there = {
            device: [one["time"] for one in pages(session, f"{url}/v1/devices/{device}/readings?limit=1000")]
            for device in (one["id"] for one in pages(session, f"{url}/v1/devices?limit=100"))
        }
    assert {device: set(times) for device, times in there.items()} == acknowledged
    assert sum(map(len, there.values())) == CLIENTS * BATCHES_EACH * BATCH


def pages(session: requests.Session, url: str) -> Iterator[dict[str, Any]]:
    cursor: dict[str, str] = {}
    while True:
        page = session.get(url, params=cursor, timeout=10).json()
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        cursor = {"cursor": page["next_cursor"]}


@pytest.fixture
def key_server_and_token() -> Iterator[tuple[str, str]]:
    with KeyServer() as server:
        key = rsa_key(0, "key-1")
        server.publish(jwks(key))
        scope = "read:devices write:devices read:readings write:readings"
        yield server.issuer, key.sign(claims(iss=server.issuer, scope=scope))


@pytest.mark.needs("postgresql")
def test_one_of_two_processes_on_postgresql(key_server_and_token: tuple[str, str]) -> None:
    issuer, token = key_server_and_token
    with postgresql_schema() as database_url, ExitStack() as stack:
        upgrade(database_url)
        (first, killed), (second, survivor) = (stack.enter_context(serving(issuer, database_url)) for _ in range(2))
        write_and_kill([first, second], token, lambda: os.killpg(killed.pid, signal.SIGKILL))
        assert killed.wait(10) == -signal.SIGKILL
        assert survivor.poll() is None


def test_the_worker_of_a_process_on_sqlite(key_server_and_token: tuple[str, str], tmp_path: Path) -> None:
    issuer, token = key_server_and_token
    database_url = f"sqlite:///{tmp_path}/devices.db"
    upgrade(database_url)
    with serving(issuer, database_url) as (url, server):
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
        (worker,) = children.read_text(encoding="ascii").split()

        def kill_three_times() -> None:
            # One kill may come between two requests.
            os.kill(int(worker), signal.SIGKILL)
            for _ in range(2):
                wait_until_ready(server, f"{url}/readyz")
                for pid in children.read_text(encoding="ascii").split():
                    os.kill(int(pid), signal.SIGKILL)

        write_and_kill([url], token, kill_three_times)
        assert worker not in children.read_text(encoding="ascii").split()
