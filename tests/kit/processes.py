"""Run programs of this project as processes on ephemeral ports; wait until they are ready, and stop them."""

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
    """Return a port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without the project's settings, and with `variables`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("API_", "DEVICE_"))}
    return {**inherited, **variables}


def restore_sigint_in_children() -> None:
    """Give child processes the default action for SIGINT, even if this process inherited SIG_IGN.

    Shells start background jobs (`make test &`) with SIG_IGN, and children inherit it. exec() resets a signal that has
    a handler, so this installs one that does nothing. Unlike preexec_fn, this is safe with threads. Call it in the
    main thread.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda _number, _frame: None)


@pytest.fixture(scope="session", autouse=True)
def _sigint_in_children() -> None:
    restore_sigint_in_children()


@contextmanager
def running(command: list[str], ready_url: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program; yield when `ready_url` answers. At the end of the block, SIGTERM must stop it with status 0."""
    # A file: a pipe that nobody reads fills up, and then blocks the program.
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
        except ExitedEarlyError as exc:
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


class ExitedEarlyError(Exception):
    """A program exited before it was ready."""


def wait_until_ready(process: subprocess.Popen[str], url: str) -> None:
    """Wait until `url` answers with a status below 400; raise ExitedEarlyError if the process exits before."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ExitedEarlyError(f"{process.args!r} exited with status {process.returncode}")
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.05)  # another process: the test cannot control its clock
    raise AssertionError(f"{url} did not answer in time")


def wait_until_listening(process: subprocess.Popen[str], port: int) -> None:
    """Wait until a port of this machine takes connections; raise ExitedEarlyError if the process exits before."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ExitedEarlyError(f"{process.args!r} exited with status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)  # another process: the test cannot control its clock
        else:
            return
    raise AssertionError(f"port {port} took no connection in time")


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
