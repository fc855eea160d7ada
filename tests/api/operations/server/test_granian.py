"""`device-api serve --server granian`, as a process."""

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import requests
from click.testing import CliRunner

from api import cli
from tests.kit.databases import create_tables
from tests.kit.key_server import KeyServer
from tests.kit.processes import ROOT, environment, free_port, running
from tests.kit.signing import AUDIENCE, claims, jwks, rsa_key

COMMAND = [sys.executable, "-m", "api", "serve", "--server", "granian"]
KEY = rsa_key(0, "key-1")

pytestmark = pytest.mark.needs("granian")


class Server(NamedTuple):
    """The API under granian, its key server, and its process."""

    url: str
    keys: KeyServer
    process: "subprocess.Popen[str]"

    def get(self, path: str, **headers: str) -> requests.Response:
        token = KEY.sign(claims(iss=self.keys.issuer))
        # Without a token where the test gives another header.
        sent = headers or {"Authorization": f"Bearer {token}"}
        return requests.get(f"{self.url}{path}", headers=sent, timeout=10)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with KeyServer() as keys:
        keys.publish(jwks(KEY))
        variables = {
            "PORT": str(port),
            "WEB_CONCURRENCY": "2",
            "API_ISSUERS": keys.issuer,
            "API_AUDIENCE": AUDIENCE,
            "API_DATABASE_URL": f"sqlite:///{tmp_path}/devices.db",
        }
        create_tables(variables["API_DATABASE_URL"])
        # At the end, SIGTERM must stop it with status 0.
        with running(COMMAND, f"{url}/livez", **variables) as process:
            yield Server(url, keys, process)


@pytest.mark.slow
def test_it_answers_as_under_gunicorn(server: Server) -> None:
    assert server.get("/v1/me").json()["issuer"] == server.keys.issuer
    assert server.get("/v1/devices").json() == {"items": [], "next_cursor": None}
    for path, headers, status in (("/v1/me", {"Accept": "*/*"}, 401), ("/v1/unknown", {}, 404), ("/readyz", {}, 200)):
        answer = server.get(path, **headers)
        assert answer.status_code == status
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])
        assert status == 200 or answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.slow
def test_the_scheme_is_that_of_a_trusted_proxy(server: Server) -> None:
    for scheme, expected in (("https", "https"), ("http", "http"), ("file", "http")):
        challenge = server.get("/v1/me", **{"X-Forwarded-Proto": scheme}).headers["WWW-Authenticate"]
        assert f'resource_metadata="{expected}://' in challenge


@pytest.mark.slow
def test_a_request_in_progress_is_finished_after_sigterm(server: Server) -> None:
    asked = server.keys.hang_keys()
    answers: list[int] = []
    client = threading.Thread(target=lambda: answers.append(server.get("/v1/me").status_code))
    client.start()
    assert asked.wait(10)  # the request waits for the keys of its token
    server.process.terminate()
    server.keys.released.set()
    client.join(20)
    # The answer without keys; a connection that was closed early would be none.
    assert answers == [503]


def test_invalid_settings_are_reported_together_and_stop_it() -> None:
    variables = environment({"API_ISSUERS": "https://issuer.example/", "API_AUDIENCE": "", "PORT": "x"})
    ended = subprocess.run(COMMAND, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines() == [
        "The device API cannot start. 2 settings are invalid (see docs/settings.md):",
        "  API_AUDIENCE: is required.",
        "  PORT: must be a whole number from 0 to 65535.",
    ]


def test_options_of_gunicorn_are_refused() -> None:
    ended = CliRunner().invoke(cli.main, ["serve", "--server", "granian", "--workers", "3"])
    assert ended.exit_code == 2
    assert "granian takes no further options." in ended.stderr


def test_a_port_in_use_is_reported_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = str(other.getsockname()[1])
        variables = environment({"API_ISSUERS": "https://issuer.example/", "API_AUDIENCE": AUDIENCE, "PORT": port})
        ended = subprocess.run(
            COMMAND, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=30, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr == f"Error: The API cannot listen on 127.0.0.1, port {port}: Address already in use.\n"


@pytest.mark.parametrize(
    ("addresses", "address", "trusted"),
    [
        ("127.0.0.1,::1", "127.0.0.1", True),
        ("127.0.0.1, ::1", "::1", True),
        ("127.0.0.1", "10.0.0.1", False),
        ("10.0.0.0/8", "10.0.0.1", True),
        ("*", "10.0.0.1", True),
        ("", "127.0.0.1", False),
        ("127.0.0.1", "", False),
    ],
)
def test_only_listed_proxies_are_trusted(addresses: str, address: str, *, trusted: bool) -> None:
    from api.operations.server.granian import trust_proxies

    schemes = []

    def application(environ: object, start_response: object) -> list[bytes]:
        schemes.append(environ["wsgi.url_scheme"])  # type: ignore[index]  # a WSGI environment
        return []

    environ = {"wsgi.url_scheme": "http", "REMOTE_ADDR": address, "HTTP_X_FORWARDED_PROTO": "https"}
    trust_proxies(application, addresses)(environ, lambda *_: lambda _: None)
    assert schemes == ["https" if trusted else "http"]
