"""The output for scripts: --json, exit statuses, and `device token`."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.device_app.conftest import FakeTime, Run, ScriptedServer

DEVICE = {"id": "dev_1", "name": "Hall\x1b[31m", "kind": "hub"}


def id_token(**claims: Any) -> str:
    def part(document: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'RS256'})}.{part(claims)}.c2lnbmF0dXJl"


def granted(server: ScriptedServer, **changes: Any) -> dict[str, Any]:
    return {
        "access_token": "access-secret-2",
        "refresh_token": "refresh-secret-2",
        "token_type": "Bearer",
        "expires_in": 3600,
        "scope": "openid read:devices",
        "id_token": id_token(iss=server.issuer, aud="device-app", sub="mock|alice"),
    } | changes


def test_login(server: ScriptedServer, run: Run) -> None:
    server.offer_code()
    server.on("POST /token", (400, {"error": "authorization_pending"}), (200, granted(server)))
    result = run("login", "--json")
    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    assert json.loads(result.stdout) == {
        "state": "logged_in",
        "sub": "mock|alice",
        "name": None,
        "issuer": server.issuer,
        "client_id": "device-app",
        "scopes": ["openid", "read:devices"],
        "expires_at": "2027-01-15T09:00:10Z",
        "renewable": True,
    }
    # The user approves while the script waits.
    assert "enter the code BDWP-HQPK" in result.stderr


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"id_token": None}, {"sub": None}),
        ({"id_token": "no.token"}, {"sub": None}),
        ({"id_token": "a.b.c"}, {"sub": None}),
        ({"id_token": id_token(iss="https://other.example/", aud="device-app", sub="eve")}, {"sub": None}),
        ({"refresh_token": None}, {"renewable": False}),
        ({"expires_in": None}, {"expires_at": None}),
        ({"expires_in": 1e300}, {"expires_at": None}),
    ],
)
def test_unknown_members_are_null(server: ScriptedServer, run: Run, changes: Any, expected: Any) -> None:
    server.offer_code()
    server.on("POST /token", (200, granted(server, **changes)))
    document = json.loads(run("login", "--json").stdout)
    assert document | expected == document


def test_an_id_token_for_another_client_is_ignored(server: ScriptedServer, run: Run) -> None:
    server.offer_code()
    for audience, subject in (("tv", None), (["tv", "device-app"], "alice"), (None, None)):
        token = id_token(iss=server.issuer, aud=audience, sub="alice")
        server.on("POST /token", (200, granted(server, id_token=token)))
        assert json.loads(run("login", "--json").stdout)["sub"] == subject


@pytest.mark.parametrize(
    ("answer", "state", "exit_code"),
    [
        ((403, {"error": "access_denied"}), "denied", 1),
        ((400, {"error": "expired_token"}), "expired", 1),
        ((400, {"error": "invalid_client"}), "failed", 1),
    ],
)
def test_login_without_tokens(server: ScriptedServer, run: Run, answer: Any, state: str, exit_code: int) -> None:
    server.offer_code()
    server.on("POST /token", answer)
    result = run("login", "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["state"]) == (exit_code, state)
    assert result.stderr.endswith(document["detail"] + "\n")


def test_login_at_an_issuer_that_is_down(server: ScriptedServer, run: Run) -> None:
    server.on("POST /device", (503, ""))
    result = run("login", "--json")
    assert (result.exit_code, json.loads(result.stdout)["state"]) == (4, "unavailable")


def test_login_interrupted(server: ScriptedServer, run: Run, time: FakeTime) -> None:
    server.offer_code()
    time.interrupted = True
    result = run("login", "--json")
    assert result.exit_code == 130
    assert json.loads(result.stdout) == {"state": "interrupted", "detail": "Interrupted."}


def test_status(run: Run, logged_in: Path, server: ScriptedServer) -> None:
    result = run("status", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "state": "logged_in",
        "sub": None,
        "name": None,
        "issuer": server.issuer,
        "client_id": "device-app",
        "scopes": ["openid", "offline_access", "read:devices"],
        "expires_at": "2027-01-15T09:00:00Z",
        "renewable": True,
        "stored_in": str(logged_in),
    }
    assert server.received == []


def test_status_without_a_login(run: Run) -> None:
    result = run("status", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout) == {"state": "login_needed", "detail": "You are not logged in. Run: device login"}


@pytest.mark.usefixtures("logged_in")
def test_devices_and_readings(server: ScriptedServer, run: Run) -> None:
    server.on("GET /v1/devices", (200, {"items": [DEVICE], "next_cursor": None}))
    result = run("devices", "--json")
    assert json.loads(result.stdout) == {"items": [DEVICE]}
    assert result.stdout.isascii()
    assert "\x1b" not in result.stdout
    server.on("GET /v1/devices/dev_1/readings", (200, {"items": [], "next_cursor": None}))
    assert json.loads(run("readings", "dev_1", "--json").stdout) == {"items": []}


@pytest.mark.usefixtures("logged_in")
def test_a_failure_prints_a_json_object(server: ScriptedServer, run: Run) -> None:
    server.on("GET /v1/devices", (410, {"detail": "Gone."}))
    result = run("devices", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"state": "failed", "detail": "The API refused: Gone (status 410)."}


@pytest.mark.usefixtures("logged_in")
def test_a_number_that_json_does_not_allow(server: ScriptedServer, run: Run) -> None:
    server.on("GET /v1/devices", (200, '{"items": [{"id": 1e999}], "next_cursor": null}'))
    result = run("devices", "--json")
    assert result.exit_code == 1
    assert "a number that JSON does not allow" in result.stderr
    assert json.loads(result.stdout)["state"] == "failed"


def token(run: Run) -> tuple[int, str, str]:
    result = run("token", secrets=True)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.usefixtures("logged_in")
def test_token(server: ScriptedServer, run: Run, time: FakeTime) -> None:
    assert token(run) == (0, "access-secret-1\n", "")
    assert server.received == []
    time.elapsed = 3600 - 59
    server.on("POST /token", (200, granted(server)))
    assert token(run) == (0, "access-secret-2\n", "")
    assert token(run) == (0, "access-secret-2\n", "")
    assert len(server.to("/token")) == 1


def test_token_without_a_login(run: Run) -> None:
    assert token(run) == (3, "", "You are not logged in. Run: device login\n")
