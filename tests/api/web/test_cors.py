from dataclasses import replace

import limits
import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.auth import open_to_all
from api.settings import Settings
from tests.api.conftest import AppOf
from tests.kit.key_server import KeyServer, document
from tests.kit.running_api import Bearer

ORIGIN = "https://tv.example"
OTHER = "http://[::1]:3000"


@pytest.fixture
def open_app(settings: Settings, app_of: AppOf) -> Flask:
    return app_of(replace(settings, cors_origins=(ORIGIN, OTHER), rate_limit=limits.parse("1/minute")))


@pytest.fixture
def open_client(open_app: Flask) -> FlaskClient:
    return open_app.test_client()


def exposed(value: str) -> set[str]:
    return {name.strip() for name in value.split(",")}


@pytest.mark.parametrize("origin", [ORIGIN, OTHER])
@pytest.mark.parametrize("path", ["/v1/me", "/v1/devices", "/v1/devices/dev_00000000000000000000"])
def test_a_preflight_needs_no_token(open_client: FlaskClient, origin: str, path: str) -> None:
    response = open_client.options(
        path,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization, if-none-match, x-request-id, x-unknown",
        },
    )
    assert response.status_code == 200
    assert response.headers.getlist("Access-Control-Allow-Origin") == [origin]
    assert exposed(response.headers["Access-Control-Allow-Methods"]) >= {"GET", "POST", "PATCH", "DELETE"}
    assert exposed(response.headers["Access-Control-Allow-Headers"]) == {
        "authorization",
        "if-none-match",
        "x-request-id",
    }
    assert response.headers["Access-Control-Max-Age"] == "7200"
    assert response.headers.getlist("Vary") == ["Authorization, Origin"]
    assert response.get_data() == b""


@pytest.mark.parametrize(
    "origin",
    [
        "https://tv.example.evil.example",
        "https://evil.example/https://tv.example",
        "https://TV.example",
        "https://tvXexample",
        "https://tv.example:8443",
        "http://tv.example",
        "http://::3000",
        "http://1:3000",
        "null",
        "*",
        "",
    ],
)
def test_other_origins_get_nothing(open_client: FlaskClient, origin: str) -> None:
    for method in ("GET", "OPTIONS"):
        headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        response = open_client.open("/livez", method=method, headers=headers)
        assert not [name for name, _ in response.headers if name.startswith("Access-Control")]
        assert response.headers["Vary"] == "Origin"


def test_answers_and_errors_can_be_read(
    open_app: Flask, open_client: FlaskClient, bearer: Bearer, key_server: KeyServer
) -> None:
    @open_app.get("/broken")
    @open_to_all
    def broken() -> str:
        raise RuntimeError

    statuses = []
    good = bearer()
    for path, headers in (
        ("/v1/me", good),
        ("/v1/me", good),
        ("/v1/me", {}),
        ("/v1/devices", bearer(scope="none")),
        ("/nowhere", {}),
        ("/broken", {}),
    ):
        response = open_client.get(path, headers={**headers, "Origin": ORIGIN})
        statuses.append(response.status_code)
        assert response.headers.getlist("Access-Control-Allow-Origin") == [ORIGIN]
        assert "Access-Control-Allow-Credentials" not in response.headers
        assert exposed(response.headers["Access-Control-Expose-Headers"]) == {
            "ETag",
            "Location",
            "Retry-After",
            "WWW-Authenticate",
            "X-Request-ID",
        }
        assert len(response.headers.getlist("Vary")) == 1
        assert "Origin" in response.headers["Vary"]
    assert statuses == [200, 429, 401, 403, 404, 500]


def test_an_outage_can_be_read_too(open_client: FlaskClient, bearer: Bearer, key_server: KeyServer) -> None:
    key_server.break_keys(document(b"", status=500))
    response = open_client.get("/v1/me", headers={**bearer(), "Origin": ORIGIN})
    assert response.status_code == 503
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN


def test_a_private_answer_varies_by_both(open_client: FlaskClient, bearer: Bearer) -> None:
    for headers in ({"Origin": ORIGIN}, {}):
        response = open_client.get("/v1/me", headers={**bearer(sub=str(len(headers))), **headers})
        assert response.status_code == 200
        assert response.headers.getlist("Vary") == ["Authorization, Origin"]


def test_a_request_of_no_page_is_answered_as_ever(open_client: FlaskClient) -> None:
    response = open_client.get("/livez")
    assert response.status_code == 200
    assert not [name for name, _ in response.headers if name.startswith("Access-Control")]


def test_unset_it_is_not_there(client: FlaskClient) -> None:
    for method in ("GET", "OPTIONS"):
        response = client.open("/livez", method=method, headers={"Origin": ORIGIN})
        assert not [name for name, _ in response.headers if name.startswith("Access-Control")]
        assert "Vary" not in response.headers
