"""The program against the mock issuer and the real API: both profiles, TLS, and a refresh token that rotates."""

from __future__ import annotations

import json
import shlex
import ssl
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
import requests

from device_app.model.times import Clock
from device_app.storage.token_file import TokenStore
from mock_issuer import Config, Server
from tests.device_app.conftest import scripted_server
from tests.kit.processes import environment as clean_environment
from tests.kit.processes import running_api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.device_app.conftest import FakeTime, Received, Run

    Device = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def device(token_file: Path) -> Device:
    """Start `device` as a process with these arguments."""

    def start(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "device_app", *words],
            env=clean_environment({"DEVICE_TOKEN_FILE": str(token_file)}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def result_of(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    stdout, stderr = process.communicate(timeout=30)
    return process.returncode, stdout, stderr


@pytest.fixture
def tls_issuer(time: FakeTime) -> Iterator[Server]:
    with Server(host="localhost", tls=True, clock=time.clock.now) as issuer:
        issuer.script(outcome="approve")
        yield issuer


def test_tls_with_a_private_ca(tls_issuer: Server, run: Run) -> None:
    assert tls_issuer.url.startswith("https://")
    refused = run("login", "--issuer", tls_issuer.url)
    assert (refused.exit_code, refused.stdout) == (4, "")
    assert refused.stderr == (
        f"The issuer {tls_issuer.url} has a TLS certificate that could not be verified "
        "(--ca-file sets the authorities to trust).\n"
    )
    trusted = ("--issuer", tls_issuer.url, "--ca-file", str(tls_issuer.ca_file))
    accepted = run("login", *trusted)
    assert (accepted.exit_code, accepted.stderr) == (0, "")
    assert accepted.stdout.splitlines()[-1] == "Logged in as Alice Example. Next: device devices"
    assert run("logout", *trusted).output == "Logged out.\n"


def test_the_server_name_is_sent(tls_issuer: Server, run: Run) -> None:
    names: list[str | None] = []

    def note(_: ssl.SSLSocket, name: str | None, __: ssl.SSLContext) -> None:
        names.append(name)

    listener: Any = tls_issuer._server
    listener.ssl_context.sni_callback = note
    assert run("login", "--issuer", tls_issuer.url, "--ca-file", str(tls_issuer.ca_file)).exit_code == 0
    assert set(names) == {"localhost"}


@pytest.mark.parametrize("profile", ["auth0", "rfc"])
def test_both_profiles_of_the_flow(run: Run, time: FakeTime, profile: Any) -> None:
    with Server(Config(profile=profile), clock=time.clock.now) as issuer:
        login = ("login", "--json", "--issuer", issuer.url)
        issuer.script(after_polls=1, outcome="approve")
        result = run(*login)
        assert (result.exit_code, json.loads(result.stdout)["sub"]) == (0, "mock|alice")
        issuer.script(outcome="deny")
        result = run(*login)
        assert (result.exit_code, json.loads(result.stdout)["state"]) == (1, "denied")
        issuer.script(outcome="expire")
        result = run(*login)
        assert (result.exit_code, json.loads(result.stdout)["state"]) == (1, "expired")


@pytest.mark.slow
def test_concurrent_processes_use_the_rotating_refresh_token_once(device: Device, token_file: Path) -> None:
    count = 4
    all_refused = threading.Semaphore(0)
    with Server(Config(poll_interval_seconds=1)) as issuer, scripted_server() as api:
        issuer.script(outcome="approve")
        assert result_of(device("login", "--issuer", issuer.url))[0] == 0
        first = json.loads(token_file.read_text())

        def answer_by_token(request: Received) -> None:
            if request.headers.get("Authorization") == f"Bearer {first['access_token']}":
                all_refused.release()
                api.on("GET /v1/devices", (401, {"error": "invalid_token"}))
            else:
                api.on("GET /v1/devices", (200, {"items": [], "next_cursor": None}))

        api.before_answer = answer_by_token
        with TokenStore(token_file, Clock()).locked():
            processes = [device("devices", "--api", api.address) for _ in range(count)]
            assert all(all_refused.acquire(timeout=30) for _ in processes)
            # All have been refused, and now wait for this lock to refresh.
        assert [result_of(process) for process in processes] == [(0, "You have no devices.\n", "")] * count
        events = [event.type for event in issuer.events]
        assert events.count("sertft") == 1
        assert "ferrt" not in events
        # The login still works: if a refresh token had been used twice, the issuer would have revoked it.
        stored = json.loads(token_file.read_text())
        assert stored["refresh_token"] != first["refresh_token"]


@pytest.mark.slow
def test_the_commands_against_the_api(device: Device, tmp_path: Path) -> None:
    with Server(Config(poll_interval_seconds=1)) as issuer, running_api(issuer.url, tmp_path) as api:
        issuer.script(outcome="approve")
        add = ("add", "Attic TV", "--kind", "television", "--model", "Lumen 40", "--api", api, "--json")
        assert result_of(device("login", "--issuer", issuer.url))[0] == 0
        status, stdout, stderr = result_of(device(*add))
        assert (status, json.loads(stdout)["state"]) == (3, "login_needed")
        # Run the command in the message, as a user would.
        sentence, _, command = stderr.strip().partition("run: ")
        assert sentence == "This login lacks the scope write:devices. To request it, "
        assert result_of(device(*shlex.split(command)[1:]))[0] == 0

        status, stdout, stderr = result_of(device(*add))
        assert (status, stderr) == (0, "")
        added = json.loads(stdout)
        assert (added["name"], added["kind"], added["model"]) == ("Attic TV", "television", "Lumen 40")
        status, stdout, _ = result_of(device("devices", "--api", api))
        assert status == 0
        assert f"{added['id']}  Attic TV" in stdout

        listed = json.loads(result_of(device("devices", "--api", api, "--json"))[1])["items"]
        (thermostat,) = [one for one in listed if one["kind"] == "thermostat"]
        status, stdout, _ = result_of(device("readings", thermostat["id"], "--since", "3h", "--api", api, "--json"))
        metrics = {reading["metric"] for reading in json.loads(stdout)["items"]}
        assert (status, metrics) == (0, {"temperature", "target_temperature", "humidity"})

        status, token, _ = result_of(device("token"))
        answer = requests.get(f"{api}/v1/me", headers={"Authorization": f"Bearer {token.strip()}"}, timeout=10)
        assert (status, answer.json()["sub"]) == (0, "mock|alice")
        status, stdout, _ = result_of(device("readings", added["id"], "--api", api))
        assert (status, stdout) == (0, "This device has no readings.\n")
