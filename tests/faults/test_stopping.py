"""Stop and reload the server under load: each connection is refused, or gets a complete answer."""

import contextlib
import json
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import NamedTuple, Self

import pytest

from tests.kit.databases import create_tables
from tests.kit.key_server import KeyServer
from tests.kit.processes import BIN, free_port, running
from tests.kit.signing import AUDIENCE, claims, jwks, rsa_key

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

CLIENTS = 8
# A request in progress keeps the process for so long; the clients go on connecting meanwhile.
IN_PROGRESS_SECONDS = 3
# Less than the 25 s for which requests may go on: whoever waits so long hangs. Enough for a busy machine, on which the
# end of an idle process alone takes seconds.
PATIENCE_SECONDS = 20
KEY = rsa_key(0, "key-1")
# Of /livez.
ANSWER = b'{"status":"ok"}\n'
BODY = json.dumps({"name": "Lamp", "kind": "sensor", "model": "M"}).encode()


class Running(NamedTuple):
    """The API under gunicorn with two processes."""

    process: subprocess.Popen[str]
    port: int
    token: str

    def connection(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)


@contextlib.contextmanager
def running_server(directory: Path, options: str = "") -> Iterator[Running]:
    with KeyServer() as keys:
        keys.publish(jwks(KEY))
        port = free_port()
        settings = {
            "PORT": str(port),
            "WEB_CONCURRENCY": "2",
            "GUNICORN_CMD_ARGS": options,
            "API_ISSUERS": keys.issuer,
            "API_AUDIENCE": AUDIENCE,
            "API_DATABASE_URL": f"sqlite:///{directory}/devices.db",
            "API_LOG_LEVEL": "error",
        }
        create_tables(settings["API_DATABASE_URL"])
        command = [str(BIN / "gunicorn"), "-c", "gunicorn.conf.py", "api:create_app()"]
        with running(command, f"http://127.0.0.1:{port}/livez", **settings) as process:
            yield Running(process, port, KEY.sign(claims(iss=keys.issuer, scope="read:devices write:devices")))


class Clients:
    """Clients that connect, send a request and read the answer, again and again; `outcomes` counts how that ended."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self.outcomes = Counter[str]()
        self.refused = threading.Event()
        self.ended = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._clients: list[Future[None]] = []

    def __enter__(self) -> Self:
        self._clients = [self._pool.submit(self._repeat) for _ in range(CLIENTS)]
        return self

    def __exit__(self, *_error: object) -> None:
        self.ended.set()
        self._pool.shutdown()
        for client in self._clients:
            client.result()

    def wait_for_answers(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        count += self.outcomes["answered"]
        while self.outcomes["answered"] < count:
            assert time.monotonic() < deadline, self.outcomes
            time.sleep(0.01)  # other processes: the test cannot control their clocks

    def _repeat(self) -> None:
        while not self.ended.is_set():
            outcome = self._connect_and_ask()
            self.outcomes[outcome] += 1
            if outcome == "refused":
                self.refused.set()
                self.ended.wait(0.05)  # otherwise they only compete with the server for the processor

    def _connect_and_ask(self) -> str:
        with contextlib.closing(self.server.connection()) as connection:
            try:
                connection.connect()
            except ConnectionRefusedError:
                return "refused"
            except OSError as exc:
                return f"not connected: {type(exc).__name__}"
            try:
                connection.request("GET", "/livez")
                with connection.getresponse() as answer:
                    answer.read()
            except (OSError, HTTPException) as exc:
                return f"connected, not answered: {type(exc).__name__}"
            return "answered" if answer.status == 200 else f"status {answer.status}"


@contextlib.contextmanager
def request_in_progress(server: Running) -> Iterator[socket.socket]:
    """Send a request without the second half of its body."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(
            b"POST /v1/devices HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer " + server.token.encode() + b"\r\n"
            b"Content-Length: " + str(len(BODY)).encode() + b"\r\n\r\n" + BODY[: len(BODY) // 2]
        )
        yield connection


def test_after_sigterm_connections_are_refused_or_answered(tmp_path: Path) -> None:
    with running_server(tmp_path) as server, contextlib.ExitStack() as stack:
        in_progress = stack.enter_context(request_in_progress(server))
        kept_alive = stack.enter_context(contextlib.closing(server.connection()))
        kept_alive.request("GET", "/livez")
        assert kept_alive.getresponse().read()
        silent = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS))
        with Clients(server) as clients:
            clients.wait_for_answers(200)
            server.process.send_signal(signal.SIGTERM)
            assert clients.refused.wait(PATIENCE_SECONDS), clients.outcomes

            kept_alive.request("GET", "/livez")
            answer = kept_alive.getresponse()
            assert (answer.status, answer.headers.get("Connection"), answer.read()) == (200, "close", ANSWER)

            time.sleep(IN_PROGRESS_SECONDS)  # the clients go on connecting
            assert server.process.poll() is None
            in_progress.sendall(BODY[len(BODY) // 2 :])
            finished = HTTPResponse(in_progress)
            finished.begin()
            assert (finished.status, finished.headers.get("Connection")) == (201, "close")
            assert json.loads(finished.read())["name"] == "Lamp"
        # Not for the 25 s of graceful_timeout: a connection without a request is not waited for.
        assert server.process.wait(PATIENCE_SECONDS) == 0
        assert silent.recv(1) == b""
    assert set(clients.outcomes) == {"answered", "refused"}, clients.outcomes


@pytest.mark.parametrize("attempt", range(3))
def test_no_connection_is_lost_when_nothing_is_in_progress(tmp_path: Path, attempt: int) -> None:
    with running_server(tmp_path) as server, Clients(server) as clients:
        clients.wait_for_answers(200)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_SECONDS) == 0
        assert clients.refused.wait(PATIENCE_SECONDS)
    assert set(clients.outcomes) == {"answered", "refused"}, clients.outcomes


def test_a_reload_loses_no_connection(tmp_path: Path) -> None:
    with running_server(tmp_path) as server, Clients(server) as clients:
        for _ in range(2):
            clients.wait_for_answers(200)
            server.process.send_signal(signal.SIGHUP)
        clients.wait_for_answers(500)
        clients.ended.set()
    assert set(clients.outcomes) == {"answered"}, clients.outcomes


def test_the_replacement_of_workers_loses_no_connection(tmp_path: Path) -> None:
    with running_server(tmp_path, "--max-requests 100 --max-requests-jitter 50") as server, Clients(server) as clients:
        clients.wait_for_answers(500)
        clients.ended.set()
    assert set(clients.outcomes) == {"answered"}, clients.outcomes
