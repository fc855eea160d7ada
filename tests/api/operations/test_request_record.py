import json
import logging
import os
import threading
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.app import create_app
from api.auth import open_to_all
from api.operations.auth_events import RecordedAuthEvents
from api.settings import Settings
from tests.kit.databases import create_tables
from tests.kit.headers import header_of
from tests.kit.running_api import Bearer


def lines(capsys: pytest.CaptureFixture[str], event: str = "request") -> list[dict[str, object]]:
    logged = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [line for line in logged if line["event"] == event]


def test_each_response_has_its_own_request_id(client: FlaskClient) -> None:
    first, second = (header_of(client.get("/livez"), "X-Request-ID") for _ in range(2))
    assert first != second
    assert len(first) == 32


def test_a_valid_request_id_is_kept(client: FlaskClient) -> None:
    response = client.get("/livez", headers={"X-Request-ID": "abc-123_x.Y"})
    assert response.headers.get("X-Request-ID") == "abc-123_x.Y"


@pytest.mark.parametrize("offered", ["", "a b", "a" * 65, "<script>", 'a"b', "é", "a;b"])
def test_an_invalid_request_id_is_replaced(client: FlaskClient, offered: str) -> None:
    response = client.get("/livez", headers={"X-Request-ID": offered})
    assert header_of(response, "X-Request-ID") != offered
    assert len(header_of(response, "X-Request-ID")) == 32


def test_a_log_line_has_route_and_status_but_no_query(client: FlaskClient, capsys: pytest.CaptureFixture[str]) -> None:
    client.get("/v1/devices/dev_00000000000000000000?access_token=secret")
    (line,) = lines(capsys)
    assert line["route"] == "/v1/devices/<device_id>"
    assert (line["method"], line["status"], line["level"]) == ("GET", 401, "info")
    assert "secret" not in json.dumps(line)
    assert isinstance(line["duration_ms"], float)


def test_requests_in_one_application_context_have_separate_log_data(
    client: FlaskClient, bearer: Bearer, capsys: pytest.CaptureFixture[str]
) -> None:
    with client.application.app_context():
        client.get("/v1/me", headers=bearer(aud="other"))
        client.get("/")
    refused, healthy = lines(capsys)
    assert refused["auth_refused"] == "audience"
    assert "auth_refused" not in healthy
    assert refused["request_id"] != healthy["request_id"]


def test_a_log_line_outside_of_requests_has_no_request_id(app: Flask, capsys: pytest.CaptureFixture[str]) -> None:
    RecordedAuthEvents().keys_fetch_failed("https://issuer.example/", "timeout")
    (line,) = lines(capsys, "keys_fetch_failed")
    assert (line["level"], line["cause"]) == ("warning", "timeout")
    assert "request_id" not in line


def test_faults_of_a_key_set_are_logged(app: Flask, capsys: pytest.CaptureFixture[str]) -> None:
    events = RecordedAuthEvents()
    events.key_set_unusable("https://issuer.example/", confirmed=True)
    events.private_key_published("https://issuer.example/")
    logged = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["level"], line["issuer"], line.get("confirmed")) for line in logged] == [
        ("key_set_unusable", "warning", "https://issuer.example/", True),
        ("private_key_published", "warning", "https://issuer.example/", None),
    ]


def test_a_log_line_has_the_reason_for_a_refusal(
    client: FlaskClient, bearer: Bearer, capsys: pytest.CaptureFixture[str]
) -> None:
    headers = bearer(aud="other")
    client.get("/v1/me", headers=headers)
    (line,) = lines(capsys)
    assert line["auth_refused"] == "audience"
    assert headers["Authorization"].split(".")[1] not in json.dumps(line)


def test_an_accepted_request_is_not_logged_as_refused(
    client: FlaskClient, bearer: Bearer, capsys: pytest.CaptureFixture[str]
) -> None:
    client.get("/v1/me", headers=bearer())
    # The thread that fetched the keys logs its line after the request goes on.
    for thread in threading.enumerate():
        if thread.name == "jwks-fetch":
            thread.join(timeout=10)
    captured = capsys.readouterr().err
    assert "auth_refused" not in captured
    assert {json.loads(line)["event"] for line in captured.splitlines()} == {"keys_fetched", "request"}


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/livez", (200, "debug", None)),
        ("HEAD", "/livez", (200, "debug", None)),
        ("GET", "/metrics", (200, "debug", None)),
        ("GET", "/openapi.json", (200, "info", None)),
        ("GET", "/v1/me", (401, "info", "missing_credentials")),
        ("POST", "/livez", (405, "info", "method_not_allowed")),
        ("GET", "/nowhere", (404, "info", "not_found")),
        ("POST", "/v1/devices", (422, "info", "validation_failed")),
        ("GET", "/broken", (500, "error", "internal_error")),
    ],
)
def test_a_request_has_its_level_and_the_error_of_its_problem(
    settings: Settings,
    bearer: Bearer,
    capsys: pytest.CaptureFixture[str],
    *,
    method: str,
    path: str,
    expected: tuple[int, str, str | None],
) -> None:
    create_tables(settings.database_url)
    app = create_app(replace(settings, log_level=logging.DEBUG))

    @app.get("/broken")
    @open_to_all
    def broken() -> str:
        raise RuntimeError

    request: dict[str, Any] = {"headers": bearer(scope="write:devices"), "json": {}} if method == "POST" else {}
    app.test_client().open(path, method=method, **request)
    (line,) = lines(capsys)
    assert (line["status"], line["level"], line.get("error")) == expected
    assert line["pid"] == os.getpid()
    app.extensions["device_store"].close()


def test_successful_probes_are_not_logged_by_default_and_failed_ones_are(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    app = create_app(settings)
    client = app.test_client()
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 503  # there are no tables
    (line,) = lines(capsys)
    assert (line["route"], line["level"], line["error"]) == ("/readyz", "error", "not_ready")
    app.extensions["device_store"].close()
