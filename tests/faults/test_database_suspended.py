"""PostgreSQL hangs: probes and requests are answered in time, and everything works again when it goes on."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from api.database.schema import upgrade
from tests.kit.key_server import KeyServer
from tests.kit.postgresql_server import PostgresqlServer
from tests.kit.processes import BIN, ROOT, environment, free_port, wait_until_ready
from tests.kit.signing import AUDIENCE, claims, jwks, rsa_key

pytestmark = [pytest.mark.slow, pytest.mark.needs("postgresql-server"), pytest.mark.timeout(180)]

CLIENTS = 24
# The API promises 5 s; the machine may be busy.
ANSWER_SECONDS = 5.5
PROBE_SECONDS = 1.0
SUSPENDED_SECONDS = 12
KEY = rsa_key(0, "key-1")


@contextmanager
def serving(issuer: str, database_url: str, log: Path) -> Iterator[str]:
    """Run the API with one worker; yield its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = {
        "PORT": str(port),
        "WEB_CONCURRENCY": "1",
        "API_ISSUERS": issuer,
        "API_AUDIENCE": AUDIENCE,
        "API_DATABASE_URL": database_url,
    }
    command = [str(BIN / "gunicorn"), "-c", "gunicorn.conf.py", "api:create_app()"]
    with (
        log.open("w") as output,
        subprocess.Popen(
            command, cwd=ROOT, env=environment(variables), stdin=subprocess.DEVNULL, stderr=output, text=True
        ) as process,
    ):
        try:
            wait_until_ready(process, f"{url}/readyz")
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(40)


@pytest.fixture
def issuer_and_headers() -> Iterator[tuple[str, dict[str, str]]]:
    with KeyServer() as server:
        server.publish(jwks(KEY))
        yield server.issuer, {"Authorization": f"Bearer {KEY.sign(claims(iss=server.issuer))}"}


class Answer(NamedTuple):
    """An answer, without the Response: that would keep its connection open."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Answers:
    """What clients got: when they asked, how long it took, and the answer."""

    def __init__(self) -> None:
        self._all: list[tuple[str, float, float, Answer]] = []
        self.failures: list[Exception] = []

    def ask(self, url: str, path: str, stopped: threading.Event, headers: dict[str, str], pause: float) -> None:
        """Ask again and again, on new connections, as probes do."""
        while not stopped.wait(pause):
            asked_at = time.monotonic()
            try:
                response = requests.get(f"{url}{path}", headers=headers, timeout=30)
            except requests.RequestException as exc:
                self.failures.append(exc)
            else:
                answer = Answer(response.status_code, response.headers, response.json())
                self._all.append((path, asked_at, time.monotonic() - asked_at, answer))

    def of(self, path: str, start: float, end: float) -> list[tuple[float, Answer]]:
        """Return the durations and answers of requests sent between two times."""
        return [
            (seconds, answer)
            for asked, asked_at, seconds, answer in self._all
            if asked == path and start < asked_at < end
        ]


def test_a_suspended_server_blocks_neither_probes_nor_requests(
    issuer_and_headers: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    issuer, headers = issuer_and_headers
    answers, stopped, log = Answers(), threading.Event(), tmp_path / "log"
    with ExitStack() as stack:
        postgresql = stack.enter_context(PostgresqlServer())
        upgrade(postgresql.url)
        url = stack.enter_context(serving(issuer, postgresql.url, log))
        pool = stack.enter_context(ThreadPoolExecutor(CLIENTS + 2))
        stack.callback(stopped.set)
        for _ in range(CLIENTS):
            pool.submit(answers.ask, url, "/v1/devices", stopped, headers, 0.2)
        pool.submit(answers.ask, url, "/livez", stopped, {}, 0.1)
        pool.submit(answers.ask, url, "/readyz", stopped, {}, 0.5)
        time.sleep(2)  # here and below, other processes: the test cannot control their clock
        suspended_at = time.monotonic()
        postgresql.suspend()
        stack.callback(postgresql.resume)
        time.sleep(SUSPENDED_SECONDS)
        resumed_at = time.monotonic()
        postgresql.resume()
        time.sleep(6)
        ended_at = time.monotonic()
    assert not answers.failures
    live = answers.of("/livez", 0, ended_at)
    assert {answer.status for _, answer in live} == {200}
    assert max(seconds for seconds, _ in live) < PROBE_SECONDS
    ready = answers.of("/readyz", suspended_at, resumed_at - ANSWER_SECONDS)
    assert {answer.status for _, answer in ready} == {503}
    assert max(seconds for seconds, _ in ready) < ANSWER_SECONDS
    assert all("database" in answer.body["detail"] for _, answer in ready)
    asked = answers.of("/v1/devices", suspended_at, resumed_at - ANSWER_SECONDS)
    assert len(asked) > CLIENTS
    assert {answer.status for _, answer in asked} == {503}
    assert all("Retry-After" in answer.headers for _, answer in asked)
    assert max(seconds for seconds, _ in asked) < ANSWER_SECONDS
    after = [*answers.of("/v1/devices", ended_at - 2, ended_at), *answers.of("/readyz", ended_at - 2, ended_at)]
    assert {answer.status for _, answer in after} == {200}
    events = [json.loads(line)["event"] for line in log.read_text(encoding="utf-8").splitlines() if line[0] == "{"]
    assert [event for event in events if event in {"database_lost", "database_found"}] == [
        "database_lost",
        "database_found",
    ]
    assert "database_unavailable" in events
