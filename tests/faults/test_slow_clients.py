"""Hundreds of slow clients at once: nginx holds them, and the API goes on answering everybody else."""

import asyncio
import contextlib
import socket
import statistics
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import requests

from tests.kit.key_server import KeyServer
from tests.kit.nginx import running_nginx
from tests.kit.processes import free_port, running_api
from tests.kit.signing import claims, jwks, rsa_key

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120), pytest.mark.needs("nginx")]

SLOW_CLIENTS = 400
# For so long, requests of other clients are measured.
SECONDS = 8
# Each slow client sends or reads a little, then waits for so long: less than the 15 s after which nginx gives up.
PAUSE_SECONDS = 1
# They connect one after another for so long.
CONNECT_SECONDS = 4
# A request that takes longer has failed.
PATIENCE_SECONDS = 2
# Enough that a slow reader takes longer than the test; few enough that 400 lists are no load by themselves.
LISTED = 300
KEY = rsa_key(0, "key-1")


class Servers(NamedTuple):
    """The port of nginx, a token, and the path of a long list."""

    nginx: int
    token: str
    readings: str


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    directory, port = tmp_path_factory.mktemp("api"), free_port()
    variables = {"WEB_CONCURRENCY": "2", "API_LOG_LEVEL": "error"}
    with KeyServer() as keys:
        keys.publish(jwks(KEY))
        with running_api(keys.issuer, directory, port=port, **variables) as url, running_nginx(port) as nginx:
            token = KEY.sign(claims(iss=keys.issuer, scope="read:readings write:devices write:readings"))
            yield Servers(nginx.port, token, create_readings(url, token))


def create_readings(url: str, token: str) -> str:
    """Register a device with 1,000 readings, and return the path of a list of some."""
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {token}"
        body = {"name": "Lamp", "kind": "sensor", "model": "M"}
        device = session.post(f"{url}/v1/devices", json=body, timeout=10).json()["id"]
        start = datetime(2026, 11, 21, tzinfo=UTC)
        times = [(start + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%SZ") for second in range(LISTED)]
        readings = [{"time": text, "metric": "power", "value": 1, "unit": "W"} for text in times]
        path = f"/v1/devices/{device}/readings"
        assert session.post(f"{url}{path}", json={"readings": readings}, timeout=10).json()["added"] == len(readings)
        return f"{path}?limit={LISTED}"


def head(request: str, token: str, *lines: str) -> bytes:
    return "\r\n".join([request, "Host: a", f"Authorization: Bearer {token}", *lines, ""]).encode()


Slow = Callable[[int, Servers], Awaitable[None]]


async def connect(port: int) -> socket.socket:
    connection = socket.socket()
    # Small buffers: otherwise the kernel takes the whole answer.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(0)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    return connection


async def send_slowly(port: int, start: bytes) -> None:
    """Send the start of a request, and then a byte after each pause."""
    loop = asyncio.get_running_loop()
    with await connect(port) as connection:
        await loop.sock_sendall(connection, start)
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            await loop.sock_sendall(connection, b"x")


async def slow_headers(port: int, servers: Servers) -> None:
    await send_slowly(port, head("GET /v1/devices HTTP/1.1", servers.token) + b"X-Slow: ")


async def slow_bodies(port: int, servers: Servers) -> None:
    lines = ("Content-Type: application/json", "Content-Length: 1000", "")
    await send_slowly(port, head("POST /v1/devices HTTP/1.1", servers.token, *lines) + b"{")


async def slow_reads(port: int, servers: Servers) -> None:
    loop = asyncio.get_running_loop()
    with await connect(port) as connection:
        await loop.sock_sendall(connection, head(f"GET {servers.readings} HTTP/1.1", servers.token, ""))
        while True:
            if not await loop.sock_recv(connection, 1024):
                return
            await asyncio.sleep(PAUSE_SECONDS)


@contextlib.contextmanager
def slow_clients(slow: Slow, port: int, servers: Servers) -> Iterator[None]:
    """Run the slow clients in a thread; one whose connection is closed connects again."""
    stopped = threading.Event()

    async def repeat(number: int) -> None:
        await asyncio.sleep(number * CONNECT_SECONDS / SLOW_CLIENTS)
        while not stopped.is_set():
            with contextlib.suppress(OSError):
                await slow(port, servers)
            await asyncio.sleep(PAUSE_SECONDS)

    async def run() -> None:
        tasks = [asyncio.create_task(repeat(number)) for number in range(SLOW_CLIENTS)]
        await asyncio.to_thread(stopped.wait)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        time.sleep(2 * CONNECT_SECONDS)  # until all have connected, and the API has made their lists
        yield
    finally:
        stopped.set()
        thread.join()


def probe(port: int) -> tuple[list[float], int]:
    """Send requests on new connections; return the durations in seconds, sorted, and how many failed."""
    durations, failures = list[float](), 0
    end = time.monotonic() + SECONDS
    while (started := time.monotonic()) < end:
        try:
            assert requests.get(f"http://127.0.0.1:{port}/livez", timeout=PATIENCE_SECONDS).ok
        except requests.RequestException:
            failures += 1
        durations.append(time.monotonic() - started)
        time.sleep(0.01)
    return sorted(durations), failures


@pytest.mark.parametrize("slow", [slow_headers, slow_bodies, slow_reads])
def test_behind_nginx_nobody_else_waits(servers: Servers, slow: Slow, capsys: pytest.CaptureFixture[str]) -> None:
    with slow_clients(slow, servers.nginx, servers):
        durations, failures = probe(servers.nginx)
    p50, p99 = statistics.quantiles(durations, n=100)[49::49]
    with capsys.disabled():
        sys.stdout.write(
            f"\n{slow.__name__}: p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, {len(durations)} requests\n"
        )
    assert failures == 0
    # 2 s per request if the threads of the API wait for slow clients; the machine is busy otherwise.
    assert p99 < 1


@pytest.mark.parametrize("slow", [slow_headers, slow_bodies])
def test_without_nginx_everybody_waits(tmp_path: Path, slow: Slow) -> None:
    """Why nginx is there: if this fails, the API needs it no longer."""
    with KeyServer() as keys:
        keys.publish(jwks(KEY))
        port = free_port()
        with running_api(keys.issuer, tmp_path, port=port, WEB_CONCURRENCY="2", API_LOG_LEVEL="error"):
            servers = Servers(port, KEY.sign(claims(iss=keys.issuer, scope="write:devices")), "")
            with slow_clients(slow, port, servers):
                durations, failures = probe(port)
            assert failures > len(durations) / 2
