"""Clients that send nothing, or do not close, delay nobody else. With a real server of one process."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from api.operations.server.connections import CLOSING_SECONDS
from tests.kit.processes import running_api

# gunicorn's own class waits 5 s for the first silent client, and 2 s for each that does not close.
LONGEST_SECONDS = 1.9
THREADS = 8
LAST_REQUEST = b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_api("http://127.0.0.1:9/", tmp_path_factory.mktemp("api"), API_LOG_LEVEL="error") as url:
        yield url


def connect(url: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10)


def read_to_end(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def seconds_of_a_request(url: str) -> float:
    started_at = time.monotonic()
    assert requests.get(f"{url}/livez", timeout=30).status_code == 200
    return time.monotonic() - started_at


def test_silent_connections_hold_no_thread(url: str) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(connect(url)) for _ in range(3 * THREADS)]
        assert seconds_of_a_request(url) < LONGEST_SECONDS
        # They are served when they speak.
        for connection in silent:
            connection.sendall(LAST_REQUEST)
            assert read_to_end(connection).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_does_not_close_delays_nobody(url: str) -> None:
    with ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(connect(url))
            connection.sendall(LAST_REQUEST)
            # The end of the response is told without waiting.
            assert read_to_end(connection).startswith(b"HTTP/1.1 200 ")
        assert seconds_of_a_request(url) < LONGEST_SECONDS


def test_a_client_that_does_not_close_is_reset_in_the_end(url: str) -> None:
    with connect(url) as connection:
        connection.sendall(LAST_REQUEST)
        read_to_end(connection)
        deadline = time.monotonic() + 10 * CLOSING_SECONDS
        with pytest.raises((ConnectionResetError, BrokenPipeError)):  # noqa: PT012  # it may be the first byte or a later one
            while time.monotonic() < deadline:
                connection.sendall(b"x")
                time.sleep(0.1)  # the server's clock cannot be set


def test_a_client_that_goes_on_sending_is_reset(url: str) -> None:
    with connect(url) as connection:
        connection.sendall(LAST_REQUEST)
        read_to_end(connection)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):  # noqa: PT012  # likewise
            for _ in range(1000):
                connection.sendall(b"x" * 65536)


@contextmanager
def small_server(directory: Path) -> Iterator[str]:
    """Run the API with room for 20 connections; yield its URL."""
    options = "--worker-connections 20"
    with running_api("http://127.0.0.1:9/", directory, API_LOG_LEVEL="error", GUNICORN_CMD_ARGS=options) as url:
        yield url


def test_connections_that_were_closed_are_forgotten(tmp_path: Path) -> None:
    with small_server(tmp_path) as url:
        for number in range(60):
            with connect(url) as connection:
                if number % 3 == 0:
                    continue
                connection.sendall(LAST_REQUEST)
                if number % 3 == 1:
                    read_to_end(connection)
        assert seconds_of_a_request(url) < LONGEST_SECONDS


@pytest.mark.parametrize(
    "request_head", [b"", b"HEAD /livez HTTP/1.1\r\nHost: a\r\n\r\n"], ids=["silent", "kept alive"]
)
def test_new_connections_replace_the_longest_idle_ones(tmp_path: Path, request_head: bytes) -> None:
    with small_server(tmp_path) as url, ExitStack() as stack:
        idle = []
        for _ in range(30):
            connection = stack.enter_context(connect(url))
            idle.append(connection)
            if request_head:
                connection.sendall(request_head)
                received = b""
                while not received.endswith(b"\r\n\r\n"):
                    received += connection.recv(65536)
                assert received.startswith(b"HTTP/1.1 200 ")
        assert seconds_of_a_request(url) < LONGEST_SECONDS
        # The first ones were closed, the last one was not.
        assert idle[0].recv(1) == b""
        idle[-1].sendall(LAST_REQUEST)
        assert read_to_end(idle[-1]).startswith(b"HTTP/1.1 200 ")
