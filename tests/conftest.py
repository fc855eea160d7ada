import functools
import os
import shutil
import socket

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "patient",
    # A machine that does two things at once draws its first example slowly; the timeout of each test is limit enough.
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # In CI the same examples each time: what fails there is the change's doing. Elsewhere they are new ones.
    derandomize=os.environ.get("REQUIRE_SERVICES") == "1",
    database=None,
)
settings.load_profile("patient")

pytest_plugins = ["tests.kit.databases", "tests.kit.processes", "tests.kit.running_api"]

# Half of a run is waiting: for browsers, for processes to start and end. More workers than cores use that time.
WORKERS_PER_CORE = 2
MAX_WORKERS = 8

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def pytest_xdist_auto_num_workers() -> int:
    return min(WORKERS_PER_CORE * (os.cpu_count() or 1), MAX_WORKERS)


@functools.cache
def _lacks(service: str) -> str | None:
    """Return why a service cannot be used on this machine, or None if it can."""
    if service == "chromium":
        return None if CHROMIUM else "chromium is not installed"
    if service == "redis-server":  # the program, for tests that stop one
        return None if shutil.which(service) else "redis-server is not installed"
    port = {"postgresql": 5432, "redis": 6379}[service]
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return f"no {service} listens on 127.0.0.1:{port}"
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        reason = _lacks(mark.args[0])
        if reason and os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail(f"{reason}, and REQUIRE_SERVICES=1 calls for it", pytrace=False)
        if reason:
            pytest.skip(reason)
