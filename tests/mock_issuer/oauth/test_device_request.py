from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import pytest

from mock_issuer import Api, Client, Config

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mock_issuer.conftest import LiveIssuer

DEVICE_CODE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def test_the_response_has_the_six_members(issuer: LiveIssuer) -> None:
    response = issuer.request_device()
    body = response.json()
    assert response.status_code == 200
    assert response.headers.get("Cache-Control") == "no-store"
    assert set(body) == {
        "device_code",
        "user_code",
        "verification_uri",
        "verification_uri_complete",
        "expires_in",
        "interval",
    }
    assert re.fullmatch("[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", body["user_code"])
    assert body["verification_uri"] == issuer.url + "activate"
    assert body["verification_uri_complete"] == f"{issuer.url}activate?user_code={body['user_code']}"
    assert (body["expires_in"], body["interval"]) == (900, 5)


def test_every_request_has_codes_of_its_own(issuer: LiveIssuer) -> None:
    devices = [issuer.device() for _ in range(20)]
    assert len({device["user_code"] for device in devices}) == 20
    assert len({device["device_code"] for device in devices}) == 20


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"client_id": ""}, 400, "invalid_request"),
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"client_id": 'a"b\\é'}, 401, "invalid_client"),
        ({"client_id": "device-gateway"}, 401, "invalid_client"),
        ({"client_id": "device-gateway", "client_secret": "public-test-secret"}, 400, "unauthorized_client"),
        ({"audience": ""}, 400, "invalid_scope"),
        ({"audience": "", "scope": "openid read:devices"}, 400, "invalid_scope"),
        ({"audience": "https://other.example"}, 400, "invalid_target"),
        ({"audience": 'a"b\\é'}, 400, "invalid_target"),
        ({"scope": "read:everything"}, 400, "invalid_scope"),
        ({"scope": 'a"b\\é'}, 400, "invalid_scope"),
        ({"scope": "read:devices\u00a0openid"}, 400, "invalid_scope"),
    ],
)
def test_refused_requests(issuer: LiveIssuer, form: dict[str, str], status: int, error: str) -> None:
    assert issuer.refused(issuer.request_device(**form)) == (status, error)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ({"application_type": "web"}, 400),
        ({"secret": "secret"}, 400),
        ({"dynamically_registered": True}, 400),
        ({"grant_types": frozenset({"refresh_token"})}, 400),
        ({}, 200),
    ],
)
def test_only_native_public_clients_with_the_grant_may_use_the_flow(
    make_issuer: Callable[[Config], LiveIssuer], kind: dict[str, object], status: int
) -> None:
    fields: dict[str, object] = {"grant_types": frozenset({DEVICE_CODE_GRANT})} | kind
    client = Client(client_id="app", name="App", **fields)  # type: ignore[arg-type]
    issuer = make_issuer(Config(clients=(client,)))
    response = issuer.request_device(client_id="app", client_secret="secret")
    assert response.status_code == status
    if status != 200:
        assert issuer.refused(response) == (400, "unauthorized_client")


def test_a_public_client_may_send_basic_with_an_empty_secret(issuer: LiveIssuer) -> None:
    form = {"audience": "https://device-api.example", "client_id": "device-app"}
    headers = {"Authorization": basic("device-app", "")}
    assert issuer.post("/oauth/device/code", form, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("header", "status", "error"),
    [
        (basic("device-gateway", ""), 400, "invalid_request"),
        ("Basic", 401, "invalid_client"),
        ("Basic ä", 401, "invalid_client"),
        ("Basic gA==", 401, "invalid_client"),
        ("Basic YQ==", 401, "invalid_client"),
        ("Bearer abc", 401, "invalid_client"),
    ],
)
def test_refused_credentials(issuer: LiveIssuer, header: str, status: int, error: str) -> None:
    form = {"audience": "https://device-api.example", "client_id": "device-app"}
    response = issuer.post("/oauth/device/code", form, headers={"Authorization": header.encode("latin-1")})
    assert issuer.refused(response) == (status, error)
    assert ("WWW-Authenticate" in response.headers) is (status == 401)


def test_without_scope_all_scopes_of_the_api_are_requested(issuer: LiveIssuer) -> None:
    assert issuer.linked(scope="")["scope"] == "read:devices write:devices read:readings write:readings"


def test_without_audience_userinfo_is_requested(issuer: LiveIssuer) -> None:
    tokens = issuer.linked(scope="openid email", audience="")
    issuer.verify(tokens["access_token"], audience=issuer.url + "userinfo")


def test_offline_access_is_dropped_if_the_api_does_not_allow_it(make_issuer: Callable[[Config], LiveIssuer]) -> None:
    api = Api(audience="urn:api", name="API", scopes={"read": "Read"}, allow_offline_access=False)
    tokens = make_issuer(Config(apis=(api,))).linked(scope="read offline_access", audience="urn:api")
    assert tokens["scope"] == "read"
    assert "refresh_token" not in tokens


def test_offline_access_alone_does_not_request_all_scopes(make_issuer: Callable[[Config], LiveIssuer]) -> None:
    api = Api(audience="urn:api", scopes={"write": "Write"}, allow_offline_access=False)
    tokens = make_issuer(Config(apis=(api,))).linked(scope="offline_access", audience="urn:api")
    assert tokens["scope"] == ""
    assert "refresh_token" not in tokens


def test_user_codes_follow_the_settings(make_issuer: Callable[[Config], LiveIssuer]) -> None:
    issuer = make_issuer(Config(user_code_charset="digits", user_code_mask="***.*** ***"))
    code = issuer.device()["user_code"]
    assert re.fullmatch(r"\d{3}\.\d{3} \d{3}", code)
    person = issuer.person()
    assert 'inputmode="numeric"' in person.open("/activate").text
    person.approve("".join(filter(str.isdigit, code)))
