"""The marker `needs`, the only way to skip a test: under REQUIRE_SERVICES=1 it fails instead."""

import functools
import importlib.util
import os
import shutil
import socket

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_PORTS = {"postgresql": 5432, "redis": 6379}
# redis-server: tests start and stop their own.
_PROGRAMS = ("curl", "make", "node", "npm", "redis-server")
_MODULES = ("asgiref",)


@functools.cache
def reason_against(service: str) -> str | None:
    """Return why a test that needs a service cannot run on this machine, or None if it can."""
    if service == "chromium":
        return None if CHROMIUM else "chromium is not installed"
    if service in _PROGRAMS:
        return None if shutil.which(service) else f"{service} is not installed"
    if service in _MODULES:
        return None if importlib.util.find_spec(service) else f"{service} is not installed"
    port = _PORTS[service]
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
