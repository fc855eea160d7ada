"""Opaque tokens, from the issuer to the API: the device app gets them, and the API asks the issuer (RFC 7662)."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from device_app.cli import cli
from mock_issuer import Config, Server
from tests.kit.processes import free_port, running_api
from tests.kit.prover import Prover

CLIENT = ("device-gateway", "public-test-secret")
SCOPE = "openid offline_access read:devices"
Device = Callable[..., str]


@pytest.fixture(scope="module")
def issuer() -> Iterator[Server]:
    with Server(Config(access_token_format="opaque", poll_interval_seconds=1)) as issuer:
        yield issuer


@pytest.fixture(scope="module")
def api(issuer: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory, port = tmp_path_factory.mktemp("api"), free_port()
    (directory / "secret").write_text(f"{CLIENT[1]}\n")
    settings = {
        "API_INTROSPECTION_CLIENT_ID": CLIENT[0],
        "API_INTROSPECTION_CLIENT_SECRET_FILE": str(directory / "secret"),
        "API_DPOP": "optional",
        "API_PUBLIC_URL": f"http://127.0.0.1:{port}",
    }
    with running_api(issuer.url, directory, port=port, **settings) as api:
        yield api


@pytest.fixture
def device(issuer: Server, api: str, tmp_path: Path) -> Device:
    environment = {"DEVICE_TOKEN_FILE": str(tmp_path / "tokens.json"), "DEVICE_API": api, "DEVICE_ISSUER": issuer.url}

    def device(*words: str) -> str:
        result = CliRunner().invoke(cli, words, env=environment)
        assert result.exit_code == 0, result.output
        return result.stdout

    issuer.script(outcome="approve")
    return device


def status(api: str, token: str, **headers: str) -> int:
    headers = {"Authorization": f"Bearer {token}", **headers}
    return requests.get(f"{api}/v1/devices", headers=headers, timeout=10).status_code


def test_the_device_app_calls_the_api_with_an_opaque_token(api: str, device: Device, tmp_path: Path) -> None:
    assert requests.get(f"{api}/readyz", timeout=10).status_code == 200
    device("login", "--scope", SCOPE)
    listed = json.loads(device("devices", "--json"))["items"]
    assert any(item["kind"] == "thermostat" for item in listed)
    token = device("token").strip()
    assert "." not in token
    me = requests.get(f"{api}/v1/me", headers={"Authorization": f"Bearer {token}"}, timeout=10).json()
    assert (me["sub"], me["scopes"]) == ("mock|alice", sorted(SCOPE.split()))
    # The issuer says of a refresh token that it is active, and for this API.
    refresh_token = json.loads((tmp_path / "tokens.json").read_text())["refresh_token"]
    assert [status(api, token), status(api, refresh_token), status(api, token[:-1])] == [200, 401, 401]


def test_a_token_that_the_issuer_revoked_before_its_use_is_refused(issuer: Server, api: str, device: Device) -> None:
    device("login", "--scope", SCOPE)
    token = device("token").strip()
    form = {"token": token, "client_id": json.loads(device("status", "--json"))["client_id"]}
    assert requests.post(f"{issuer.url}oauth/revoke", data=form, timeout=10).status_code == 200
    assert status(api, token) == 401


def test_an_opaque_token_can_be_bound_to_a_key(api: str, device: Device) -> None:
    device("login", "--dpop", "--scope", SCOPE)
    assert json.loads(device("devices", "--json"))["items"]
    token = device("token").strip()
    thief = Prover().proof("GET", f"{api}/v1/devices", access_token=token)
    assert [status(api, token), status(api, token, Authorization=f"DPoP {token}", DPoP=thief)] == [401, 401]
