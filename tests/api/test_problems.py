import json

import pytest
from flask import Flask
from flask.testing import FlaskClient

MEMBERS = {"type", "title", "status", "detail", "error", "request_id"}


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/nothing/here", 404, "not_found"),
        ("GET", "/v1/devices/", 404, "not_found"),
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
    assert body["request_id"] == response.headers["X-Request-ID"]


def test_a_wrong_method_is_told_which_ones_there_are(client: FlaskClient) -> None:
    assert "GET" in client.post("/livez").headers["Allow"]


def test_the_unexpected_is_logged_and_tells_nothing(
    app: Flask, client: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    @app.get("/broken")
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
    assert line["request_id"] == response.headers["X-Request-ID"]


def test_redirects_stay_redirects(app: Flask, client: FlaskClient) -> None:
    @app.get("/folder/")
    def folder() -> str:
        return ""

    response = client.get("/folder")
    assert response.status_code == 308
    assert response.headers["Location"].endswith("/folder/")
