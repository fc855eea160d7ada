"""Metrics under gunicorn need no file, and no count is lost when a worker is killed."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.kit.databases import create_tables
from tests.kit.processes import BIN, free_port, running
from tests.kit.signing import AUDIENCE

pytestmark = pytest.mark.slow

# A loaded machine takes seconds to start a worker.
PATIENCE_SECONDS = 40
LIVEZ = 'api_request_seconds_count{method="GET",route="/livez",status="200"}'
KILLED = 'api_worker_deaths_total{signal="SIGKILL"}'


class Server:
    """The API under gunicorn with two workers; `pid` is the first process."""

    def __init__(self, url: str, pid: int) -> None:
        self.url, self.pid = url, pid

    def ask(self, path: str) -> requests.Response:
        # A new connection each time, so that each worker gets some; a killed worker resets those that it had accepted.
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return requests.get(f"{self.url}{path}", timeout=10)
            except requests.ConnectionError:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def metrics(self) -> dict[str, float]:
        text = self.ask("/metrics").text
        return {name: float(value) for name, value in re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)}

    def wait_for(self, is_so: Callable[[dict[str, float]], bool]) -> dict[str, float]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_so(found := self.metrics()):
            relevant = {name: value for name, value in found.items() if name.startswith(("api_worker", "api_threads"))}
            assert time.monotonic() < deadline, relevant
            time.sleep(0.05)
        return found

    def wait_for_deaths(self, number: int) -> dict[str, float]:
        """Wait until so many workers were killed, and two live again."""
        return self.wait_for(lambda found: found.get(KILLED) == number and found["api_threads"] == 16)

    def workers(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]


@contextmanager
def serving(directory: Path, **variables: str) -> Iterator[Server]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {
        "PORT": str(port),
        "WEB_CONCURRENCY": "2",
        "API_ISSUERS": "http://127.0.0.1:9/",
        "API_AUDIENCE": AUDIENCE,
        "API_DATABASE_URL": f"sqlite:///{directory}/devices.db",
        "API_LOG_LEVEL": "error",
        **variables,
    }
    create_tables(settings["API_DATABASE_URL"])
    command = [str(BIN / "gunicorn"), "-c", "gunicorn.conf.py", "api:create_app()"]
    with running(command, f"{url}/livez", **settings) as process:
        server = Server(url, process.pid)
        server.wait_for(lambda found: found.get("api_threads") == 16)
        yield server


@pytest.mark.parametrize(
    "variables",
    [{"TMPDIR": "/absent"}, {"TMPDIR": "/proc"}, {"PROMETHEUS_MULTIPROC_DIR": "/absent"}],
    ids=["no-temporary-directory", "read-only", "directory-of-prometheus-client"],
)
def test_metrics_need_no_directory(tmp_path: Path, variables: dict[str, str]) -> None:
    with serving(tmp_path, **variables) as server:
        before = server.metrics()[LIVEZ]
        for _ in range(20):
            assert server.ask("/livez").status_code == 200
        # Each worker has the sums of both.
        for _ in range(6):
            assert server.metrics()[LIVEZ] == before + 20


def test_a_killed_worker_takes_no_counts_with_it(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        for _ in range(20):
            server.ask("/livez")
        before = server.metrics()
        assert before["api_worker_starts_total"] == 2
        assert KILLED not in before
        os.kill(server.workers()[0], signal.SIGKILL)
        after = server.wait_for_deaths(1)
        assert after["api_worker_starts_total"] == 3
        for name in (LIVEZ, "process_cpu_seconds_total", f"{LIVEZ[:19]}_sum{LIVEZ[25:]}"):
            assert after[name] >= before[name]


@pytest.mark.timeout(180)
def test_twenty_deaths_use_no_more_memory_regions(tmp_path: Path) -> None:
    # There are regions for 14 workers: were they not used again, new workers would count for themselves.
    with serving(tmp_path) as server:
        for deaths in range(2, 21, 2):
            for pid in server.workers():
                os.kill(pid, signal.SIGKILL)
            server.wait_for_deaths(deaths)
        for _ in range(6):
            found = server.metrics()
            assert (found["api_worker_starts_total"], found[KILLED]) == (22, 20)


def test_workers_that_were_asked_to_end_are_no_deaths(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        for _ in range(20):
            server.ask("/livez")
        before = server.metrics()
        old = set(server.workers())
        os.kill(server.pid, signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while old & set(server.workers()) and time.monotonic() < deadline:
            # A count that falls would look to Prometheus like a restart.
            assert server.metrics()[LIVEZ] >= before[LIVEZ]
        after = server.wait_for(lambda found: found["api_threads"] == 16)
        assert after["api_worker_starts_total"] == 4
        assert not [name for name in after if name.startswith("api_worker_deaths_total")]
        assert after[LIVEZ] >= before[LIVEZ]
