"""The event log: every event and its cause, the page and the JSON, and no secrets."""

from __future__ import annotations

import logging
import re
import socket
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests
from markupsafe import escape

from mock_issuer import Client, Config
from mock_issuer.flow.events import EVENT_NAMES, EventLog
from tests.kit.callback import answer_in, callback_server
from tests.kit.headers import header_of
from tests.mock_issuer.authorization.conftest import challenge_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mock_issuer.conftest import LiveIssuer

AUDIENCE = "https://device-api.example"
SCOPE = "openid read:devices offline_access"
DEVICE = {"client_id": "device-app", "client_name": "Device App", "ip": "127.0.0.1"}
GATEWAY = {"client_id": "device-gateway", "client_name": "Device Gateway", "ip": "127.0.0.1"}
ALICE = {"user_id": "mock|alice", "user_name": "Alice Example"}
VERIFIER = "v" * 43
REQUESTED = {"audience": AUDIENCE, "scope": "read:devices"}


def device_request_fails(issuer: LiveIssuer) -> None:
    issuer.request_device(audience="https://other.example", scope="read:devices")


def wrong_code(issuer: LiveIssuer) -> None:
    issuer.person().open("/activate", user_code="WRON-GCOD")


def confirmation_is_cancelled(issuer: LiveIssuer) -> None:
    issuer.person().refuse(issuer.device()["user_code"])


def unknown_device_code(issuer: LiveIssuer) -> None:
    issuer.poll({"device_code": "unknown"})


def device_code_is_exchanged(issuer: LiveIssuer) -> None:
    device = issuer.device()
    issuer.poll(device)  # pending, and then too fast: neither is logged
    issuer.poll(device)
    issuer.server.approve(device["user_code"])
    issuer.poll(device)


def authorization_query(port: int = 1, **changes: str) -> dict[str, str]:
    return {
        "response_type": "code",
        "client_id": "device-app",
        "redirect_uri": f"http://127.0.0.1:{port}/callback",
        "audience": AUDIENCE,
        "scope": "read:devices",
        "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
        **changes,
    }


def code_and_token(issuer: LiveIssuer, **changes: str) -> tuple[str, str]:
    with callback_server() as port:
        person = issuer.person()
        person.open("/authorize", **authorization_query(port))
        person.log_in()
        if "/consent" in person.page.url:
            person.send(answer="allow")
        if changes:
            person.open("/authorize", **authorization_query(port, **changes))
        code = answer_in(person.page.url)["code"]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": f"http://127.0.0.1:{port}/callback"}
        return code, issuer.token(**form, code_verifier=VERIFIER).json()["access_token"]


def unknown_code(issuer: LiveIssuer) -> None:
    form = {"grant_type": "authorization_code", "code": "x", "redirect_uri": "x"}
    issuer.token(**form, code_verifier=VERIFIER)


def code_is_exchanged(issuer: LiveIssuer) -> None:
    code_and_token(issuer)


def authorization_request_fails(issuer: LiveIssuer) -> None:
    issuer.get("/authorize", params=authorization_query(response_type="token"), allow_redirects=False)


def silent_log_in(issuer: LiveIssuer) -> None:
    code_and_token(issuer, prompt="none")


def silent_log_in_fails(issuer: LiveIssuer) -> None:
    issuer.get("/authorize", params=authorization_query(prompt="none"), allow_redirects=False)


def linked(issuer: LiveIssuer) -> str:
    device = issuer.device(scope=SCOPE)
    issuer.server.approve(device["user_code"])
    return str(issuer.poll(device).json()["refresh_token"])


def refresh_fails(issuer: LiveIssuer) -> None:
    issuer.refresh("unknown")


def refresh_works(issuer: LiveIssuer) -> None:
    issuer.refresh(linked(issuer))


def refresh_token_is_reused(issuer: LiveIssuer) -> None:
    token = linked(issuer)
    issuer.refresh(token)
    issuer.refresh(token)


def machine_fails(issuer: LiveIssuer) -> None:
    issuer.machine_token(client_secret="wrong", scope="read:devices")


def machine_works(issuer: LiveIssuer) -> None:
    issuer.machine_token(scope="read:devices")


def token_is_revoked(issuer: LiveIssuer) -> None:
    token = linked(issuer)
    for _ in range(2):  # the second time there is nothing left to revoke
        issuer.post("/oauth/revoke", {"client_id": "device-app", "token": token})


def log_in(issuer: LiveIssuer) -> None:
    person = issuer.person()
    person.open("/account/devices")
    person.log_in()


def log_in_as_nobody(issuer: LiveIssuer) -> None:
    person = issuer.person()
    person.open("/account/devices")
    person.send(username="nobody", password="alice-password")


def log_in_with_a_wrong_password(issuer: LiveIssuer) -> None:
    person = issuer.person()
    person.open("/activate", user_code=issuer.device()["user_code"])
    person.send(answer="yes")
    person.send(username="alice", password="wrong")


def keys_are_fetched(issuer: LiveIssuer) -> None:
    issuer.get("/.well-known/jwks.json")


def log_out(issuer: LiveIssuer) -> None:
    person = issuer.person()
    person.open("/account/devices")
    person.log_in()
    person.send(-1)


CAUSES: list[tuple[str, Callable[[LiveIssuer], None], dict[str, str]]] = [
    (
        "fdeaz",
        device_request_fails,
        DEVICE
        | {"audience": "https://other.example", "scope": "read:devices", "description": "No API has this audience."},
    ),
    ("fdeac", wrong_code, {"ip": "127.0.0.1", "description": "No pending request has this user code."}),
    (
        "fdecc",
        confirmation_is_cancelled,
        DEVICE | REQUESTED | {"description": "The user did not confirm the device."},
    ),
    (
        "fede",
        unknown_device_code,
        DEVICE | {"description": "The device_code is unknown, used before, or another client's."},
    ),
    ("sede", device_code_is_exchanged, DEVICE | ALICE | REQUESTED),
    (
        "feacft",
        unknown_code,
        DEVICE | {"description": "The code is unknown, used before, or another client's."},
    ),
    ("seacft", code_is_exchanged, DEVICE | ALICE | REQUESTED),
    (
        "fertft",
        refresh_fails,
        DEVICE | {"description": "The refresh token is unknown, revoked, used before, or another client's."},
    ),
    ("sertft", refresh_works, DEVICE | ALICE | {"audience": AUDIENCE, "scope": SCOPE}),
    ("ferrt", refresh_token_is_reused, DEVICE | {"user_id": "mock|alice"}),
    ("feccft", machine_fails, GATEWAY | REQUESTED | {"description": "The client secret is missing or wrong."}),
    ("seccft", machine_works, GATEWAY | REQUESTED),
    ("srrt", token_is_revoked, DEVICE | {"user_id": "mock|alice"}),
    ("s", log_in, ALICE | {"ip": "127.0.0.1"}),
    (
        "f",
        authorization_request_fails,
        DEVICE | REQUESTED | {"description": "unsupported_response_type: The only response_type is code."},
    ),
    ("ssa", silent_log_in, DEVICE | ALICE | REQUESTED),
    (
        "fsa",
        silent_log_in_fails,
        DEVICE | REQUESTED | {"description": "login_required: The user has to log in."},
    ),
    ("fu", log_in_as_nobody, {"ip": "127.0.0.1"}),
    ("fp", log_in_with_a_wrong_password, DEVICE | ALICE),
    ("slo", log_out, ALICE | {"ip": "127.0.0.1"}),
    ("jwks", keys_are_fetched, {"ip": "127.0.0.1"}),
]


def test_every_event_has_a_cause_here() -> None:
    assert [code for code, _, _ in CAUSES] == list(EVENT_NAMES)


@pytest.mark.parametrize(("code", "cause", "fields"), CAUSES, ids=[code for code, _, _ in CAUSES])
def test_each_cause_logs_its_event_once(
    issuer: LiveIssuer, code: str, cause: Callable[[LiveIssuer], None], fields: dict[str, str]
) -> None:
    issuer.clock.advance(0.25)
    cause(issuer)
    (event,) = [asdict(event) for event in issuer.server.events if event.type == code]
    date = event.pop("date")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.250Z", date)
    assert {name: value for name, value in event.items() if value} == {"type": code, **fields}


@pytest.mark.parametrize(
    ("form", "description"),
    [
        ({"client_id": "nobody"}, "No client has this client_id."),
        ({"client_id": "device-gateway", "client_secret": "public-test-secret"}, "The client may not use the device"),
        ({"audience": ""}, "A requested scope is unknown to /userinfo"),
        ({"scope": "read:everything"}, "A requested scope is unknown."),
        ({"client_id": ""}, "The client_id is missing."),
    ],
)
def test_every_refused_device_request_is_logged(
    either_issuer: LiveIssuer, form: dict[str, str], description: str
) -> None:
    assert either_issuer.request_device(**form).status_code in {400, 401}
    (event,) = either_issuer.server.events
    assert event.type == "fdeaz"
    assert event.description.startswith(description)


@pytest.mark.parametrize(
    "kind", [{"application_type": "web"}, {"secret": "s"}, {"dynamically_registered": True}], ids=str
)
def test_a_request_of_a_client_without_the_device_flow_is_logged(
    make_issuer: Callable[[Config], LiveIssuer], kind: Any
) -> None:
    issuer = make_issuer(Config(clients=(Client(client_id="app", name="App", **kind),)))
    response = issuer.request_device(client_id="app", client_secret="s")
    assert issuer.refused(response) == (400, "unauthorized_client")
    (event,) = issuer.server.events
    assert (event.type, event.client_name) == ("fdeaz", "App")
    assert event.description == response.json()["error_description"]


def test_a_denied_and_an_expired_code_are_logged_when_polled(either_issuer: LiveIssuer) -> None:
    issuer = either_issuer
    denied, expired = issuer.device(), issuer.device()
    issuer.server.deny(denied["user_code"])
    issuer.server.expire(expired["user_code"])
    issuer.poll(denied)
    issuer.poll(expired)
    logged = [(event.type, event.description) for event in issuer.server.events]
    assert logged == [
        ("fdeac", "The user refused the request."),
        ("fede", "The request was refused."),
        ("fede", "The device_code has expired; start again."),
    ]


def test_pending_and_slow_down_are_not_logged(either_issuer: LiveIssuer) -> None:
    device_code_is_exchanged(either_issuer)
    assert [event.type for event in either_issuer.server.events] == ["sede"]


def test_no_other_failure_of_an_oauth_endpoint_is_logged(issuer: LiveIssuer) -> None:
    assert issuer.post("/oauth/revoke", {"client_id": "device-app"}).status_code == 400
    assert issuer.post("/oauth/introspect", {"client_id": "device-app", "token": "x"}).status_code == 401
    assert issuer.token(grant_type="password").status_code == 400
    assert not issuer.server.events


def test_too_many_wrong_codes_are_logged(issuer: LiveIssuer) -> None:
    person = issuer.person()
    for _ in range(6):
        person.open("/activate")
        person.send(user_code="WRON-GCOD")
    assert [event.description for event in issuer.server.events][-1] == "Too many wrong user codes."


def test_the_client_id_in_http_basic_is_logged(issuer: LiveIssuer) -> None:
    form = {"grant_type": "client_credentials", "audience": AUDIENCE}
    issuer.post("/oauth/token", form, auth=("device-gateway", "wrong"))
    (event,) = issuer.server.events
    assert (event.type, event.client_id) == ("feccft", "device-gateway")


def test_a_key_fetch_is_logged_when_it_arrives_with_the_fault_that_it_meets(issuer: LiveIssuer) -> None:
    issuer.get("/.well-known/jwks.json")
    issuer.server.jwks_fault(status=503, body="x")
    issuer.get("/.well-known/jwks.json")
    issuer.server.jwks_fault(delay=60, redirect="/x")
    with pytest.raises(requests.Timeout):
        requests.get(issuer.url + ".well-known/jwks.json", timeout=0.2)
    issuer.server.jwks_fault()
    logged = [(event.type, event.description) for event in issuer.server.events]
    assert logged == [
        ("jwks", ""),
        ("jwks", "status 503, another body"),
        ("jwks", "delay of 60 s, redirect"),
    ]


# The page, and the JSON


def json_events(issuer: LiveIssuer) -> list[dict[str, str]]:
    found: list[dict[str, str]] = issuer.get("/logs", headers={"Accept": "application/json"}).json()
    return found


def test_logs_has_the_newest_first_and_the_controls_the_oldest_first(issuer: LiveIssuer) -> None:
    device_request_fails(issuer)
    machine_works(issuer)
    assert [event["type"] for event in json_events(issuer)] == ["seccft", "fdeaz"]
    assert json_events(issuer)[::-1] == [asdict(event) for event in issuer.server.events]
    assert issuer.get("/_mock/events").json()["events"] == json_events(issuer)[::-1]
    page = issuer.get("/logs").text
    assert page.index("<code>seccft</code>") < page.index("<code>fdeaz</code>")


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "text/html"),
        ("", "text/html"),
        ("*/*", "text/html"),
        ("text/html", "text/html"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("application/json", "application/json"),
        ("application/*", "application/json"),
        ("application/json, */*;q=0.5", "application/json"),
        ("text/html;q=0.5, application/json", "application/json"),
        ("text/plain", "text/html"),
        ("garbage;;q=x", "text/html"),
    ],
)
def test_logs_are_json_if_accept_prefers_it(shared_issuer: LiveIssuer, accept: str | None, media_type: str) -> None:
    response = shared_issuer.get("/logs", headers={"Accept": accept})
    assert response.status_code == 200
    assert header_of(response, "Content-Type").partition(";")[0] == media_type
    assert response.headers.get("Vary") == "Accept"
    assert response.headers.get("Cache-Control") == "no-store"


def test_an_empty_log_says_so(issuer: LiveIssuer) -> None:
    assert "Nothing yet." in issuer.get("/logs").text
    assert json_events(issuer) == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_the_log_is_read_only(shared_issuer: LiveIssuer, method: str) -> None:
    for path in ("/logs", "/"):
        assert shared_issuer.refused(shared_issuer.request(method, path)) == (405, "invalid_request")


def test_every_event_has_its_name_on_the_page(issuer: LiveIssuer) -> None:
    for _, cause, _ in CAUSES:
        cause(issuer)
    page = issuer.get("/logs").text
    for code, name in EVENT_NAMES.items():
        assert f"<code>{code}</code> {name}" in page
    assert page.count('<tr role="row">') == len(issuer.server.events) + 1
    assert "<script" not in page
    assert " style=" not in page


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}}",
    "\x00\x1b[31m",
    "\u202eevil",
    "é" * 300,
]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_values_from_a_request_are_escaped(issuer: LiveIssuer, text: str) -> None:
    issuer.post("/oauth/device/code", {"client_id": text, "audience": text, "scope": text})
    page = issuer.get("/logs").text
    assert not re.search(r"<(script|img src=x)", page)
    assert escape(text[:200]) in page
    (event,) = json_events(issuer)
    assert event["client_id"] == event["audience"] == event["scope"] == text[:200]
    assert event["client_name"] == ""


def test_what_an_event_does_not_know_is_empty() -> None:
    log = EventLog()
    log.add("fdeac", now=0)
    (event,) = log.all()
    assert {name: value for name, value in asdict(event).items() if value} == {
        "type": "fdeac",
        "date": "1970-01-01T00:00:00.000Z",
    }


def test_the_log_is_bounded(issuer: LiveIssuer) -> None:
    log_event = issuer.server._issuer.log_event
    for number in range(1500):
        log_event("fdeaz", client_id=str(number), description="x" * 10_000)
    events = issuer.server.events
    assert [events[0].client_id, events[-1].client_id, len(events)] == ["500", "1499", 1000]
    assert {len(event.description) for event in events} == {200}


# Secrets


def test_no_code_token_or_password_is_in_the_events_or_the_output(
    issuer: LiveIssuer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets: set[str] = set()

    def keep(body: dict[str, Any]) -> dict[str, Any]:
        names = {"device_code", "user_code", "access_token", "refresh_token", "id_token"}
        secrets.update(value for name, value in body.items() if name in names)
        return body

    for _, cause, _ in CAUSES:
        cause(issuer)
    secrets |= {*code_and_token(issuer), VERIFIER, "alice-password", "public-test-secret", "WRON-GCOD", "wrong-secret"}
    device = keep(issuer.device(scope=SCOPE))
    issuer.poll(device)
    person = issuer.person()
    person.open("/activate", user_code=device["user_code"])
    person.send(answer="yes")
    # People do type the password into the wrong field.
    person.send(username="alice-password", password="alice")
    person.log_in("bob")
    person.send(answer="allow")
    tokens = keep(issuer.poll(device).json())
    issuer.poll(device)
    again = keep(linked_tokens(issuer))
    renewed = keep(issuer.refresh(again["refresh_token"]).json())
    issuer.refresh(renewed["refresh_token"], scope="write:devices")
    issuer.refresh(again["refresh_token"])
    issuer.post("/oauth/revoke", {"client_id": "device-app", "token": tokens["refresh_token"]})
    issuer.post("/oauth/revoke", {"client_id": "device-app", "token": tokens["access_token"]})
    issuer.get("/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    issuer.get("/userinfo", params={"access_token": tokens["access_token"]})
    issuer.machine_token(client_secret="wrong-secret")
    keep(issuer.machine_token().json())
    cancelled = keep(issuer.device())
    issuer.person().refuse(cancelled["user_code"])
    issuer.poll(cancelled)
    keep({"access_token": issuer.server.token()})
    keep(issuer.request("POST", "/_mock/token", json={"claims": {"sub": "x"}}).json())
    issuer.server.script(outcome="expire")
    issuer.poll(keep(issuer.device()))

    assert len(secrets) > 15
    out, err = capfd.readouterr()
    ours = ("mock_issuer", "werkzeug", "authlib", "joserfc", "flask")
    logged = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith(ours))
    assert "POST /oauth/token" in logged
    events = repr(issuer.server.events) + issuer.get("/logs").text
    for secret in secrets:
        assert secret not in events
        assert secret not in logged
        assert secret not in out + err


def linked_tokens(issuer: LiveIssuer) -> dict[str, Any]:
    device = issuer.device(scope=SCOPE)
    issuer.server.approve(device["user_code"])
    body: dict[str, Any] = issuer.poll(device).json()
    return body


def test_the_access_log_has_no_query_and_one_line_a_request(
    issuer: LiveIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="mock_issuer.access")
    issuer.get("/activate?user_code=SECR-ETXX")
    issuer.get("/no%0D%0Asuch%20page%1B?x=SECR-ETXX")
    lines = [record.getMessage() for record in caplog.records if record.name == "mock_issuer.access"]
    assert lines == ["GET /activate 400", "GET /no%0D%0Asuch%20page%1B 404"]


def test_werkzeugs_own_log_is_off(issuer: LiveIssuer, capfd: pytest.CaptureFixture[str]) -> None:
    # It contains the request line, and so the query.
    with socket.create_connection(("127.0.0.1", urlsplit(issuer.url).port or 0), timeout=10) as wire:
        wire.sendall(b"GET /activate?user_code=SECR-ETXX HTTP/nonsense\r\n\r\n")
        assert b"400" in wire.recv(4096)
    assert "SECR-ETXX" not in "".join(capfd.readouterr())
