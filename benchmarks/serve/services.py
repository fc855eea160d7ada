"""What is measured: each service, how it is started, and the path that is requested."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import requests

from benchmarks.tokens import AUDIENCE
from tests.kit.databases import create_tables
from tests.kit.processes import BIN, ROOT, environment, free_port

_NODE_SOURCE = Path(__file__).with_name("node")
# In the virtual environment: `make clean` removes it, and no check reads the packages.
NODE_FOLDER = Path(sys.prefix) / "bench-serve"
_START_SECONDS = 60
_STOP_SECONDS = 30
# As gunicorn.conf.py sets them.
_GUNICORN = ("gunicorn", "--worker-class", "gthread", "--threads", "8", "--keep-alive", "65", "--no-control-socket")
# As api/operations/server/granian.py sets them, but with one thread: these small services wait for nothing.
_GRANIAN = (
    "granian", "--interface", "wsgi", "--factory", "--workers", "1", "--blocking-threads", "1", "--backpressure", "512",
    "--no-ws", "--no-access-log", "--http", "1",
)  # fmt: skip
_API_ON_GUNICORN = ("device-api", "serve")
_API_ON_GRANIAN = ("device-api", "serve", "--server", "granian")


@dataclass(frozen=True, slots=True)
class Service:
    """A program and the path to request; programs are those of this virtual environment, except node."""

    name: str
    command: tuple[str, ...]
    path: str = "/"
    workers: int = 1

    @property
    def process(self) -> tuple[tuple[str, ...], int]:
        """Return what services that share a process have in common."""
        return self.command, self.workers


def _on_gunicorn(application: str) -> tuple[str, ...]:
    return (*_GUNICORN, f"benchmarks.serve.applications:{application}()")


def _on_granian(application: str) -> tuple[str, ...]:
    return (*_GRANIAN, f"benchmarks.serve.applications:{application}")


PLAIN = Service("plain Flask, gunicorn", _on_gunicorn("plain"))
DECORATED = Service("copied decorators, gunicorn", _on_gunicorn("decorated"))
PYJWT = Service("PyJWT's quickstart, gunicorn", _on_gunicorn("pyjwt"))
AUTHLIB = Service("Authlib, gunicorn", _on_gunicorn("authlib"))
LIVEZ = Service("whole API, /livez, gunicorn", _API_ON_GUNICORN, "/livez")
ME = Service("whole API, /v1/me, gunicorn", _API_ON_GUNICORN, "/v1/me")
DEVICES = Service("whole API, /v1/devices, gunicorn", _API_ON_GUNICORN, "/v1/devices")
PLAIN_FAST = Service("plain Flask, granian", _on_granian("plain"))
DECORATED_FAST = Service("copied decorators, granian", _on_granian("decorated"))
ME_FAST = Service("whole API, /v1/me, granian", _API_ON_GRANIAN, "/v1/me")
EXPRESS_PLAIN = Service("plain Express, node", ("node", "server.mjs"), "/plain")
EXPRESS = Service("express-oauth2-jwt-bearer, node", ("node", "server.mjs"))
TWO_WORKERS = Service("whole API, /v1/me, two workers", _API_ON_GUNICORN, "/v1/me", workers=2)

ALL = (
    PLAIN, DECORATED, PYJWT, AUTHLIB, LIVEZ, ME, DEVICES,
    PLAIN_FAST, DECORATED_FAST, ME_FAST, EXPRESS_PLAIN, EXPRESS,
)  # fmt: skip
# Not the peers, which verify a signature in each request: valgrind lacks instructions that OpenSSL has for it (ADX), so
# OpenSSL needs more of others.
COUNTED = (PLAIN, DECORATED, LIVEZ, ME, DEVICES)


@dataclass(frozen=True, slots=True)
class Running:
    """A started program."""

    url: str
    process: int


@contextlib.contextmanager
def running(
    service: Service, *, issuer: str, jwks_url: str, cores: str, directory: Path, under: tuple[str, ...] = ()
) -> Iterator[Running]:
    """Start a service on `cores` alone; its database and log are in `directory`, which must be new.

    `under` is the command of a program that runs it. Raises RuntimeError if it does not answer in time.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    directory.mkdir()
    database_url = f"sqlite:///{directory}/devices.db"
    create_tables(database_url)
    variables = {
        "PORT": str(port),
        "WEB_CONCURRENCY": str(service.workers),
        "GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{port}",
        "GRANIAN_PORT": str(port),
        "NODE_ENV": "production",  # otherwise Express does more for each request
        "BENCH_ISSUER": issuer,
        "BENCH_JWKS_URL": jwks_url,
        "BENCH_AUDIENCE": AUDIENCE,
        "API_ISSUERS": issuer,
        "API_AUDIENCE": AUDIENCE,
        "API_JWKS_URL": jwks_url,
        "API_DATABASE_URL": database_url,
        "API_SAMPLE_DATA": "true",  # six devices for each caller
    }
    is_node = service.command[0] == "node"
    program = service.command[0] if is_node else str(BIN / service.command[0])
    # A file, and not /dev/null: writing a line is a part of the API's cost.
    with (directory / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            ["taskset", "-c", cores, *under, program, *service.command[1:]],
            cwd=NODE_FOLDER if is_node else ROOT,
            env=environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_until_answering(f"{url}{service.path}", process, directory / "log")
            yield Running(url, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_answering(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(requests.ConnectionError):
            # Any status: the request has no token.
            requests.get(url, timeout=5)
            return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not answer: {log.read_text(encoding='utf-8')[-2000:]}")


def install_node_packages() -> None:
    """Copy the peer's server into the virtual environment, and install what its lock file pins there, once."""
    shutil.copytree(_NODE_SOURCE, NODE_FOLDER, dirs_exist_ok=True)
    if (NODE_FOLDER / "node_modules" / ".package-lock.json").exists():
        return
    print("Installing the peer's packages into the virtual environment, once…", file=sys.stderr)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    subprocess.run(command, cwd=NODE_FOLDER, check=True, stdout=subprocess.DEVNULL)


def cores() -> tuple[str, str, str]:
    """Return the server's core, wrk's core, and the two together, as `taskset` names them.

    Raises RuntimeError on a machine with one core.
    """
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:  # noqa: PLR2004  # one for the server, one for wrk
        raise RuntimeError("two cores are needed: one for the server, one for wrk")
    server, client = available[:2]
    return str(server), str(client), f"{server},{client}"


def versions() -> Mapping[str, str]:
    """Return the versions of the programs that are no Python packages."""
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {"node": node}
