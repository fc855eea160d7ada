"""Break what standard error leads to: no answer changes, nothing waits, and what can be told is told later."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from tests.kit.databases import create_tables
from tests.kit.key_server import KeyServer
from tests.kit.processes import BIN, ROOT, START_SECONDS, environment, free_port, wait_until_ready
from tests.kit.signing import AUDIENCE, claims, jwks, rsa_key

pytestmark = pytest.mark.slow

KEY = rsa_key(0, "key-1")
SCOPES = "read:devices write:devices read:readings write:readings"
# A line has about 200 bytes, so that a pipe of one page is full after 20.
REQUESTS = 150
PIPE_BYTES = 4096
# Without the fix, an answer never comes.
PATIENCE_SECONDS = 20


class Api(NamedTuple):
    """The API under gunicorn, and a client that keeps its connection."""

    url: str
    process: subprocess.Popen[str]
    client: requests.Session

    def send(self, method: str, path: str, **request: Any) -> requests.Response:
        return self.client.request(method, f"{self.url}{path}", timeout=PATIENCE_SECONDS, **request)

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text(encoding="ascii").split()]

    def dropped(self) -> int:
        (line,) = [
            line
            for line in self.send("GET", "/metrics").text.splitlines()
            if line.startswith("api_log_lines_dropped_total ")
        ]
        return int(float(line.split()[1]))


@contextmanager
def serving(directory: Path, stderr: int | None, *, workers: int = 1, **settings: str) -> Iterator[Api]:
    """Run the API with this standard error, None for a closed one; at the end, SIGTERM must stop it in time."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(BIN / "gunicorn"), "-c", "gunicorn.conf.py", "api:create_app()"]
    if stderr is None:
        command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    database = f"sqlite:///{directory}/devices.db"
    create_tables(database)
    with KeyServer() as keys, requests.Session() as client:
        keys.publish(jwks(KEY))
        client.headers["Authorization"] = f"Bearer {KEY.sign(claims(iss=keys.issuer, scope=SCOPES))}"
        variables = {
            "PORT": str(port),
            "WEB_CONCURRENCY": str(workers),
            "API_ISSUERS": keys.issuer,
            "API_AUDIENCE": AUDIENCE,
            "API_DATABASE_URL": database,
            **settings,
        }
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                wait_until_ready(process, f"{url}/livez")
                yield Api(url, process, client)
                process.terminate()
                assert process.wait(timeout=START_SECONDS) == 0
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def small_pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    try:
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


@contextmanager
def suspended(process: int) -> Iterator[None]:
    """Suspend a process, for less than the 30 s after which gunicorn kills a worker that shows no sign of life."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def what_is_written_is_answered_so(api: Api) -> None:
    created = api.send("POST", "/v1/devices", json={"name": "Lamp", "kind": "sensor", "model": "M"})
    assert created.status_code == 201
    path = f"/v1/devices/{created.json()['id']}/readings"
    times = [f"2026-11-20T00:00:0{second}Z" for second in range(5)]
    for moment in times:
        reading = {"time": moment, "metric": "power", "value": 1, "unit": "W"}
        answer = api.send("POST", path, json={"readings": [reading]})
        assert (answer.status_code, answer.json()["added"]) == (200, 1)
    listed = api.send("GET", path, params={"from": times[0], "to": "2026-11-21T00:00:00Z"})
    assert len(listed.json()["items"]) == len(times)


def lines_in(text: str) -> list[dict[str, Any]]:
    """Return the lines, each of which must be a JSON object."""
    return [json.loads(line) for line in text.splitlines()]


def test_a_full_disk_changes_no_answer(tmp_path: Path) -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with serving(tmp_path, descriptor) as api:
            what_is_written_is_answered_so(api)
            assert {api.send("GET", "/v1/me").status_code for _ in range(REQUESTS)} == {200}
            assert api.send("GET", "/nowhere").status_code == 404
            assert api.dropped() > 0
    finally:
        os.close(descriptor)


def test_a_closed_standard_error_changes_no_answer(tmp_path: Path) -> None:
    with serving(tmp_path, None) as api:
        what_is_written_is_answered_so(api)
        assert {api.send("GET", "/v1/me").status_code for _ in range(REQUESTS)} == {200}
        assert api.dropped() > 0


def test_a_pipe_whose_reader_died_changes_no_answer(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    try:
        with serving(tmp_path, writer) as api:
            os.close(reader)
            what_is_written_is_answered_so(api)
            assert {api.send("GET", "/v1/me").status_code for _ in range(REQUESTS)} == {200}
            assert api.dropped() > 0
    finally:
        os.close(writer)


def test_an_unread_pipe_stops_nothing(tmp_path: Path) -> None:
    with small_pipe() as (_, writer), serving(tmp_path, writer, workers=2) as api:
        what_is_written_is_answered_so(api)
        assert {api.send("GET", "/v1/me").status_code for _ in range(REQUESTS)} == {200}
        # The arbiter has to tell of the killed workers, and replaces them all the same.
        for worker in api.workers():
            os.kill(worker, signal.SIGKILL)
        wait_until_ready(api.process, f"{api.url}/livez")


def test_a_pipe_that_is_read_late_gets_every_line_whole(tmp_path: Path) -> None:
    with small_pipe() as (reader, writer), serving(tmp_path, writer, workers=2) as api:
        first, second = api.workers()
        for stopped in (first, second):
            # So that both processes get requests: without this, the one on an idle CPU may take them all.
            with suspended(stopped):
                for _ in range(REQUESTS // 2):
                    # A new connection: the other process may have to accept it.
                    answer = requests.get(f"{api.url}/v1/me", headers=api.client.headers, timeout=PATIENCE_SECONDS)
                    assert answer.status_code == 200
        text = ""
        while text.count('"event": "request"') < REQUESTS:
            text += os.read(reader, 65_536).decode()
        while not text.endswith("\n"):
            text += os.read(reader, 65_536).decode()
    logged = [line for line in lines_in(text) if line["event"] == "request"]
    assert Counter(line["status"] for line in logged) == {200: REQUESTS}
    assert {line["pid"] for line in logged} == {first, second}


def test_sigterm_loses_no_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as file, serving(tmp_path, file.fileno()) as api:
        for _ in range(20):
            assert api.send("GET", "/v1/me").status_code == 200
    logged = [line for line in lines_in(log.read_text(encoding="utf-8")) if line.get("route") == "/v1/me"]
    assert len(logged) == 20


def wait_for(log: Path, text: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while text not in log.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
        time.sleep(0.02)  # another process


def test_the_server_tells_of_bad_requests_and_dead_workers_in_the_same_form(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as file, serving(tmp_path, file.fileno(), API_LOG_LEVEL="debug") as api:
        (worker,) = api.workers()
        with socket.create_connection(("127.0.0.1", int(api.url.rpartition(":")[2])), timeout=10) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nBearer secret\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
        wait_for(log, "Invalid request")
        os.kill(worker, signal.SIGKILL)
        wait_for(log, "SIGKILL")
        wait_until_ready(api.process, f"{api.url}/livez")
    text = log.read_text(encoding="utf-8")
    lines = lines_in(text)
    (rejected,) = [line for line in lines if line.get("message", "").startswith("Invalid request")]
    (killed,) = [line for line in lines if "SIGKILL" in line.get("message", "")]
    assert (rejected["event"], rejected["level"], rejected["pid"]) == ("server", "warning", worker)
    assert (killed["event"], killed["level"], killed["pid"]) == ("server", "error", api.process.pid)
    assert {line["level"] for line in lines if line.get("route") == "/livez"} == {"debug"}
    assert "secret" not in text
