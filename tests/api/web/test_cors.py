from dataclasses import replace

import limits
import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.auth import open_to_all
from api.settings import Settings
from tests.api.conftest import AppOf
from tests.kit.headers import header_of
from tests.kit.key_server import KeyServer, document
from tests.kit.running_api import Bearer

ORIGIN = "https://tv.example"
OTHER = "http://[::1]:3000"


@pytest.fixture
def cors_app(settings: Settings, app_of: AppOf) -> Flask:
    return app_of(replace(settings, cors_origins=(ORIGIN, OTHER), rate_limit=limits.parse("1/minute")))


@pytest.fixture
def cors_client(cors_app: Flask) -> FlaskClient:
    return cors_app.test_client()


def header_names(value: str) -> set[str]:
    return {name.strip() for name in value.split(",")}


@pytest.mark.parametrize("origin", [ORIGIN, OTHER])
@pytest.mark.parametrize("path", ["/v1/me", "/v1/devices", "/v1/devices/dev_00000000000000000000"])
def test_a_preflight_needs_no_token(cors_client: FlaskClient, origin: str, path: str) -> None:
    response = cors_client.options(
        path,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization, dpop, if-none-match, x-request-id, x-unknown",
        },
    )
    assert response.status_code == 200
    assert response.headers.getlist("Access-Control-Allow-Origin") == [origin]
    assert header_names(header_of(response, "Access-Control-Allow-Methods")) >= {"GET", "POST", "PATCH", "DELETE"}
    assert header_names(header_of(response, "Access-Control-Allow-Headers")) == {
        "authorization",
        "dpop",
        "if-none-match",
        "x-request-id",
    }
    assert response.headers.get("Access-Control-Max-Age") == "7200"
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
def test_other_origins_get_nothing(cors_client: FlaskClient, origin: str) -> None:
    for method in ("GET", "OPTIONS"):
        headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        response = cors_client.open("/livez", method=method, headers=headers)
        assert not [name for name, _ in response.headers if name.startswith("Access-Control")]
        assert response.headers.get("Vary") == "Origin"


def test_pages_can_read_responses_and_errors(
    cors_app: Flask, cors_client: FlaskClient, bearer: Bearer, key_server: KeyServer
) -> None:
    @cors_app.get("/broken")
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
        response = cors_client.get(path, headers={**headers, "Origin": ORIGIN})
        statuses.append(response.status_code)
        assert response.headers.getlist("Access-Control-Allow-Origin") == [ORIGIN]
        assert "Access-Control-Allow-Credentials" not in response.headers
        assert header_names(header_of(response, "Access-Control-Expose-Headers")) == {
            "DPoP-Nonce",
            "ETag",
            "Location",
            "Retry-After",
            "WWW-Authenticate",
            "X-Request-ID",
        }
        assert len(response.headers.getlist("Vary")) == 1
        assert "Origin" in header_of(response, "Vary")
    assert statuses == [200, 429, 401, 403, 404, 500]


def test_pages_can_read_a_503(cors_client: FlaskClient, bearer: Bearer, key_server: KeyServer) -> None:
    key_server.break_keys(document(b"", status=500))
    response = cors_client.get("/v1/me", headers={**bearer(), "Origin": ORIGIN})
    assert response.status_code == 503
    assert response.headers.get("Access-Control-Allow-Origin") == ORIGIN


def test_a_private_response_varies_by_token_and_origin(cors_client: FlaskClient, bearer: Bearer) -> None:
    for headers in ({"Origin": ORIGIN}, {}):
        response = cors_client.get("/v1/me", headers={**bearer(sub=str(len(headers))), **headers})
        assert response.status_code == 200
        assert response.headers.getlist("Vary") == ["Authorization, Origin"]


def test_a_request_without_origin_gets_no_cors_headers(cors_client: FlaskClient) -> None:
    response = cors_client.get("/livez")
    assert response.status_code == 200
    assert not [name for name, _ in response.headers if name.startswith("Access-Control")]


def test_without_origins_there_are_no_cors_headers(client: FlaskClient) -> None:
    for method in ("GET", "OPTIONS"):
        response = client.open("/livez", method=method, headers={"Origin": ORIGIN})
        assert not [name for name, _ in response.headers if name.startswith("Access-Control")]
        assert "Vary" not in response.headers
