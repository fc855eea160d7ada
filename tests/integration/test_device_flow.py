"""The device flow with both servers as processes: a device gets a token and reads its data."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.kit.headers import header_of
from tests.kit.person import Person
from tests.kit.processes import BIN, environment, running_api, running_issuer

AUDIENCE = "https://device-api.example"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass(frozen=True)
class Servers:
    issuer: str
    api: str

    def get(self, path: str, token: str | None = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return requests.get(f"{self.api}{path}", headers=headers, timeout=10)

    def machine_token(self, scope: str) -> str:
        answer = requests.post(
            f"{self.issuer}oauth/token",
            data={"grant_type": "client_credentials", "audience": AUDIENCE, "scope": scope},
            auth=("device-gateway", "public-test-secret"),
            timeout=10,
        )
        return str(answer.json()["access_token"])


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    directory = tmp_path_factory.mktemp("api")
    # Poll each second instead of every five: the device app waits in real time here.
    with running_issuer("--poll-interval-seconds", "1") as issuer, running_api(issuer, directory) as api:
        yield Servers(issuer, api)


def test_a_device_gets_a_token_and_reads_its_data(servers: Servers) -> None:
    challenge = header_of(servers.get("/v1/devices"), "WWW-Authenticate")
    (metadata_url,) = re.findall(r'resource_metadata="([^"]+)"', challenge)
    metadata = requests.get(metadata_url, timeout=10).json()
    assert metadata["authorization_servers"] == [servers.issuer]
    endpoints = requests.get(f"{servers.issuer}.well-known/openid-configuration", timeout=10).json()

    form = {
        "client_id": "device-app",
        "audience": AUDIENCE,
        "scope": "openid offline_access read:devices read:readings",
    }
    codes = requests.post(endpoints["device_authorization_endpoint"], data=form, timeout=10).json()
    poll = {"grant_type": DEVICE_CODE, "device_code": codes["device_code"], "client_id": "device-app"}
    pending = requests.post(endpoints["token_endpoint"], data=poll, timeout=10)
    assert (pending.status_code, pending.json()["error"]) == (403, "authorization_pending")

    with Person(servers.issuer) as person:
        person.approve(codes["user_code"], typed=True)
    tokens = requests.post(endpoints["token_endpoint"], data=poll, timeout=10).json()

    me = servers.get("/v1/me", tokens["access_token"]).json()
    assert (me["sub"], me["client_id"], me["issuer"]) == ("mock|alice", "device-app", servers.issuer)
    devices = servers.get("/v1/devices", tokens["access_token"]).json()["items"]
    (thermostat,) = [device for device in devices if device["kind"] == "thermostat"]
    readings = servers.get(f"/v1/devices/{thermostat['id']}/readings?limit=3", tokens["access_token"]).json()["items"]
    assert {reading["metric"] for reading in readings} == {"temperature", "target_temperature", "humidity"}

    refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "client_id": "device-app"}
    renewed = requests.post(endpoints["token_endpoint"], data=refresh, timeout=10).json()
    assert servers.get("/v1/devices", renewed["access_token"]).json()["items"] == devices

    # The audience of the ID token is the client, not the API.
    refused = servers.get("/v1/me", tokens["id_token"])
    assert refused.status_code == 401
    assert 'error="invalid_token"' in header_of(refused, "WWW-Authenticate")


def test_answers_to_other_credentials(servers: Servers) -> None:
    token = servers.machine_token("read:devices")
    assert servers.get("/v1/devices", token).status_code == 200

    bare = servers.get("/v1/devices")
    assert bare.status_code == 401
    assert "error" not in header_of(bare, "WWW-Authenticate")

    limited = servers.get("/v1/devices", servers.machine_token("read:readings"))
    assert limited.status_code == 403
    assert 'error="insufficient_scope"' in header_of(limited, "WWW-Authenticate")
    assert 'scope="read:devices"' in header_of(limited, "WWW-Authenticate")

    header, payload, signature = token.split(".")
    flipped = signature[:50] + ("A" if signature[50] != "A" else "B") + signature[51:]
    forged = servers.get("/v1/devices", f"{header}.{payload}.{flipped}")
    assert forged.status_code == 401
    assert 'error="invalid_token"' in header_of(forged, "WWW-Authenticate")


def test_the_device_app_logs_in_and_shows_the_data(servers: Servers, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.json"
    variables = {"DEVICE_ISSUER": servers.issuer, "DEVICE_API": servers.api, "DEVICE_TOKEN_FILE": str(tokens)}

    def device(*arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(BIN / "device"), *arguments],
            env=environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def output_of(*arguments: str) -> tuple[int, str]:
        with device(*arguments) as process:
            output, _ = process.communicate(timeout=30)
        return process.returncode, output

    with device("login", "--no-browser") as login:
        assert login.stdout is not None
        shown = ""
        while (found := re.search(r"\b([B-Z]{4}-[B-Z]{4})\b", shown)) is None:
            line = login.stdout.readline()
            assert line, shown
            shown += line
        with Person(servers.issuer) as person:
            person.approve(found[1], "bob")
        rest, _ = login.communicate(timeout=30)
    assert login.returncode == 0, rest

    status, table = output_of("devices")
    assert status == 0, table
    assert "Thermostat" in table
    device_id = re.findall(r"dev_[0-9a-f]{20}", table)[1]
    status, table = output_of("readings", device_id, "--limit", "3")
    assert status == 0, table
    assert "temperature" in table

    assert output_of("logout")[0] == 0
    assert not tokens.exists()
    status, message = output_of("devices")
    assert status == 3
    assert "log" in message
