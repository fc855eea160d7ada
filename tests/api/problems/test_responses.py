import json
from dataclasses import replace

import pytest
from flask import Flask, abort, request
from flask.testing import FlaskClient

from api.auth import open_to_all
from api.problems.catalogue import PROBLEM_TYPES
from api.settings import Settings
from tests.api.conftest import AppOf
from tests.kit.headers import header_of
from tests.kit.running_api import Bearer

MEMBERS = {"type", "title", "status", "detail", "error", "request_id"}


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/nothing/here", 404, "not_found"),
        ("GET", "/v1/devices/", 404, "not_found"),
        ("GET", "/v1//devices", 404, "not_found"),
        ("GET", "/problems/", 404, "not_found"),
        ("POST", "/livez", 405, "method_not_allowed"),
        ("DELETE", "/v1/me", 405, "method_not_allowed"),
        ("GET", "/v1/me", 401, "missing_credentials"),
    ],
)
def test_every_error_is_a_problem(client: FlaskClient, method: str, path: str, status: int, error: str) -> None:
    response = client.open(path, method=method)
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    body = response.get_json()
    assert set(body) == MEMBERS
    assert (body["status"], body["error"]) == (status, error)
    kind = PROBLEM_TYPES[error]
    assert (body["type"], body["title"]) == (f"/problems/{kind.slug}", kind.title)
    assert client.get(body["type"]).status_code == 200
    assert body["request_id"] == response.headers.get("X-Request-ID")


def test_the_missing_scope_is_in_the_body_and_in_the_challenge(client: FlaskClient, bearer: Bearer) -> None:
    for path, scope in (("/v1/devices", "read:devices"), ("/v1/devices/dev_x/readings", "read:readings")):
        response = client.get(path, headers=bearer(scope="other"))
        assert response.status_code == 403
        body = response.get_json()
        assert set(body) == MEMBERS | {"scope"}
        assert (body["error"], body["scope"]) == ("insufficient_scope", scope)
        assert f', scope="{scope}"' in header_of(response, "WWW-Authenticate")


def test_a_token_without_the_word_bearer_is_answered_like_another_scheme_and_told_so(
    client: FlaskClient, bearer: Bearer
) -> None:
    token = bearer()["Authorization"].removeprefix("Bearer ")
    response = client.get("/v1/devices", headers={"Authorization": token})
    without = client.get("/v1/devices")
    assert response.status_code == without.status_code == 401
    body = response.get_json()
    assert set(body) == MEMBERS
    assert body["error"] == "missing_credentials"
    assert body["detail"] == "The word Bearer is missing before the token in the Authorization header."
    assert header_of(response, "WWW-Authenticate") == header_of(without, "WWW-Authenticate")
    assert not any(part in response.get_data(as_text=True) for part in token.split("."))


def test_405_lists_the_allowed_methods(client: FlaskClient) -> None:
    assert "GET" in header_of(client.post("/livez"), "Allow")


def test_an_unexpected_error_is_logged_but_not_shown(
    app: Flask, client: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    @app.get("/broken")
    @open_to_all
    def broken() -> str:
        raise RuntimeError("a secret detail")

    response = client.get("/broken")
    assert response.status_code == 500
    assert response.content_type == "application/problem+json"
    assert "secret" not in response.get_data(as_text=True)
    assert response.get_json()["error"] == "internal_error"
    logged = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (line,) = [line for line in logged if line["event"] == "unexpected_error"]
    assert "RuntimeError: a secret detail" in line["exception"]
    assert line["request_id"] == response.headers.get("X-Request-ID")


def test_redirects_stay_redirects(app: Flask, client: FlaskClient) -> None:
    @app.get("/folder/")
    @open_to_all
    def folder() -> str:
        return ""

    response = client.get("/folder")
    assert response.status_code == 308
    assert header_of(response, "Location").endswith("/folder/")


def test_types_are_absolute_urls_if_the_public_url_is_set(settings: Settings, app_of: AppOf) -> None:
    client = app_of(replace(settings, public_url="https://api.example/devices/")).test_client()
    body = client.get("/nowhere").get_json()
    assert body["type"] == "https://api.example/devices/problems/not-found"


@pytest.mark.parametrize("status", [403, 406, 408, 411, 414, 417, 428, 431, 501])
def test_other_http_errors_are_problems_too(app: Flask, client: FlaskClient, status: int) -> None:
    @app.get("/refused")
    @open_to_all
    def refused() -> str:
        abort(status)

    response = client.get("/refused")
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    assert (response.get_json()["error"], response.get_json()["type"]) == ("http_error", "/problems/http-error")


def test_a_body_that_is_too_large(app: Flask, client: FlaskClient) -> None:
    @app.post("/take")
    @open_to_all
    def take() -> str:
        return str(len(request.get_data()))

    response = client.post("/take", data=b"x" * (1024 * 1024 + 1))
    assert response.status_code == 413
    assert response.content_type == "application/problem+json"
    body = response.get_json()
    assert (body["error"], body["title"]) == ("content_too_large", "The body is too large")
