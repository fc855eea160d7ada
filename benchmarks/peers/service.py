"""Runs a stack's service, and starts it again whenever it stops, as a platform would."""

import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tests.kit.databases import create_tables
from tests.kit.processes import environment, free_port

from .environment import ROOT, CannotRun
from .stacks import Stack

_START_SECONDS = 120
_STOP_SECONDS = 30
_RESTART_SECONDS = 0.5


@contextmanager
def running(stack: Stack, directory: Path, variables: Mapping[str, str]) -> Iterator[str]:
    """Run the service of a stack until the end of the block; yield the URL of its protected route.

    Args:
        stack: whose service.
        directory: its environment, as `install` returned it.
        variables: the service's environment variables, beside PORT and URL.

    Its output goes to `service.log` there. Raises CannotRun if it does not answer in time.
    """
    port = free_port()
    root = f"http://127.0.0.1:{port}"
    url = f"{root}/v1/devices" if stack.kind == "whole" else f"{root}/"
    settings = {**variables, "PORT": str(port), "URL": root}
    if stack.kind == "whole":
        settings |= _settings_of_the_api(directory, settings)
    command = _command(stack, directory, port)
    with (directory / "service.log").open("wb") as log:
        service = _Service(command, ROOT if stack.kind == "whole" else directory, environment(settings), log)
        service.start()
        try:
            _wait_until_answering(url)
            yield url
        finally:
            service.stop()


def _command(stack: Stack, directory: Path, port: int) -> list[str]:
    own = Path(sys.executable).parent
    programs = own if stack.pins is None else directory / "venv" / "bin"
    bind = ["--bind", f"127.0.0.1:{port}", "--threads", "4", "--no-control-socket"]
    match stack.kind:
        case "node":
            return ["node", "service.mjs"]
        case "asgi":
            return [str(programs / "uvicorn"), "--host", "127.0.0.1", "--port", str(port), "service:app"]
        case "whole":
            return [str(programs / "gunicorn"), "-c", "gunicorn.conf.py", "api:create_app()"]
        case _:
            return [str(programs / "gunicorn"), *bind, "service:app"]


def _settings_of_the_api(directory: Path, variables: Mapping[str, str]) -> dict[str, str]:
    database = f"sqlite:///{directory}/devices.db"
    create_tables(database)
    dpop = {"API_DPOP": "optional", "API_PUBLIC_URL": variables["URL"]}
    return {
        "API_ISSUERS": variables["ISSUER"],
        "API_AUDIENCE": variables["AUDIENCE"],
        "API_DATABASE_URL": database,
        "WEB_CONCURRENCY": "1",
        **(dpop if variables["DPOP"] == "true" else {}),
    }


class _Service(threading.Thread):
    """Waits for the process and starts the next one, until it is told to stop."""

    def __init__(self, command: list[str], directory: Path, variables: Mapping[str, str], log: BinaryIO) -> None:
        super().__init__(name="service", daemon=True)
        self._command, self._directory, self._variables, self._log = command, directory, dict(variables), log
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        try:
            self._process = self._start_process()
        except FileNotFoundError as exc:
            raise CannotRun(f"{command[0]} is not installed.") from exc

    def _start_process(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command,
            cwd=self._directory,
            env=self._variables,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def run(self) -> None:
        while True:
            self._process.wait()
            if self._stopping.wait(_RESTART_SECONDS):
                return
            with self._lock:
                if self._stopping.is_set():
                    return
                self._process = self._start_process()

    def stop(self) -> None:
        self._stopping.set()
        with self._lock:
            self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self.join()


def _wait_until_answering(url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.HTTPError:
            return  # without a token, a refusal is the answer
        except OSError:
            time.sleep(0.1)
    raise CannotRun(f"The service did not answer within {_START_SECONDS} seconds.")
