from __future__ import annotations

import email.utils
import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from device_app.storage.token_file import TokenStore
from tests.device_app.conftest import START
from tests.kit.headers import header_of

if TYPE_CHECKING:
    from device_app.model.tokens import Tokens
    from tests.device_app.conftest import Answer, FakeTime, Received, Run, ScriptedServer

GRANTED = {
    "access_token": "access-secret-2",
    "refresh_token": "refresh-secret-2",
    "token_type": "Bearer",
    "expires_in": 3600,
    "scope": "openid offline_access read:devices read:readings",
}
DEVICE = {
    "id": "dev_1",
    "name": "Hall\x1b[31mway [bold]hub[/bold]",
    "kind": "hub",
    "model": "H2",
    "location": None,
    "status": "online",
    "created_at": "2026-01-01T00:00:00Z",
    "last_seen_at": "2026-11-21T10:00:00Z",
}
READING = {"time": "2026-11-21T10:00:00Z", "metric": "temperature", "value": 21.5, "unit": "°C"}
INVALID_TOKEN = (
    401,
    {"error": "invalid_token"},
    {"WWW-Authenticate": 'Bearer realm="x", error="invalid_token"'},
)


def page(*items: Any, next_cursor: str | None = None) -> tuple[int, Any]:
    return 200, {"items": list(items), "next_cursor": next_cursor}


def test_login_on_a_pipe(server: ScriptedServer, run: Run, token_file: Path) -> None:
    server.offer_code()
    server.on(
        "POST /token",
        (400, {"error": "authorization_pending"}),
        (400, {"error": "authorization_pending"}),
        (400, {"error": "slow_down"}),
        (503, ""),
        (0, ""),
        (400, {"error": "authorization_pending"}),
        (200, GRANTED | {"scope": "openid offline_access read:devices"}),
    )
    result = run("login")
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        f"Open {server.address}/activate in a browser and enter the code BDWP-HQPK",
        f"or open {server.address}/activate?user_code=BDWP-HQPK",
        "Waiting for approval; the code expires in 15 minutes.",
        "The issuer asks to slow down; polling every 10 seconds.",
        "The issuer answers with status 503; trying again in 20 seconds.",
        "The issuer cannot be reached; trying again in 40 seconds.",
        "The issuer answers again.",
        "Not granted: profile read:readings.",
        "Logged in. Next: device devices",
    ]
    assert oct(stat.S_IMODE(token_file.stat().st_mode)) == "0o600"
    assert oct(stat.S_IMODE(token_file.parent.stat().st_mode)) == "0o700"
    assert [entry.name for entry in token_file.parent.iterdir() if entry.name != "tokens.json.lock"] == ["tokens.json"]


def test_login_requests_the_given_scope_client_and_audience(server: ScriptedServer, run: Run) -> None:
    server.offer_code()
    server.on("POST /token", (200, GRANTED))
    run("login", "--scope", " a  b ", "--client-id", "tv", "--audience", "")
    assert server.to("/device")[0].form == {"client_id": "tv", "scope": "a b"}


def test_login_omits_an_empty_scope_and_audience(server: ScriptedServer, run: Run, environment: dict[str, str]) -> None:
    server.offer_code(interval=0)
    server.on("POST /token", (200, GRANTED))
    environment["DEVICE_AUDIENCE"] = ""
    run("login", "--scope", "")
    assert server.to("/device")[0].body == "client_id=device-app"


@pytest.mark.parametrize(("error", "sentence"), [("access_denied", "was denied"), ("expired_token", "expired")])
def test_login_that_ends_without_tokens(
    server: ScriptedServer, run: Run, token_file: Path, error: str, sentence: str
) -> None:
    server.offer_code()
    server.on("POST /token", (403, {"error": error}))
    result = run("login")
    assert result.exit_code == 1
    assert sentence in result.stderr
    assert not token_file.exists()


def test_login_sends_no_request_if_tokens_cannot_be_stored(server: ScriptedServer, run: Run, token_file: Path) -> None:
    token_file.parent.write_text("a file where the directory should be")
    result = run("login")
    assert result.exit_code == 1
    assert "Cannot write" in result.stderr
    assert server.received == []


@pytest.mark.parametrize(
    "words",
    [
        ["login", "--issuer", "http://far.example/"],
        ["login", "--issuer", "https://user:pw@far.example/"],
        ["login", "--ca-file", "/nonexistent"],
        ["devices", "--api", "not an address"],
        ["readings"],
        ["readings", " "],
        ["add", "Hall", "--kind", "toaster", "--model", "H1"],
        ["readings", ""],
        ["readings", "dev_1", "--limit", "0"],
        ["readings", "dev_1", "--since", "1y"],
        ["readings", "dev_1", "--since", "0h"],
        ["readings", "dev_1", "--since", "99999w"],
        ["login", "--token-endpoint", "https://a.example/token"],
        ["login", "--device-authorization-endpoint", "https://a.example/device"],
        ["login", "--revocation-endpoint", "https://a.example/revoke"],
        ["login", "--device-authorization-endpoint", "http://a.example/", "--token-endpoint", "https://a.example/"],
        ["login", "--max-age", "-1"],
        ["login", "--client-id", "\udcff"],
        ["readings", "\udcff"],
        ["login", "--ca-file", __file__],
        ["add", "TV", "--kind", "television"],
        ["dance"],
    ],
)
def test_wrong_usage(run: Run, words: list[str]) -> None:
    assert run(*words).exit_code == 2


def test_a_directory_cannot_hold_tokens(server: ScriptedServer, run: Run, token_file: Path) -> None:
    token_file.mkdir(parents=True)
    result = run("login")
    assert result.exit_code == 2
    assert "names a directory" in result.stderr
    assert server.received == []


def test_without_a_home_directory_a_file_must_be_named(
    run: Run, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # a user id that the system does not know, as in containers
    environment["DEVICE_TOKEN_FILE"] = environment["XDG_STATE_HOME"] = ""
    result = run("status")
    assert result.exit_code == 2
    assert "DEVICE_TOKEN_FILE" in result.stderr


def test_ctrl_c_while_the_program_loads(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")
    command = [sys.executable, "-m", "device_app", "status"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize("closed", ["1>&-", "2>&-"])
def test_a_closed_stream_causes_no_traceback(closed: str) -> None:
    command = f"{sys.executable} -m device_app status {closed}"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [["devices"], ["readings", "dev_1"], ["add", "TV", "--kind", "television", "--model", "M"], ["status"], ["token"]],
)
def test_not_logged_in(run: Run, words: list[str]) -> None:
    result = run(*words)
    assert result.exit_code == 3
    assert result.stderr == "You are not logged in. Run: device login\n"


@pytest.mark.usefixtures("logged_in")
def test_devices_follow_the_cursor(server: ScriptedServer, run: Run) -> None:
    server.on("GET /v1/devices", page(DEVICE, next_cursor="c+/="), page(DEVICE | {"id": "dev_2", "name": "TV"}))
    result = run("devices")
    assert result.exit_code == 0
    lines = [line.split("  ") for line in result.output.splitlines()]
    assert lines[0][0].strip() == "ID"
    # In a pipe: one line each, without escape sequences.
    assert "dev_1  Hall[31mway [bold]hub[/bold]  hub   H2     -         online  2026-11-21 10:00:00" in result.output
    assert len(lines) == 3
    first, second = server.to("/v1/devices")
    assert first.headers.get("Authorization") == "Bearer access-secret-1"
    assert first.query == {"limit": "100"}
    assert second.query == {"limit": "100", "cursor": "c+/="}


@pytest.mark.usefixtures("logged_in")
def test_no_devices(server: ScriptedServer, run: Run) -> None:
    server.on("GET /v1/devices", page())
    assert run("devices").output == "You have no devices.\n"


@pytest.mark.usefixtures("logged_in")
def test_readings(server: ScriptedServer, run: Run) -> None:
    older = READING | {"time": "2026-11-21T09:00:00+02:00", "value": "odd"}
    server.on("GET /v1/devices/dev_1/readings", page(READING, next_cursor="next"), page(older, READING))
    result = run("readings", "dev_1", "--limit", "2")
    assert [" ".join(line.split()) for line in result.output.splitlines()] == [
        "Time (UTC) temperature (°C)",
        "2026-11-21 10:00:00 21.5",
        "2026-11-21 07:00:00 odd",
    ]
    assert [request.query["limit"] for request in server.to("/v1/devices/dev_1/readings")] == ["2", "1"]


@pytest.mark.usefixtures("logged_in")
def test_a_pipe_gets_a_line_for_each_time(server: ScriptedServer, run: Run) -> None:
    later, earlier = {"time": "2026-11-21T10:00:00Z"}, {"time": "2026-11-21T09:00:00Z"}
    humidity = {"metric": "humidity", "value": 40, "unit": "%"}
    door = {"metric": "door [b]", "value": 1, "unit": None}
    server.on(
        "GET /v1/devices/dev_1/readings", page(READING | later, humidity | later, humidity | earlier, door | earlier)
    )
    lines = run("readings", "dev_1").output.splitlines()
    assert [line.split() for line in lines] == [
        ["Time", "(UTC)", "temperature", "(°C)", "humidity", "(%)", "door", "[b]"],
        ["2026-11-21", "10:00:00", "21.5", "40", "-"],
        ["2026-11-21", "09:00:00", "-", "40", "1"],
    ]


@pytest.mark.usefixtures("logged_in")
@pytest.mark.parametrize("name", ["Hall", "hall", "HALL", "HALLWAY"])
def test_readings_of_a_device_by_its_name(server: ScriptedServer, run: Run, name: str) -> None:
    others = [DEVICE | {"id": "dev_2", "name": "Hallway"}, DEVICE | {"id": "dev_3", "name": "hall"}, {"name": 5}]
    server.on("GET /v1/devices", page(DEVICE | {"id": "dev_1", "name": "Hall"}, *others))
    for device_id in ("dev_1", "dev_2", "dev_3"):
        server.on(f"GET /v1/devices/{device_id}/readings", page(READING))
    result = run("readings", name)
    if name == "HALL":
        assert (result.exit_code, result.output) == (
            1,
            "Several devices have the name “HALL”; name one by its ID: dev_1, dev_3\n",
        )
        return
    assert result.exit_code == 0
    wanted = {"Hall": "dev_1", "hall": "dev_3", "HALLWAY": "dev_2"}[name]
    assert [request.path for request in server.received] == ["/v1/devices", f"/v1/devices/{wanted}/readings"]


@pytest.mark.usefixtures("logged_in")
def test_an_unknown_name(server: ScriptedServer, run: Run) -> None:
    server.on("GET /v1/devices", page(DEVICE))
    result = run("readings", "Attic\x1b[2J")
    assert (result.exit_code, result.output) == (
        1,
        "You have no device with the name or ID “Attic[2J”. See: device devices\n",
    )


@pytest.mark.usefixtures("logged_in")
def test_a_pipe_gets_no_plot(server: ScriptedServer, run: Run) -> None:
    readings = [READING | {"time": f"2026-11-21T{hour:02}:00:00Z", "value": hour} for hour in range(10)]
    server.on("GET /v1/devices/dev_1/readings", page(*readings))
    assert len(run("readings", "dev_1").output.splitlines()) == 11


@pytest.mark.usefixtures("logged_in")
def test_readings_since(server: ScriptedServer, run: Run) -> None:
    path = "/v1/devices/dev_1/readings"
    server.on(f"GET {path}", page(READING, next_cursor="next"), page(READING | {"time": "2026-11-20T10:00:00Z"}))
    assert len(run("readings", "dev_1", "--since", "24h").output.splitlines()) == 3
    assert [request.query for request in server.to(path)] == [
        {"limit": "1000", "from": "2027-01-14T08:00:00Z"},
        {"limit": "1000", "from": "2027-01-14T08:00:00Z", "cursor": "next"},
    ]
    server.on(f"GET {path}", page())
    result = run("readings", "dev_1", "--since", "90m", "--limit", "5")
    assert result.output == "This device has no readings from that time.\n"
    assert server.to(path)[-1].query == {"limit": "5", "from": "2027-01-15T06:30:00Z"}


ADD = ("add", "Attic TV", "--kind", "television", "--model", "Lumen 40", "--location", "Attic")
ADDED = (201, DEVICE | {"id": "dev_7", "name": "Attic TV", "last_seen_at": None})


@pytest.mark.usefixtures("logged_in")
def test_add(server: ScriptedServer, run: Run) -> None:
    server.on("POST /v1/devices", ADDED)
    result = run(*ADD)
    assert result.exit_code == 0
    assert result.output.splitlines()[1].startswith("dev_7  Attic TV  hub ")
    (request,) = server.to("/v1/devices")
    assert json.loads(request.body) == {
        "name": "Attic TV",
        "kind": "television",
        "model": "Lumen 40",
        "location": "Attic",
    }
    assert request.headers.get("Content-Type") == "application/json"
    assert request.headers.get("Authorization") == "Bearer access-secret-1"
    run(*ADD)
    keys = [header_of(request, "Idempotency-Key") for request in server.to("/v1/devices")]
    assert len(set(keys)) == 2


@pytest.mark.usefixtures("logged_in")
def test_add_is_retried_with_one_idempotency_key(server: ScriptedServer, run: Run, time: FakeTime) -> None:
    server.on("POST /token", (200, GRANTED))
    busy: Answer = (503, {}, {"Retry-After": "7"})
    server.on("POST /v1/devices", (0, ""), (0, ""), INVALID_TOKEN, busy, (0, ""), ADDED)
    result = run(*ADD)
    assert result.exit_code == 0
    failure = f"The API at {server.address} cannot be reached; trying again in "
    assert result.stderr.splitlines() == [
        failure + "1 second.",
        failure + "3 seconds.",
        "The API is busy; trying again in 7 seconds.",
        failure + "1 second.",
    ]
    assert time.slept == [1, 3, 7, 1]
    assert len({header_of(request, "Idempotency-Key") for request in server.to("/v1/devices")}) == 1


@pytest.mark.usefixtures("logged_in")
def test_add_without_a_response_may_have_registered_the_device(server: ScriptedServer, run: Run) -> None:
    server.on("POST /v1/devices", (0, ""))
    result = run(*ADD)
    assert result.exit_code == 4
    assert result.stderr.endswith(" The device may have been registered nevertheless; check: device devices\n")
    assert len(server.to("/v1/devices")) == 3


@pytest.mark.parametrize(("status", "may_be_registered"), [(502, True), (504, True), (429, False)])
@pytest.mark.usefixtures("logged_in")
def test_add_with_a_gateway_error_may_have_registered_the_device(
    server: ScriptedServer,
    run: Run,
    status: int,
    may_be_registered: bool,  # noqa: FBT001
) -> None:
    server.on("POST /v1/devices", (status, "<html>"))
    result = run(*ADD)
    assert result.exit_code == 4
    assert ("may have been registered" in result.stderr) is may_be_registered


@pytest.mark.usefixtures("logged_in")
def test_add_with_wrong_values(server: ScriptedServer, run: Run) -> None:
    errors = {"kind": ["Must be one of: hub."], "model\x1b": ["Too long.", 5], "odd": "text", "more": [["deep"]]}
    problem = {"detail": "The body has members that are wrong.", "errors": errors, "request_id": "r1"}
    server.on("POST /v1/devices", (422, problem))
    result = run(*ADD)
    assert result.exit_code == 1
    assert result.stderr == (
        "The API refused: The body has members that are wrong; kind: Must be one of: hub; model: Too long; "
        "model: 5 (status 422, request r1).\n"
    )


@pytest.mark.usefixtures("logged_in")
def test_status(run: Run, server: ScriptedServer, token_file: Path) -> None:
    result = run("status")
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "Who:       unknown: the issuer sent no usable ID token",
        "Scopes:    openid offline_access read:devices",
        "Time left: 60 minutes, until 2027-01-15 09:00:00 UTC; then the token is renewed",
        f"Issuer:    {server.issuer}",
        "Client:    device-app",
        f"Tokens in: {token_file}",
    ]
    assert server.received == []


@pytest.mark.parametrize(
    ("refresh_token", "expires_at", "exit_code", "sentence"),
    [
        ("refresh-secret-1", -1.0, 0, "Time left: none; the next command renews the token\n"),
        ("refresh-secret-1", None, 0, "Time left: unknown: the issuer sent no expires_in\n"),
        (None, 90.0, 0, "Time left: 90 seconds, until 2027-01-15 08:01:30 UTC; then a new login is needed\n"),
        (None, -1.0, 3, "Your login has ended. Run: device login --issuer "),
    ],
)
def test_the_time_that_is_left(  # noqa: PLR0917  # fixtures and a row's columns
    run: Run,
    token_file: Path,
    time: FakeTime,
    tokens: Tokens,
    refresh_token: str | None,
    expires_at: float | None,
    exit_code: int,
    sentence: str,
) -> None:
    store = TokenStore(token_file, time.clock)
    with store.locked():
        ends_at = None if expires_at is None else START + expires_at
        store.save(replace(tokens, refresh_token=refresh_token, expires_at=ends_at))
    result = run("status")
    assert result.exit_code == exit_code
    assert sentence in result.output


def test_named_endpoints(server: ScriptedServer, run: Run, time: FakeTime) -> None:
    server.on("GET /.well-known/openid-configuration", (404, ""))
    server.offer_code(interval=...)
    server.on("POST /token", (200, {"error": "authorization_pending"}), (200, GRANTED))
    server.on("POST /revoke", (200, ""))
    endpoints = [
        *("--device-authorization-endpoint", f"{server.address}/device"),
        *("--token-endpoint", f"{server.address}/token"),
        *("--revocation-endpoint", f"{server.address}/revoke"),
    ]
    assert run("login", *endpoints).exit_code == 0
    # RFC 8628 §3.2: five seconds if the issuer sends no interval.
    assert time.slept == [5, 5]

    time.elapsed = 4000
    server.on("GET /v1/devices", page())
    assert run("devices").exit_code == 0
    assert server.to("/token")[-1].form["grant_type"] == "refresh_token"
    time.elapsed = 8000
    server.on("POST /token", (400, {"error": "invalid_grant"}))
    again = run("devices").stderr.partition("Run: ")[2]
    assert again == f"device login --issuer {server.issuer} {' '.join(endpoints)}\n"

    server.on("POST /token", (200, GRANTED))
    assert run("login", *endpoints).exit_code == 0
    assert run("logout").output == "Logged out.\n"
    assert [request.path for request in server.received if "well-known" in request.path] == []


def test_without_issuer_the_origin_of_the_token_endpoint_is_used(
    server: ScriptedServer, run: Run, environment: dict[str, str]
) -> None:
    del environment["DEVICE_ISSUER"]
    server.offer_code()
    server.on("POST /token", (200, GRANTED))
    endpoints = ("--device-authorization-endpoint", f"{server.address}/device", "--token-endpoint")
    assert run("login", *endpoints, f"{server.address}/token?tenant=1").exit_code == 0
    assert f"Issuer:    {server.address}\n" in run("status").output


def test_login_with_authentication_requirements(server: ScriptedServer, run: Run) -> None:
    server.offer_code()
    server.on("POST /token", (400, {"error": "expired_token"}))
    result = run("login", "--max-age", "0", "--acr-values", " mfa  pin ", "--scope", "read:devices")
    form = server.to("/device")[0].form
    assert (form["max_age"], form["acr_values"]) == ("0", "mfa pin")
    # In a pipe, the user is not asked whether to get a new code.
    assert result.stderr == (
        "The code expired before it was approved. "
        f"Run: device login --issuer {server.issuer} --scope read:devices --max-age 0 --acr-values 'mfa pin'\n"
    )


@pytest.mark.usefixtures("logged_in")
def test_an_unknown_device(server: ScriptedServer, run: Run) -> None:
    problem = {"title": "Not Found", "detail": "You have no such device.", "request_id": "req\x1b1"}
    server.on("GET /v1/devices/dev_9/readings", (404, problem))
    result = run("readings", "dev_9")
    assert (result.exit_code, result.stderr) == (
        1,
        "Not found: You have no such device (status 404, request req1).\n",
    )


@pytest.mark.usefixtures("logged_in")
def test_a_device_id_is_percent_encoded_in_the_path(server: ScriptedServer, run: Run) -> None:
    run("readings", "dev_/../me?x=1#")
    assert server.received[-1].path == "/v1/devices/dev_%2F..%2Fme%3Fx%3D1%23/readings"


@pytest.mark.parametrize("refusal", [INVALID_TOKEN, (401, {}, {"WWW-Authenticate": "Bearer"}), (401, "<html>")])
def test_a_refused_token_is_refreshed_once(server: ScriptedServer, run: Run, logged_in: Path, refusal: Answer) -> None:
    server.on("GET /v1/devices", refusal, page(DEVICE))
    server.on("POST /token", (200, GRANTED))
    assert run("devices").exit_code == 0
    assert server.to("/token")[0].form == {
        "grant_type": "refresh_token",
        "refresh_token": "refresh-secret-1",
        "client_id": "device-app",
    }
    assert server.to("/v1/devices")[1].headers.get("Authorization") == "Bearer access-secret-2"
    assert json.loads(logged_in.read_text())["refresh_token"] == "refresh-secret-2"


@pytest.mark.usefixtures("logged_in")
def test_a_token_that_is_refused_even_when_fresh(server: ScriptedServer, run: Run) -> None:
    server.on("GET /v1/devices", INVALID_TOKEN)
    server.on("POST /token", (200, GRANTED))
    result = run("devices")
    assert result.exit_code == 3
    assert result.stderr == (
        "The API does not accept this login. "
        f"Run: device login --issuer {server.issuer} --scope 'openid offline_access read:devices'\n"
    )
    assert len(server.to("/token")) == 1


def test_a_token_near_its_expiry_is_refreshed_first(
    server: ScriptedServer, run: Run, logged_in: Path, time: FakeTime
) -> None:
    time.elapsed = 3600 - 59
    server.on("POST /token", (200, {name: GRANTED[name] for name in ("access_token", "token_type")}))
    server.on("GET /v1/devices", page(DEVICE))
    assert run("devices").exit_code == 0
    assert [request.path for request in server.received][-2:] == ["/token", "/v1/devices"]
    # The response holds no refresh token: the old one is kept.
    assert json.loads(logged_in.read_text())["refresh_token"] == "refresh-secret-1"


@pytest.mark.parametrize("words", [["devices"], ["token"]])
def test_an_ended_token_without_a_refresh_token_is_not_used(
    server: ScriptedServer, run: Run, logged_in: Path, time: FakeTime, words: list[str]
) -> None:
    logged_in.write_text(logged_in.read_text().replace('"refresh-secret-1"', "null"))
    server.on("GET /v1/devices", page(DEVICE))
    time.elapsed = 3600 - 1  # the last second
    assert run(*words, secrets=True).exit_code == 0
    server.received.clear()
    time.elapsed = 3600
    result = run(*words)
    assert result.exit_code == 3
    assert "Your login has ended. Run: device login" in result.stderr
    assert server.received == []


@pytest.mark.parametrize("expires_in", ["soon", [1], None])
def test_a_refresh_with_an_unusable_lifetime_has_no_expiry(  # fixtures and a row
    server: ScriptedServer, run: Run, logged_in: Path, time: FakeTime, expires_in: Any
) -> None:
    time.elapsed = 4000
    server.on("POST /token", (200, GRANTED | {"expires_in": expires_in}))
    server.on("GET /v1/devices", page(DEVICE))
    assert run("devices").exit_code == 0
    assert json.loads(logged_in.read_text())["expires_at"] is None


@pytest.mark.parametrize(("elapsed", "exit_code"), [(3600 - 59, 0), (3600, 4)])
def test_an_issuer_that_is_down_matters_only_once_the_token_has_expired(  # noqa: PLR0917  # fixtures and a row
    server: ScriptedServer, run: Run, logged_in: Path, time: FakeTime, elapsed: float, exit_code: int
) -> None:
    time.elapsed = elapsed
    server.on("POST /token", (503, ""))
    server.on("GET /v1/devices", page(DEVICE))
    assert run("devices").exit_code == exit_code
    assert logged_in.exists()


@pytest.mark.parametrize("status", [400, 403])
def test_a_revoked_login(server: ScriptedServer, run: Run, logged_in: Path, time: FakeTime, status: int) -> None:
    time.elapsed = 4000
    server.on("POST /token", (status, {"error": "invalid_grant", "error_description": "refresh-secret-1"}))
    result = run("devices")
    assert result.exit_code == 3
    assert "no longer accepts this login" in result.stderr
    assert not logged_in.exists()


@pytest.mark.parametrize(
    ("answer", "sentence", "exit_code"),
    [
        ((400, {"error": "invalid_client", "error_description": "refresh-secret-1\x1b"}), "invalid_client: …", 1),
        ((400, {"error": {"odd": 1}}), "refused to refresh", 1),
        ((200, "no JSON"), "no usable access token", 1),
        ((200, "[" * 100_000), "no usable access token", 1),
        ((200, {"token_type": "Bearer"}), "no usable access token", 1),
        ((404, "no JSON"), "refused to refresh the login (status 404)", 1),
        ((429, {"error": "too_many_requests"}), "status 429). Try again later.", 4),
        ((503, "", {"Retry-After": "120"}), "status 503). Try again in 2 minutes.", 4),
        ((302, "", {"Location": "http://127.0.0.1:1/"}), "redirect", 4),
        ((0, ""), "cannot be reached", 4),
    ],
)
def test_refreshes_that_fail(  # noqa: PLR0917  # fixtures and a row's columns
    server: ScriptedServer,
    run: Run,
    logged_in: Path,
    time: FakeTime,
    answer: Any,
    sentence: str,
    exit_code: int,
) -> None:
    time.elapsed = 4000
    server.on("POST /token", answer)
    result = run("devices")
    assert sentence in result.stderr
    assert result.exit_code == exit_code
    # The login may still be valid.
    assert "refresh-secret-1" in logged_in.read_text()


def scope_challenge(scope: str) -> tuple[int, Any, dict[str, str]]:
    return 403, {}, {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'}


@pytest.mark.parametrize(
    ("answer", "exit_code", "sentence"),
    [
        (
            scope_challenge("read:devices admin"),
            3,
            "lacks the scope admin. To request it, run: device login --issuer {issuer} --scope 'openid offline_",
        ),
        (scope_challenge("$(reboot)"), 3, "--scope 'openid offline_access read:devices $(reboot)'"),
        (scope_challenge("read:devices"), 3, "lacks a scope, and the API does not say which"),
        (
            (401, {}, {"WWW-Authenticate": 'Bearer error="insufficient_user_authentication", max_age="60"'}),
            3,
            (
                "newer or stronger login. Run: device login --issuer {issuer} "
                "--scope 'openid offline_access read:devices' --max-age 60\n"
            ),
        ),
        (
            (
                401,
                {},
                {
                    "WWW-Authenticate": 'Bearer error="insufficient_user_authentication", max_age="soon", '
                    'acr_values="mfa $(reboot)"'
                },
            ),
            3,
            "read:devices' --acr-values 'mfa $(reboot)'\n",
        ),
        ((403, {"title": "Forbidden"}), 1, "The API refused: Forbidden (status 403)."),
        ((418, {"detail": "access-secret-1 refresh-secret-1"}), 1, "The API refused: … … (status 418)."),
        ((400, "no JSON"), 1, "is not the Device API: it answers GET /v1/devices with status 400."),
        ((404, {"error": "not_found", "detail": "No."}), 1, "Is --api (DEVICE_API) right?"),
        ((400, {"error": 5}), 1, "it gave no reason (status 400)."),
        ((200, "no JSON"), 1, "Is --api (DEVICE_API) right?"),
        ((200, {"items": 5, "next_cursor": None}), 1, "Is --api (DEVICE_API) right?"),
        ((200, {"items": [], "next_cursor": 5}), 1, "Is --api (DEVICE_API) right?"),
        ((302, "", {"Location": "http://127.0.0.1:1/"}), 4, "redirect, which is not followed"),
        ((503, {}, {"Retry-After": "3600"}), 4, "(status 503). Try again in 60 minutes."),
        ((500, {}), 4, "(status 500). Try again later."),
        ((0, ""), 4, "cannot be reached."),
    ],
)
@pytest.mark.usefixtures("logged_in")
def test_answers_of_the_api(server: ScriptedServer, run: Run, answer: Any, exit_code: int, sentence: str) -> None:
    server.on("GET /v1/devices", answer)
    result = run("devices")
    assert result.exit_code == exit_code
    assert sentence.format(issuer=server.issuer) in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.usefixtures("logged_in")
def test_retry_after_is_honoured_once(server: ScriptedServer, run: Run, time: FakeTime, status: int) -> None:
    busy: tuple[int, Any, dict[str, str]] = (status, {}, {"Retry-After": "7"})
    server.on("GET /v1/devices", busy, page(DEVICE))
    result = run("devices")
    assert result.exit_code == 0
    assert result.stderr == "The API is busy; trying again in 7 seconds.\n"
    assert time.slept == [7]
    server.on("GET /v1/devices", busy)
    assert run("devices").exit_code == 4
    assert time.slept == [7, 7]


def not_yet(wait: str) -> Answer:
    """Return a refusal that says when to try again: the API has not fetched the token's key yet."""
    status, body, headers = INVALID_TOKEN
    return status, body, {**headers, "Retry-After": wait}


NOT_YET = "The API cannot verify the access token yet; trying again in {}.\n"


@pytest.mark.parametrize(
    ("wait", "sentence", "seconds"),
    [
        ("10", "10 seconds", 10),
        ("30", "30 seconds", 30),
        ("0", "1 second", 0),
        (email.utils.formatdate(START + 4, usegmt=True), "4 seconds", 4),
    ],
)
def test_a_token_that_cannot_be_verified_yet_is_sent_again(  # noqa: PLR0917  # fixtures and a row's columns
    server: ScriptedServer, run: Run, logged_in: Path, time: FakeTime, wait: str, sentence: str, seconds: float
) -> None:
    stored = logged_in.read_text()
    server.on("GET /v1/devices", not_yet(wait), page(DEVICE))
    result = run("devices")
    assert result.exit_code == 0
    assert result.stderr == NOT_YET.format(sentence)
    assert time.slept == [seconds]
    assert [header_of(one, "Authorization") for one in server.to("/v1/devices")] == ["Bearer access-secret-1"] * 2
    assert logged_in.read_text() == stored
    assert server.to("/token") == []


@pytest.mark.usefixtures("logged_in")
def test_a_token_that_is_refused_again_is_refreshed(server: ScriptedServer, run: Run, time: FakeTime) -> None:
    server.on("GET /v1/devices", not_yet("10"), not_yet("10"), page(DEVICE))
    server.on("POST /token", (200, GRANTED))
    result = run("devices")
    assert result.exit_code == 0
    assert result.stderr == NOT_YET.format("10 seconds")
    assert time.slept == [10]
    tokens = [header_of(one, "Authorization")[-1] for one in server.to("/v1/devices")]
    assert tokens == ["1", "1", "2"]


@pytest.mark.usefixtures("logged_in")
def test_a_new_token_that_cannot_be_verified_yet_is_sent_again(
    server: ScriptedServer, run: Run, time: FakeTime
) -> None:
    server.on("GET /v1/devices", INVALID_TOKEN, not_yet("9"), page(DEVICE))
    server.on("POST /token", (200, GRANTED))
    result = run("devices")
    assert result.exit_code == 0
    assert result.stderr == NOT_YET.format("9 seconds")
    assert time.slept == [9]
    tokens = [header_of(one, "Authorization")[-1] for one in server.to("/v1/devices")]
    assert tokens == ["1", "2", "2"]
    assert len(server.to("/token")) == 1


@pytest.mark.usefixtures("logged_in")
def test_a_token_that_is_never_verified_ends(server: ScriptedServer, run: Run, time: FakeTime) -> None:
    server.on("GET /v1/devices", not_yet("10"))
    server.on("POST /token", (200, GRANTED))
    result = run("devices")
    assert result.exit_code == 3
    assert "The API does not accept this login. Run: device login" in result.stderr
    assert time.slept == [10, 10]
    assert (len(server.to("/v1/devices")), len(server.to("/token"))) == (4, 1)


@pytest.mark.parametrize("wait", ["31", "86400", "soon", "-1", "", "9" * 400])
@pytest.mark.usefixtures("logged_in")
def test_a_refused_token_is_refreshed_at_once_if_the_wait_is_long_or_malformed(
    server: ScriptedServer, run: Run, time: FakeTime, wait: str
) -> None:
    server.on("GET /v1/devices", not_yet(wait), page(DEVICE))
    server.on("POST /token", (200, GRANTED))
    assert run("devices").exit_code == 0
    assert time.slept == []
    assert [header_of(one, "Authorization")[-1] for one in server.to("/v1/devices")] == ["1", "2"]


@pytest.mark.parametrize("error", ["insufficient_user_authentication", "other", None])
@pytest.mark.usefixtures("logged_in")
def test_only_an_invalid_token_is_sent_again(server: ScriptedServer, run: Run, time: FakeTime, error: str) -> None:
    challenge = f'Bearer error="{error}"' if error else "Bearer"
    server.on("GET /v1/devices", (401, {}, {"WWW-Authenticate": challenge, "Retry-After": "5"}))
    server.on("POST /token", (200, GRANTED))
    assert run("devices").exit_code == 3
    assert time.slept == []


@pytest.mark.usefixtures("logged_in")
def test_add_is_sent_again_with_its_idempotency_key_if_the_token_cannot_be_verified_yet(
    server: ScriptedServer, run: Run, time: FakeTime
) -> None:
    server.on("POST /v1/devices", not_yet("3"), (503, {}, {"Retry-After": "7"}), ADDED)
    assert run(*ADD).exit_code == 0
    assert time.slept == [3, 7]
    assert len({header_of(request, "Idempotency-Key") for request in server.to("/v1/devices")}) == 1


@pytest.mark.usefixtures("logged_in")
def test_an_endless_list_ends(server: ScriptedServer, run: Run) -> None:
    endless = iter(range(10_000))

    def next_page(_: Received) -> None:
        server.on("GET /v1/devices", page(next_cursor=str(next(endless))))

    server.before_answer = next_page
    assert run("devices").exit_code == 1


def test_another_issuer_than_the_one_logged_in_at(run: Run, logged_in: Path) -> None:
    for command in ("devices", "logout"):
        result = run(command, "--issuer", "https://other.example/")
        assert result.exit_code == 3
        assert "not at https://other.example/. Run: device login --issuer https://other.example/" in result.stderr
    assert logged_in.exists()


@pytest.mark.parametrize("refreshable", [True, False])
def test_logout(server: ScriptedServer, run: Run, logged_in: Path, refreshable: bool) -> None:  # noqa: FBT001
    if not refreshable:
        logged_in.write_text(logged_in.read_text().replace('"refresh-secret-1"', "null"))
    server.on("POST /revoke", (200, ""))
    result = run("logout")
    assert (result.exit_code, result.output) == (0, "Logged out.\n")
    kind = "refresh" if refreshable else "access"
    assert server.to("/revoke")[0].form == {
        "token": f"{kind}-secret-1",
        "token_type_hint": f"{kind}_token",
        "client_id": "device-app",
    }
    assert not logged_in.exists()
    result = run("logout")
    assert (result.exit_code, result.output) == (0, "You are not logged in.\n")


def test_logout_without_a_revocation_endpoint(server: ScriptedServer, run: Run, logged_in: Path) -> None:
    server.announce(revocation_endpoint=None)
    result = run("logout")
    assert result.exit_code == 0
    assert "offers no revocation" in result.output
    assert not logged_in.exists()


@pytest.mark.parametrize("answer", [(0, ""), (503, ""), (400, {"error": "invalid_client"}), (302, "")])
def test_logout_that_the_issuer_does_not_confirm(
    server: ScriptedServer, run: Run, logged_in: Path, answer: Any
) -> None:
    server.on("POST /revoke", answer)
    result = run("logout")
    assert result.exit_code == 1
    assert "was deleted on this machine, but not revoked" in result.stderr
    assert not logged_in.exists()


@pytest.mark.parametrize(
    "content", ["", "no JSON", "[]", "{}", "[" * 100_000, '{"expires_at": 1}', '{"request": 5, "expires_at": 1}']
)
def test_a_damaged_token_file(run: Run, logged_in: Path, content: str) -> None:
    logged_in.write_text(content)
    result = run("devices")
    assert result.exit_code == 3
    assert "is damaged" in result.stderr
    assert run("logout").output == "You are not logged in.\n"
    assert not logged_in.exists()


REQUIRED = ["access_token", "scope", "request.issuer", "request.client_id", "request.audience", "request.scope"]
OPTIONAL = [
    "refresh_token",
    "subject",
    "request.device_authorization_endpoint",
    "request.token_endpoint",
    "request.revocation_endpoint",
]


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in REQUIRED + OPTIONAL for value in (5, True, ["text"], {"text": 1}, None)],
)
def test_a_stored_member_that_is_no_string_is_damage(
    server: ScriptedServer, run: Run, logged_in: Path, name: str, value: Any
) -> None:
    record = json.loads(logged_in.read_text())
    *outer, member = name.split(".")
    (record[outer[0]] if outer else record)[member] = value
    logged_in.write_text(json.dumps(record))
    result = run("token", secrets=True)
    if value is None and name in OPTIONAL:
        assert result.exit_code == 0
    else:
        assert result.exit_code == 3
        assert "is damaged" in result.stderr
    assert server.received == []


@pytest.mark.usefixtures("logged_in")
def test_a_full_disk_is_reported_in_one_line(environment: dict[str, str], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full, (tmp_path / "stderr").open("w+") as stderr:
        command = [sys.executable, "-m", "device_app", "status"]
        process = subprocess.run(command, env=os.environ | environment, stdout=full, stderr=stderr, check=False)
        stderr.seek(0)
        assert (process.returncode, stderr.read()) == (
            1,
            "Cannot write the output: No space left on device.\n",
        )
