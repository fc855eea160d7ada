"""`make run`, from its start to Ctrl-C."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.kit.person import Person
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


def read_first_screen(demo: "subprocess.Popen[str]") -> str:
    """Return what the demo prints once both run."""
    assert demo.stdout is not None
    shown = ""
    # The last line that it prints.
    while not re.search(r"without a token \(401\):\n.+\n", shown):
        line = demo.stdout.readline()
        assert line, demo.communicate()
        shown += line
    return shown


def servers_of(shown: str) -> list[str]:
    """Return the addresses of the API and of the issuer."""
    return [re.findall(rf"http://127\.0\.0\.1:\d+(?=/{page}\n)", shown)[0] for page in ("docs", "playground")]


def are_down(urls: list[str]) -> bool:
    for url in urls:
        try:
            requests.get(url, timeout=10)
        except requests.ConnectionError:
            continue
        return False
    return True


def wait_until_down(urls: list[str]) -> None:
    deadline = time.monotonic() + 30
    while not are_down(urls):
        assert time.monotonic() < deadline, "A server still runs."
        time.sleep(0.1)


def approve_all_logins(issuer: str) -> None:
    requests.post(f"{issuer}/_mock/script", json={"outcome": "approve", "user": "alice"}, timeout=10).raise_for_status()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_both_and_says_what_to_try(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path) as demo:
        shown = read_first_screen(demo)
        api, issuer = servers_of(shown)
        assert "alice / alice-password" in shown
        assert requests.get(f"{issuer}/playground", timeout=10).ok
        documentation = requests.get(api, timeout=10)
        assert documentation.url == f"{api}/docs"
        # A token never appears on the screen.
        assert "eyJ" not in shown

        approve_all_logins(issuer)
        commands = [line.strip() for line in shown.splitlines() if re.match(r"  (export|AUTH=|curl|\S*device )", line)]
        script = "\n".join(["set -e", *(line.replace("curl -i", "curl -si --output -") for line in commands)])
        ran = subprocess.run(
            ["sh", "-c", script],
            cwd=ROOT,
            env=environment({"DEVICE_TOKEN_FILE": str(tmp_path / "tokens.json")}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        assert "Logged in as Alice Example" in ran.stdout
        assert re.findall(r"^HTTP/1\.1 (\d+)", ran.stdout, re.MULTILINE) == ["200", "403", "401"]
        assert "Living room TV" in ran.stdout

        os.kill(demo.pid, number)
        rest, errors = demo.communicate(timeout=30)
    assert demo.returncode == 0, errors
    assert rest.strip() == "Both have stopped."
    assert errors == ""
    assert are_down([api, issuer])


@pytest.mark.slow
def test_the_first_screen_fits_a_terminal(tmp_path: Path) -> None:
    with start(tmp_path) as demo:
        lines = read_first_screen(demo).splitlines()
    # One line is left for the prompt.
    assert len(lines) < 24
    assert max(map(len, lines)) <= 80
    assert next(line for line in lines if "http" in line).endswith("/playground")


@pytest.mark.slow
def test_the_servers_end_when_the_demo_is_killed(tmp_path: Path) -> None:
    with start(tmp_path) as demo:
        urls = servers_of(read_first_screen(demo))
        demo.kill()
        demo.wait()
        wait_until_down(urls)


@pytest.mark.slow
def test_it_ends_when_nobody_reads_its_output(tmp_path: Path) -> None:
    with start(tmp_path) as demo:
        urls = servers_of(read_first_screen(demo))
        assert demo.stdout is not None
        assert demo.stderr is not None
        demo.stdout.close()
        assert demo.wait(30) == 0
        assert demo.stderr.read() == ""
    assert are_down(urls)


@pytest.mark.slow
def test_a_phone_approves_at_another_address(tmp_path: Path) -> None:
    # Stands for this machine's address in the local network: a server on 127.0.0.1 does not listen there.
    with start(tmp_path, PHONE="127.0.0.2") as demo:
        shown = read_first_screen(demo)
        _, issuer = servers_of(shown)
        assert demo.stdout is not None
        assert "WARNING: everybody in the network of 127.0.0.2" in shown + "".join(
            demo.stdout.readline() for _ in "123"
        )
        device = {"client_id": "device-app", "audience": "https://device-api.example", "scope": "read:devices"}
        code = requests.post(f"{issuer}/oauth/device/code", data=device, timeout=10).json()
        port = issuer.rsplit(":", 1)[1]
        assert code["verification_uri"] == f"http://127.0.0.2:{port}/activate"
        with Person(f"http://127.0.0.2:{port}/") as person:
            person.approve(code["user_code"])
        granted = {
            "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
            "client_id": "device-app",
            "device_code": code["device_code"],
        }
        assert requests.post(f"{issuer}/oauth/token", data=granted, timeout=10).status_code == 200
        # Whoever reaches these could get any token.
        assert requests.post(f"http://127.0.0.2:{port}/_mock/token", json={}, timeout=10).status_code == 403


def test_a_wrong_phone_address_is_told(tmp_path: Path) -> None:
    with start(tmp_path, PHONE="yes") as demo:
        _, errors = demo.communicate(timeout=30)
    assert demo.returncode == 1
    assert errors == "PHONE must be 1 or this machine's IPv4 address in the local network, not yes.\n"


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


@pytest.mark.parametrize(
    ("variable", "wrong", "sentences"),
    [
        ("API_LEEWAY_SECONDS", "long", ["is not a whole number.", "device-api db upgrade failed with status 2"]),
        ("WEB_CONCURRENCY", "abc", ["must be a whole number from 0 to 999.", "The API exited with status 2"]),
    ],
)
def test_what_one_of_them_cannot_start_with_ends_both(
    tmp_path: Path, variable: str, wrong: str, sentences: list[str]
) -> None:
    with start(tmp_path, **{variable: wrong}) as demo:
        _, errors = demo.communicate(timeout=30)
    assert demo.returncode == 1
    assert f"{variable}: {sentences[0]}" in errors
    assert sentences[1] in errors
    assert "Traceback" not in errors
