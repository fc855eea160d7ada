"""`make run`, from its start to Ctrl-C."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.kit.headers import header_of
from tests.kit.processes import ROOT, environment, free_port


@contextmanager
def start(tmp_path: Path, **variables: str) -> "Iterator[subprocess.Popen[str]]":
    """Run the demo; stop it and its children even if the test fails."""
    settings = {
        "PORT": str(free_port()),
        "MOCK_ISSUER_PORT": str(free_port()),
        "API_DATABASE_URL": f"sqlite:///{tmp_path}/devices.db",
        **variables,
    }
    with subprocess.Popen(
        [sys.executable, "demo.py"],
        cwd=ROOT,
        env=environment(settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        try:
            yield demo
        finally:
            demo.terminate()


def paste(curl: str) -> requests.Response:
    """Send the request of a curl line."""
    words = shlex.split(curl)
    headers = dict(words[index + 1].split(": ", 1) for index, word in enumerate(words) if word == "-H")
    return requests.get(words[-1], headers=headers, timeout=10)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_both_and_says_what_to_try(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path) as demo:
        assert demo.stdout is not None
        shown = ""
        while "Ctrl-C" not in shown:
            line = demo.stdout.readline()
            assert line, demo.communicate()
            shown += line
        full, bare, limited = (paste(line) for line in re.findall(r"curl .*", shown))
        assert full.status_code == 200
        assert full.json()["items"]
        assert bare.status_code == 401
        assert "error" not in header_of(bare, "WWW-Authenticate")
        assert limited.status_code == 403
        assert 'scope="read:devices"' in header_of(limited, "WWW-Authenticate")
        assert "alice / alice-password" in shown
        (command,) = re.findall(r"(DEVICE_ISSUER=\S+ DEVICE_API=\S+ \S+device) login", shown)
        urls = re.findall(r"http://127\.0\.0\.1:\d+/?", command)
        assert all(requests.get(url, timeout=10).status_code in {200, 404} for url in urls)

        os.kill(demo.pid, number)
        rest, errors = demo.communicate(timeout=30)
    assert demo.returncode == 0, errors
    assert rest.strip() == "Both have stopped."
    assert errors == ""
    for url in urls:
        with pytest.raises(requests.ConnectionError):
            requests.get(url, timeout=10)


@pytest.mark.parametrize("variable", ["PORT", "MOCK_ISSUER_PORT"])
def test_a_port_in_use_is_told_in_a_sentence(tmp_path: Path, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with start(tmp_path, **{variable: port}) as demo:
            shown, errors = demo.communicate(timeout=30)
    assert demo.returncode == 1
    assert shown == ""
    assert len(errors.splitlines()) == 1
    assert f"Port {port} on 127.0.0.1 is not available" in errors
    assert variable in errors


def test_one_port_for_both_is_told(tmp_path: Path) -> None:
    port = str(free_port())
    with start(tmp_path, PORT=port, MOCK_ISSUER_PORT=port) as demo:
        _, errors = demo.communicate(timeout=30)
    assert demo.returncode == 1
    assert errors == f"PORT and MOCK_ISSUER_PORT are both {port}: they must differ.\n"


def test_a_port_that_is_none_is_told(tmp_path: Path) -> None:
    with start(tmp_path, PORT="http") as demo:
        _, errors = demo.communicate(timeout=30)
    assert demo.returncode == 1
    assert errors == "PORT must be a port number, not http.\n"


def test_what_one_of_them_cannot_start_with_ends_both(tmp_path: Path) -> None:
    with start(tmp_path, API_LEEWAY_SECONDS="long") as demo:
        _, errors = demo.communicate(timeout=30)
    assert demo.returncode == 1
    assert "API_LEEWAY_SECONDS: is not a whole number." in errors
    assert "device-api db upgrade failed with status 2" in errors
    assert "Traceback" not in errors
