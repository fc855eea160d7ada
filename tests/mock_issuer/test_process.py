"""The command `mock-issuer` as a process."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
from urllib.parse import urlsplit

import pytest
import requests

import mock_issuer
from tests.kit.issuer_command import COMMANDS, started


@pytest.mark.parametrize("command", COMMANDS, ids=["module", "script"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_prints_its_address_and_ends_cleanly(command: list[str], number: signal.Signals) -> None:
    with started([*command, "--port", "0"]) as (process, line):
        found = re.fullmatch(r"Mock issuer listening on (http://127\.0\.0\.1:\d+/)\n", line)
        assert found, line
        metadata = requests.get(found[1] + ".well-known/openid-configuration", timeout=10).json()
        assert metadata["issuer"] == found[1]
        process.send_signal(number)
        out, _ = process.communicate(timeout=10)
        assert (process.returncode, out) == (0, "")


def test_ends_at_once_although_clients_are_slow() -> None:
    with started([*COMMANDS[0], "--port", "0"]) as (process, line), contextlib.ExitStack() as stack:
        url = line.split()[-1]
        requests.post(url + "_mock/jwks_fault", json={"delay": 3600}, timeout=10)
        head = "POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        for sent in (f"{head}Content-Length: 10\r\n\r\nx", head, "GET /.well-known/jwks.json HTTP/1.1\r\n\r\n") * 20:
            address = ("127.0.0.1", urlsplit(url).port or 0)
            stack.enter_context(socket.create_connection(address)).sendall(sent.encode())
        assert requests.get(url, timeout=5).ok  # the slow clients block no other
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=5)
        assert process.returncode == 0
        assert "Traceback" not in log


def test_logs_no_queries_and_no_bodies() -> None:
    with started([*COMMANDS[0], "--port", "0"]) as (process, line):
        url = line.split()[-1]
        form = {"client_id": "device-app", "audience": "https://device-api.example"}
        device = requests.post(url + "oauth/device/code", data=form, timeout=10).json()
        requests.get(device["verification_uri_complete"], timeout=10)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=10)
    assert log == "POST /oauth/device/code 200\nGET /activate 200\n"


def test_takes_an_issuer_identifier_and_a_profile() -> None:
    options = ["--port", "0", "--issuer", "http://issuer.test/", "--profile", "rfc"]
    with started([*COMMANDS[0], *options]) as (_, line):
        found = re.fullmatch(r"Mock issuer listening on (http://127\.0\.0\.1:\d+/) as http://issuer\.test/\n", line)
        assert found, line
        form = {"client_id": "device-app", "audience": "https://device-api.example"}
        device = requests.post(found[1] + "oauth/device/code", data=form, timeout=10).json()
        assert device["verification_uri"] == "http://issuer.test/activate"
        form = {"client_id": "device-app", "grant_type": "urn:ietf:params:oauth:grant-type:device_code"}
        response = requests.post(
            found[1] + "oauth/token", data=form | {"device_code": device["device_code"]}, timeout=10
        )
        assert response.status_code == 400


def run(*options: str) -> tuple[int, str, str]:
    done = subprocess.run([*COMMANDS[0], *options], capture_output=True, text=True, timeout=20, check=False)
    return done.returncode, done.stdout, done.stderr


def test_version() -> None:
    assert run("--version") == (0, f"mock-issuer, version {mock_issuer.__version__}\n", "")


def test_a_port_in_use_is_reported_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = f"mock-issuer cannot listen on 127.0.0.1, port {port}: Address already in use.\n"
        assert run("--port", str(port)) == (1, "", message)


@pytest.mark.parametrize("host", ["é..x", "é" * 64])
def test_an_invalid_host_name_is_reported_in_one_line(host: str) -> None:
    message = f"mock-issuer cannot listen on {host}, port 0: Not a host name.\n"
    assert run("--host", host, "--port", "0") == (1, "", message)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port", "70000"], "not a port"),
        (["--issuer", "ftp://issuer.test/", "--port", "0"], "not an http(s) URL"),
        (["--profile", "other"], "profile must be one of auth0, rfc"),
    ],
)
def test_wrong_options_end_with_status_2(options: list[str], words: str) -> None:
    status, out, err = run(*options)
    assert (status, out) == (2, "")
    assert words in err
    assert "Traceback" not in err
