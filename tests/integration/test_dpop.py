"""Tokens bound to a key, from the issuer to the API: by the device app and by npm's client libraries (RFC 9449).

Issuer and API want nonces in one half of the tests.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jwt
import pytest
import requests
from click.testing import CliRunner

from device_app.cli import cli
from mock_issuer import Config, Server
from tests.integration.test_npm_clients import SOURCE
from tests.kit.npm_packages import installed
from tests.kit.person import Person
from tests.kit.processes import ROOT, free_port, running_api
from tests.kit.prover import Prover


@dataclass(frozen=True)
class Servers:
    issuer: Server
    api: str


@pytest.fixture(scope="module", params=[False, True], ids=["without nonces", "with nonces"])
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    port = free_port()
    settings = {"API_DPOP": "optional", "API_PUBLIC_URL": f"http://127.0.0.1:{port}"}
    if request.param:
        settings["API_DPOP_NONCE_SECRET"] = "s" * 32
    config = Config(dpop_nonces=request.param, poll_interval_seconds=1)
    with (
        Server(config) as issuer,
        running_api(issuer.url, tmp_path_factory.mktemp("api"), port=port, **settings) as api,
    ):
        yield Servers(issuer, api)


def test_the_device_app_calls_the_api_and_nobody_else_can(servers: Servers, tmp_path: Path) -> None:
    environment = {"DEVICE_TOKEN_FILE": str(tmp_path / "tokens.json"), "DEVICE_API": servers.api}
    environment |= {"DEVICE_ISSUER": servers.issuer.url}

    def device(*words: str) -> str:
        result = CliRunner().invoke(cli, words, env=environment)
        assert result.exit_code == 0, result.output
        return result.stdout

    servers.issuer.script(outcome="approve")
    device("login", "--dpop", "--scope", "openid offline_access read:devices write:devices read:readings")
    listed = json.loads(device("devices", "--json"))["items"]
    assert any(item["kind"] == "thermostat" for item in listed)
    device("add", "Attic TV", "--kind", "television", "--model", "Lumen 40")
    assert "Attic TV" in device("devices")

    token = device("token").strip()
    url = f"{servers.api}/v1/devices"
    stolen = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10)
    assert stolen.status_code == 401
    assert 'error="invalid_token"' in stolen.headers["WWW-Authenticate"]
    thief = Prover().proof("GET", url, access_token=token)
    stolen = requests.get(url, headers={"Authorization": f"DPoP {token}", "DPoP": thief}, timeout=10)
    assert stolen.status_code == 401

    first = json.loads((tmp_path / "tokens.json").read_text())
    (tmp_path / "tokens.json").write_text(json.dumps(first | {"expires_at": 0}))
    assert "Attic TV" in device("devices")
    second = json.loads((tmp_path / "tokens.json").read_text())
    assert second["access_token"] != first["access_token"]
    assert device("logout") == "Logged out.\n"


@pytest.mark.slow
@pytest.mark.parametrize(("path", "scope"), [("/v1/devices", "read:devices"), ("/v1/me", "")])
def test_the_api_passes_the_check_with_proofs(servers: Servers, path: str, scope: str) -> None:
    command = [sys.executable, "-m", "mock_issuer", "check", servers.api + path, "--scope", scope, "--dpop"]
    command += ["--issuer", servers.issuer.url, "--fail-on", "all", "--only", "dpop-*", "--only", "cnf-*"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    sent, right, *_ = (int(word) for word in done.stdout.replace(",", "").split() if word.isdigit())
    assert sent == right >= 60


@pytest.fixture(scope="session")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(SOURCE, "npm-clients", tmp_path_factory)


@pytest.mark.slow
@pytest.mark.needs("node")
@pytest.mark.needs("npm")
@pytest.mark.timeout(180)  # npm ci may download
@pytest.mark.parametrize("client", ["openid_client_dpop", "oauth4webapi_dpop"])
def test_npm_clients_prove_their_key(servers: Servers, scripts: Path, client: str) -> None:
    servers.issuer.reset()
    command = ["node", f"{client}.mjs", servers.issuer.url, servers.api]
    with subprocess.Popen(command, cwd=scripts, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            lines = map(json.loads, process.stdout)
            user_code = next(lines)["user_code"]
            with Person(servers.issuer.url) as person:
                person.approve(user_code)
            tokens = next(lines)
            assert (tokens["token_type"], tokens["userinfo"]) == ("dpop", {"sub": "mock|alice"})
            assert tokens["statuses"] == [200, 200]
            assert jwt.decode(tokens["access_token"], options={"verify_signature": False})["cnf"].keys() == {"jkt"}
            assert list(lines) == [{"error": "invalid_grant"}]  # a refresh with the revoked token
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
