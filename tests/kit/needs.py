"""The marker `needs`, the only way to skip a test: under REQUIRE_SERVICES=1 it fails instead."""

import functools
import importlib.util
import os
import shutil
import socket
from pathlib import Path

import pytest

# The headless shell first: it is Chromium without windows, and takes half of its CPU time.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "chromium-browser"))), None)
# Debian keeps PostgreSQL's programs out of PATH.
_POSTGRESQL_DIRECTORIES = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
INITDB = shutil.which("initdb", path=os.pathsep.join([os.environ.get("PATH", ""), *_POSTGRESQL_DIRECTORIES]))
_PORTS = {"postgresql": 5432, "redis": 6379}
# Programs of which tests start their own, and whose names or folders differ between systems.
_ELSEWHERE = {"chromium": CHROMIUM, "postgresql-server": INITDB, "/proc": Path("/proc/self/stat").exists()}
_MODULES = ("asgiref", "granian", "podman_compose")


@functools.cache
def reason_against(service: str) -> str | None:
    """Return why a test that needs a service cannot run on this machine, or None if it can."""
    if service == "root":
        return None if os.geteuid() == 0 else "not root: mounts and other users need it"
    if service in _PORTS:
        return _reason_against_port(service, _PORTS[service])
    if service in _MODULES:
        found: object = importlib.util.find_spec(service)
    else:
        found = _ELSEWHERE[service] if service in _ELSEWHERE else shutil.which(service)
    return None if found else f"{service} is not installed"


def _reason_against_port(service: str, port: int) -> str | None:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return f"no {service} listens on 127.0.0.1:{port}"
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose machine lacks what it needs, or fail it under REQUIRE_SERVICES=1."""
    for mark in item.iter_markers("needs"):
        reason = reason_against(mark.args[0])
        if reason and os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail(f"{reason}, and REQUIRE_SERVICES=1 requires it", pytrace=False)
        if reason:
            pytest.skip(reason)
