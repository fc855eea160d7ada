"""Programs of this project as processes: started on ephemeral ports, waited for, ended by their id."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.kit.databases import create_tables

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
START_SECONDS = 30


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without settings of ours, and with `variables`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("API_", "DEVICE_"))}
    return {**inherited, **variables}


def let_children_take_sigint() -> None:
    """Have child processes take SIGINT as usual, even if the parent of this process made it ignore SIGINT.

    A shell does that to what it runs in the background (`make test &`), and children inherit it. A signal with a
    handler, however, is reset by exec(). The handler here does nothing, so this process goes on ignoring SIGINT.
    Safe with threads, which preexec_fn is not, and it holds for every way to start a process. Call it in the main
    thread.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda _number, _frame: None)


@pytest.fixture(scope="session", autouse=True)
def _children_take_sigint() -> None:
    let_children_take_sigint()


@contextmanager
def running(command: list[str], ready_url: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program until the end of the block, from when `ready_url` answers; it must end well on SIGTERM."""
    # A file: a pipe that nobody reads fills up, and the program then stands still with its next log line.
    with (
        tempfile.TemporaryFile("w+") as output,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        try:
            wait_until_ready(process, ready_url)
            yield process
        except EarlyEnd as exc:
            output.seek(0)
            raise AssertionError(f"{exc}: {output.read()}") from exc
        finally:
            process.terminate()
            try:
                process.wait(timeout=START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        output.seek(0)
        assert process.returncode == 0, output.read()


class EarlyEnd(Exception):
    """A program ended before it was ready."""


def wait_until_ready(process: subprocess.Popen[str], url: str) -> None:
    """Wait until `url` answers with a status below 400; fail where the process ends before."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise EarlyEnd(f"{process.args!r} ended with status {process.returncode}")
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.05)  # another process: no clock of ours moves it
    raise AssertionError(f"{url} did not answer in time")


@contextmanager
def running_issuer(*options: str) -> Iterator[str]:
    """Run the mock issuer with these options; yield its identifier."""
    port = free_port()
    issuer = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "-m", "mock_issuer", "--port", str(port), *options]
    with running(command, f"{issuer}.well-known/openid-configuration"):
        yield issuer


@contextmanager
def running_api(issuer: str, directory: Path, *, port: int | None = None, **variables: str) -> Iterator[str]:
    """Run the API under gunicorn as in production, its database in `directory`; yield its address."""
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {
        "PORT": str(port),
        "WEB_CONCURRENCY": "1",
        "API_ISSUERS": issuer,
        "API_AUDIENCE": "https://device-api.example",
        "API_SAMPLE_DATA": "true",
        "API_DATABASE_URL": f"sqlite:///{directory}/devices.db",
        **variables,
    }
    create_tables(settings["API_DATABASE_URL"])
    command = [str(BIN / "gunicorn"), "-c", "gunicorn.conf.py", "api:create_app()"]
    with running(command, f"{url}/livez", **settings):
        yield url
