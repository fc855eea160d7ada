"""What holds for all endpoints, whatever is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mock_issuer import Config, create_app

if TYPE_CHECKING:
    from tests.mock_issuer.conftest import LiveIssuer

AUDIENCE = "https://device-api.example"
POST_ROUTES = ["/oauth/device/code", "/oauth/token", "/oauth/revoke"]
GRANTS = ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token", "client_credentials"]
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("path", POST_ROUTES)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_json_errors(issuer: LiveIssuer, path: str, method: str) -> None:
    response = issuer.request(method, path)
    assert issuer.refused(response) == (405, "invalid_request")
    assert "POST" in response.headers["Allow"]


@pytest.mark.parametrize("path", POST_ROUTES)
@pytest.mark.parametrize(
    ("query", "body", "content_type"),
    [
        ("", "client_id=device-app&client_id=device-app", FORM),
        ("", "client_id=device-app&client_id=", FORM),
        ("", "client_id=device-app&scope=read:devices&scope=read:readings", FORM),
        ("?client_id=device-app", f"audience={AUDIENCE}", FORM),
        ("?anything=else", f"client_id=device-app&audience={AUDIENCE}", FORM),
        ("", '{"client_id": "device-app"}', "application/json"),
        ("", "", FORM),
        ("", "", ""),
        ("", "client_id=device-app&" + "&".join(f"p{i}=x" for i in range(2000)), FORM),
    ],
)
def test_bad_forms_are_json_errors(issuer: LiveIssuer, path: str, query: str, body: str, content_type: str) -> None:
    response = issuer.request("POST", path + query, data=body, headers={"Content-Type": content_type})
    assert issuer.refused(response) == (400, "invalid_request")


def test_a_large_body_is_refused(issuer: LiveIssuer) -> None:
    response = issuer.post("/oauth/token", {"grant_type": "x" * 70_000})
    assert issuer.refused(response) == (413, "invalid_request")


def test_an_unknown_address_is_a_json_error(issuer: LiveIssuer) -> None:
    assert issuer.refused(issuer.get("/nothing")) == (404, "invalid_request")


def test_the_host_header_is_not_trusted(issuer: LiveIssuer) -> None:
    form = {"client_id": "device-app", "audience": AUDIENCE}
    response = issuer.post("/oauth/device/code", form, headers={"Host": "evil.example"})
    assert response.json()["verification_uri"] == issuer.url + "activate"


def test_each_application_has_a_state_of_its_own() -> None:
    form = {"client_id": "device-app", "audience": AUDIENCE}
    first, second = create_app(Config()).test_client(), create_app(Config()).test_client()
    device = first.post("/oauth/device/code", data=form).get_json()
    poll = {"client_id": "device-app", "grant_type": GRANTS[0], "device_code": device["device_code"]}
    assert first.post("/oauth/token", data=poll).get_json()["error"] == "authorization_pending"
    assert second.post("/oauth/token", data=poll).get_json()["error"] == "invalid_grant"


VALUES = st.one_of(
    st.sampled_from(["device-app", "device-gateway", "public-test-secret", AUDIENCE, "read:devices openid", *GRANTS]),
    st.sampled_from(['a"b', "é\\", ""]),
    st.text(max_size=40),
)
NAMES = st.sampled_from(
    [
        "client_id",
        "client_secret",
        "grant_type",
        "scope",
        "audience",
        "device_code",
        "refresh_token",
        "token",
        "user_code",
        "csrf_token",
        "username",
        "password",
        "pick",
        "answer",
        "é\"'",
    ]
)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=8)
CREDENTIALS = st.one_of(
    st.sampled_from(["", "Basic", "Basic ZGV2aWNlLWFwcDo=", "Bearer", "Bearer ImFsZyI.e30.AA", "Bearer a.b.c"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30).map(str.strip),
)
PAGES = ["/activate", *(f"/activate/{page}" for page in ("confirm", "login", "logout", "consent", "done", "nothing"))]
OTHERS = ["/userinfo", "/.well-known/jwks.json", "/.well-known/openid-configuration", "/nothing"]
REQUESTS = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
        "path": st.sampled_from([*POST_ROUTES, *OTHERS, *PAGES]),
        "params": FIELDS,
        "data": FIELDS,
        "headers": CREDENTIALS.map(lambda value: {"Authorization": value.encode("latin-1")} if value else {}),
    }
)


@given(request=REQUESTS)
@settings(max_examples=300, deadline=None)
def test_nothing_answers_500(shared_issuer: LiveIssuer, request: dict[str, Any]) -> None:
    shared_issuer.clock.advance(900)  # past the limit on wrong codes
    response = shared_issuer.request(**request)
    assert response.status_code < 500
    if request["path"] in PAGES:
        assert "text/html" in response.headers["Content-Type"]
    elif response.status_code >= 400:
        shared_issuer.refused(response)
