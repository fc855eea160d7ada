import functools
import os
import shutil
import socket
import sys
from importlib.metadata import distributions

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "slow machine",
    # On a busy machine, the first example is slow; each test has a timeout anyway.
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # The same examples in each run of CI, so that only a change can make it fail. Elsewhere, new ones.
    derandomize=os.environ.get("REQUIRE_SERVICES") == "1",
    database=None,
)
settings.load_profile("slow machine")

pytest_plugins = ["tests.kit.databases", "tests.kit.processes", "tests.kit.running_api"]

# Tests wait half of the time, for browsers and processes: more workers than cores use that time.
WORKERS_PER_CORE = 2
MAX_WORKERS = 8

# Of redis-server, tests start and stop their own.
PROGRAMS = {"curl", "make", "node", "redis-server"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


# Programs and the fixture mock_issuer come from these.
DISTRIBUTIONS = {"device-api": ".", "mock-issuer": "mock_issuer", "device-app": "device_app"}


def pytest_configure() -> None:
    missing = {name: folder for name, folder in DISTRIBUTIONS.items() if not list(distributions(name=name))}
    if missing:
        command = f"{sys.executable} -m pip install --no-deps {' '.join(f'-e {folder}' for folder in missing.values())}"
        raise pytest.UsageError(f"{', '.join(missing)}: not installed in this environment. Run: {command}")


def pytest_xdist_auto_num_workers() -> int:
    return min(WORKERS_PER_CORE * (os.cpu_count() or 1), MAX_WORKERS)


@functools.cache
def _lacks(service: str) -> str | None:
    """Return why a service cannot be used on this machine, or None if it can."""
    if service == "chromium":
        return None if CHROMIUM else "chromium is not installed"
    if service in PROGRAMS:
        return None if shutil.which(service) else f"{service} is not installed"
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
            pytest.fail(f"{reason}, and REQUIRE_SERVICES=1 requires it", pytrace=False)
        if reason:
            pytest.skip(reason)
