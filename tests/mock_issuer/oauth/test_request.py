"""Bodies: JSON with the profile `auth0`, their size, and what is in the query."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from mock_issuer.config import Profile
    from tests.mock_issuer.conftest import LiveIssuer

AUDIENCE = "https://device-api.example"
DEVICE_CODE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
GATEWAY = {"client_id": "device-gateway", "client_secret": "public-test-secret"}
ROUTES = ["/oauth/device/code", "/oauth/token", "/oauth/revoke", "/oauth/introspect"]
FORM = "application/x-www-form-urlencoded"


def test_the_whole_flow_works_with_json(issuer: LiveIssuer) -> None:
    scope = "openid read:devices offline_access"
    device = issuer.request(
        "POST", "/oauth/device/code", json={"client_id": "device-app", "audience": AUDIENCE, "scope": scope}
    ).json()
    poll = {"client_id": "device-app", "grant_type": DEVICE_CODE_GRANT, "device_code": device["device_code"]}
    assert issuer.refused(issuer.request("POST", "/oauth/token", json=poll)) == (403, "authorization_pending")
    issuer.person().approve(device["user_code"])
    tokens = issuer.request("POST", "/oauth/token", json=poll).json()
    assert tokens["scope"] == scope
    refresh = {"client_id": "device-app", "grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    renewed = issuer.request("POST", "/oauth/token", json=refresh).json()
    revoke = {"client_id": "device-app", "token": renewed["refresh_token"]}
    assert issuer.request("POST", "/oauth/revoke", json=revoke).status_code == 200
    assert issuer.refused(issuer.refresh(renewed["refresh_token"])) == (403, "invalid_grant")


def test_null_counts_as_omitted(issuer: LiveIssuer) -> None:
    # What auth0-python sends for client_credentials() without an organization.
    body = {**GATEWAY, "audience": AUDIENCE, "grant_type": "client_credentials", "organization": None, "scope": None}
    response = issuer.request("POST", "/oauth/token", json=body)
    assert response.json()["scope"] == "read:devices write:devices read:readings write:readings"


def test_the_content_type_may_have_a_charset(issuer: LiveIssuer) -> None:
    body = json.dumps({"client_id": "device-app", "audience": AUDIENCE})
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert issuer.request("POST", "/oauth/device/code", data=body, headers=headers).status_code == 200


def test_a_failure_is_logged_with_what_the_json_said(issuer: LiveIssuer) -> None:
    body = {**GATEWAY, "client_secret": "x", "audience": AUDIENCE, "scope": "a", "grant_type": "client_credentials"}
    issuer.request("POST", "/oauth/token", json=body)
    issuer.request("POST", "/oauth/device/code", json={"client_id": "nobody", "scope": "b"})
    assert [(event.type, event.client_id, event.audience, event.scope) for event in issuer.server.events] == [
        ("feccft", "device-gateway", AUDIENCE, "a"),
        ("fdeaz", "nobody", "", "b"),
    ]


@pytest.mark.parametrize("path", ROUTES)
def test_the_profile_rfc_takes_forms_only(live_issuers: Callable[[Profile], LiveIssuer], path: str) -> None:
    issuer = live_issuers("rfc")
    response = issuer.request("POST", path, json={"client_id": "device-app", "audience": AUDIENCE})
    assert issuer.refused(response) == (400, "invalid_request")
    assert FORM in response.json()["error_description"]


@pytest.mark.parametrize(("profile", "types"), [("auth0", f"{FORM} or application/json"), ("rfc", FORM)])
def test_a_body_of_another_type_is_refused_and_not_read(
    live_issuers: Callable[[Profile], LiveIssuer], profile: Profile, types: str
) -> None:
    issuer = live_issuers(profile)
    body = json.dumps({"client_id": "device-app", "audience": AUDIENCE})
    response = issuer.request("POST", "/oauth/device/code", data=body, headers={"Content-Type": "text/plain"})
    assert issuer.refused(response) == (400, "invalid_request")
    assert response.json()["error_description"] == f"The request body must be {types}."


NO_OBJECTS: list[tuple[str | bytes, str]] = [
    ("", "not a JSON object"),
    ("{", "not a JSON object"),
    ("{} {}", "not a JSON object"),
    ("null", "not a JSON object"),
    ('"client_id"', "not a JSON object"),
    ("1", "not a JSON object"),
    ("[]", "not a JSON object"),
    ('[["client_id", "device-app"]]', "not a JSON object"),
    (b"\xff\xfe", "not a JSON object"),
    ('{"client_id": "device-app"}'.encode("utf-16"), "not a JSON object"),
    ('\ufeff{"client_id": "device-app"}', "not a JSON object"),
    ('{"client_id": "\\ud800"}', "not a JSON object"),
    ('{"\\udfff": "device-app"}', "not a JSON object"),
    ("[" * 30_000, "not a JSON object"),
    ('{"a":' * 10_000, "not a JSON object"),
    ('{"a": 1' + "0" * 5000 + "}", "object"),
    ('{"client_id": "device-app", "client_id": "device-app"}', "repeated"),
    ('{"client_id": "device-app", "client_\\u0069d": "other"}', "repeated"),
    ('{"a": {"b": "c", "b": "d"}}', "repeated"),
    ('{"client_id": 1}', "must be a string"),
    ('{"client_id": true}', "must be a string"),
    ('{"client_id": ["device-app"]}', "must be a string"),
    ('{"client_id": {}}', "must be a string"),
    ('{"client_id": NaN}', "must be a string"),
    ('{"a":' * 50 + '"b"' + "}" * 50, "must be a string"),
]


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(("body", "words"), NO_OBJECTS, ids=lambda value: repr(value)[:30])
def test_a_json_body_is_an_object_of_strings(
    shared_issuer: LiveIssuer, path: str, body: str | bytes, words: str
) -> None:
    content = body.encode() if isinstance(body, str) else body
    response = shared_issuer.request("POST", path, data=content, headers={"Content-Type": "application/json"})
    assert shared_issuer.refused(response) == (400, "invalid_request")
    assert words in response.json()["error_description"]


# Size

EVERYWHERE = [*ROUTES, "/userinfo", "/_mock/token", "/activate", "/account/login", "/logs", "/nothing"]


@pytest.mark.parametrize("path", EVERYWHERE)
@pytest.mark.parametrize(
    "content_type",
    [FORM, "application/json", "text/plain", "multipart/form-data; boundary=x", "multipart/form-data", ""],
)
def test_a_body_over_64_kib_is_refused_whatever_its_type(
    shared_issuer: LiveIssuer, path: str, content_type: str
) -> None:
    response = shared_issuer.request("POST", path, data=b"x" * 65_537, headers={"Content-Type": content_type})
    assert response.status_code == 413


def test_a_body_of_64_kib_is_read(issuer: LiveIssuer) -> None:
    start = f"client_id=device-app&audience={AUDIENCE}&x="
    response = issuer.request(
        "POST", "/oauth/device/code", data=start.ljust(65_536, "x"), headers={"Content-Type": FORM}
    )
    assert response.status_code == 200


def test_the_answer_to_a_very_large_body_arrives(issuer: LiveIssuer) -> None:
    response = issuer.request("POST", "/oauth/token", json={"client_id": "x" * 3_000_000})
    assert issuer.refused(response) == (413, "invalid_request")


# The query


@pytest.mark.parametrize("query", ["?client-request-id=0b3c", "?x=1&x=2", "?", "?api-version=1.0&%ff=%fe"])
def test_unknown_parameters_in_the_query_are_ignored(either_issuer: LiveIssuer, query: str) -> None:
    form = {"client_id": "device-app", "audience": AUDIENCE}
    device = either_issuer.post(f"/oauth/device/code{query}", form).json()
    either_issuer.server.approve(device["user_code"])
    form = {"client_id": "device-app", "grant_type": DEVICE_CODE_GRANT, "device_code": device["device_code"]}
    assert either_issuer.post(f"/oauth/token{query}", form).status_code == 200
    assert either_issuer.post(f"/oauth/revoke{query}", {"client_id": "device-app", "token": "x"}).status_code == 200
    assert either_issuer.post(f"/oauth/introspect{query}", {**GATEWAY, "token": "x"}).json() == {"active": False}


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "name",
    [
        "assertion",
        "audience",
        "client_assertion",
        "client_assertion_type",
        "client_id",
        "client_secret",
        "code",
        "code_verifier",
        "device_code",
        "grant_type",
        "password",
        "redirect_uri",
        "refresh_token",
        "resource",
        "scope",
        "token",
        "token_type_hint",
        "username",
    ],
)
def test_parameters_of_the_request_are_refused_in_the_query(shared_issuer: LiveIssuer, path: str, name: str) -> None:
    response = shared_issuer.post(f"{path}?{name}=", {"client_id": "device-app", "audience": AUDIENCE})
    assert shared_issuer.refused(response) == (400, "invalid_request")
    assert "query" in response.json()["error_description"]


def test_a_request_target_that_is_no_url_is_answered(shared_issuer: LiveIssuer) -> None:
    address = urlsplit(shared_issuer.url)
    assert address.hostname
    assert address.port
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(b"GET http://[::1/logs HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
