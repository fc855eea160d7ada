"""Properties of all endpoints, for any request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mock_issuer import Config, create_app
from tests.kit.headers import header_of

if TYPE_CHECKING:
    from tests.mock_issuer.conftest import LiveIssuer

AUDIENCE = "https://device-api.example"
POST_ROUTES = ["/oauth/device/code", "/oauth/token", "/oauth/revoke", "/oauth/introspect"]
GRANTS = ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token", "client_credentials"]
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("path", POST_ROUTES)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_json_errors(issuer: LiveIssuer, path: str, method: str) -> None:
    response = issuer.request(method, path)
    assert issuer.refused(response) == (405, "invalid_request")
    assert "POST" in header_of(response, "Allow")


@pytest.mark.parametrize("path", POST_ROUTES)
@pytest.mark.parametrize(
    ("query", "body", "content_type"),
    [
        ("", "client_id=device-app&client_id=device-app", FORM),
        ("", "client_id=device-app&client_id=", FORM),
        ("", "client_id=device-app&scope=read:devices&scope=read:readings", FORM),
        ("?client_id=device-app", f"audience={AUDIENCE}", FORM),
        ("", "", FORM),
        ("", "", ""),
    ],
)
def test_bad_forms_are_json_errors(issuer: LiveIssuer, path: str, query: str, body: str, content_type: str) -> None:
    response = issuer.request("POST", path + query, data=body, headers={"Content-Type": content_type})
    assert issuer.refused(response) == (400, "invalid_request")


GOOD_FORM = f"client_id=device-app&audience={AUDIENCE}&scope=openid"


@pytest.mark.parametrize(
    ("query", "body", "content_type", "error"),
    [
        ("", GOOD_FORM, FORM, None),
        ("", GOOD_FORM, f"{FORM}; charset=utf-8", None),
        ("", f"{GOOD_FORM}&more=1&other=2", FORM, None),
        ("", f"{GOOD_FORM}&client_secret=", FORM, None),
        ("", "client_id=device-app&audience=&scope=openid", FORM, None),  # RFC 6749 §3.1: as if omitted
        ("", "client_id=device-app&audience=&scope=read:devices", FORM, "invalid_scope"),
        ("", f"client_id=&audience={AUDIENCE}", FORM, "invalid_request"),
        ("", f"{GOOD_FORM}&scope=openid", FORM, "invalid_request"),
        ("", f"{GOOD_FORM}&scope=", FORM, "invalid_request"),
        ("", f"{GOOD_FORM}&more=1&more=1", FORM, "invalid_request"),
        ("", f"{GOOD_FORM}&more=1&more=2&more=3", FORM, "invalid_request"),
        ("?more=1", GOOD_FORM, FORM, None),
        ("?client_id=device-app", GOOD_FORM, FORM, "invalid_request"),
    ],
)
def test_what_is_wrong_with_a_form_is_wrong_by_itself(
    issuer: LiveIssuer, query: str, body: str, content_type: str, error: str | None
) -> None:
    headers = {"Content-Type": content_type}
    response = issuer.request("POST", f"/oauth/device/code{query}", data=body, headers=headers)
    if error is None:
        assert response.status_code == 200, response.text
    else:
        assert issuer.refused(response) == (400, error)


def test_a_form_of_another_type_is_refused(issuer: LiveIssuer) -> None:
    fields = {"client_id": (None, "device-app"), "audience": (None, AUDIENCE)}
    response = issuer.request("POST", "/oauth/device/code", files=fields)
    assert issuer.refused(response) == (400, "invalid_request")


def test_a_large_body_is_refused(issuer: LiveIssuer) -> None:
    response = issuer.post("/oauth/token", {"grant_type": "x" * 70_000})
    assert issuer.refused(response) == (413, "invalid_request")


def test_a_chunked_body_is_accepted_unless_too_large(issuer: LiveIssuer) -> None:
    form = f"client_id=device-app&audience={AUDIENCE}&scope=read:devices&x=".encode()
    headers = {"Content-Type": FORM}
    for path in (*POST_ROUTES, "/_mock/token"):
        response = issuer.request("POST", path, data=iter([form, *([b"x" * 4096] * 100)]), headers=headers)
        assert issuer.refused(response) == (413, "invalid_request")
    assert issuer.request("POST", "/activate", data=iter([b"x" * 100_000]), headers=headers).status_code == 413
    response = issuer.request("POST", "/oauth/device/code", data=iter([form[:20], form[20:]]), headers=headers)
    assert response.json()["interval"] == 5
    assert issuer.request("POST", "/_mock/expire", json={"user_code": response.json()["user_code"]}).ok


def test_an_unknown_address_is_a_json_error(issuer: LiveIssuer) -> None:
    for accept in (None, "*/*", "application/json", "application/json, text/html;q=0.9", "garbage;;q=x"):
        response = issuer.get("/nothing", headers={"Accept": accept})
        assert issuer.refused(response) == (404, "not_found")


@pytest.mark.parametrize("path", ["/nothing", "/activat", "/oauth", "/oauth/nothing", "/.well-known/nothing"])
def test_an_unknown_address_is_a_page_in_a_browser(issuer: LiveIssuer, path: str) -> None:
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    response = issuer.get(path, headers={"Accept": accept})
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<h1>Page not found</h1>" in response.text
    assert 'href="/activate"' in response.text
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize("host", [".", "a..b", "x" * 70, "a b"])
@pytest.mark.parametrize("path", ["/", "/activate", "/account/devices", "/oauth/token", "/_mock/events", "/nothing"])
def test_an_impossible_host_is_no_server_error(shared_issuer: LiveIssuer, path: str, host: str) -> None:
    headers = {"Host": host, "Accept": "text/html"}
    assert shared_issuer.get(path, headers=headers).status_code < 500


def test_the_host_header_is_not_trusted(issuer: LiveIssuer) -> None:
    form = {"client_id": "device-app", "audience": AUDIENCE}
    response = issuer.post("/oauth/device/code", form, headers={"Host": "evil.example"})
    assert response.json()["verification_uri"] == issuer.url + "activate"


CORS_PATHS = [*POST_ROUTES, "/userinfo", "/.well-known/jwks.json", "/.well-known/openid-configuration"]
OTHER_PATHS = ["/", "/logs", "/activate", "/account/devices", "/playground", "/_mock/events", "/_mock/token"]


@pytest.mark.parametrize("path", CORS_PATHS)
def test_scripts_of_any_origin_may_call_endpoints_without_cookies(issuer: LiveIssuer, path: str) -> None:
    origin = {"Origin": "https://tv.example"}
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    allowed = issuer.request("OPTIONS", path, headers=origin | preflight)
    assert allowed.status_code == 200
    assert allowed.headers.get("Access-Control-Allow-Headers") == "Authorization, Content-Type, DPoP"
    assert allowed.headers.get("Access-Control-Allow-Methods") == "GET, POST"
    assert allowed.headers.get("Access-Control-Max-Age") == "600"
    answers = [allowed, issuer.get(path, headers=origin), issuer.post(path, {}, headers=origin)]
    for answer in answers:  # errors too, or a script could not read them
        assert answer.headers.get("Access-Control-Allow-Origin") == "*"
        assert answer.headers.get("Access-Control-Expose-Headers") == "DPoP-Nonce, WWW-Authenticate"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("path", OTHER_PATHS)
def test_other_endpoints_have_no_cors_headers(issuer: LiveIssuer, path: str) -> None:
    for method in ("OPTIONS", "GET", "POST"):
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        assert "Access-Control-Allow-Origin" not in issuer.request(method, path, headers=headers).headers


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
ACCOUNT = ["/account", *(f"/account/{page}" for page in ("devices", "login", "logout", "unlink", "nothing"))]
HTML = ["/", "/logs", "/playground"]
OTHERS = ["/userinfo", "/.well-known/jwks.json", "/.well-known/openid-configuration", "/playground/qr.svg", "/nothing"]
OPERATIONS = ["token", "rotate_keys", "withdraw_key", "jwks_fault", "approve", "deny", "expire", "script", "reset"]
OPERATIONS += ["users/remove"]
CONTROLS = [f"/_mock/{name}" for name in (*OPERATIONS, "advance_clock", "events", "hostile", "openapi.yaml", "nothing")]
ACCEPTED = st.sampled_from(["*/*", "application/json", "text/html", "", "garbage;;q=x"])
REQUESTS = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
        "path": st.sampled_from([*POST_ROUTES, *OTHERS, *PAGES, *ACCOUNT, *HTML, *CONTROLS]),
        "params": FIELDS,
        "data": FIELDS,
        "headers": st.builds(
            lambda credentials, accept: (
                {"Accept": accept} | ({"Authorization": credentials.encode("latin-1")} if credentials else {})
            ),
            CREDENTIALS,
            ACCEPTED,
        ),
    }
)


@given(request=REQUESTS)
@settings(max_examples=300, deadline=None)
def test_nothing_answers_500(shared_issuer: LiveIssuer, request: dict[str, Any]) -> None:
    # Clears the count of wrong codes, and keeps the log short.
    shared_issuer.reset()
    response = shared_issuer.request(**request)
    assert response.status_code < 500
    wrong_path_in_a_browser = response.status_code == 404 and request["headers"]["Accept"] == "text/html"
    if request["path"] in {*PAGES, *ACCOUNT} or (wrong_path_in_a_browser and request["path"] not in CONTROLS):
        assert "text/html" in header_of(response, "Content-Type")
    elif response.status_code >= 400 and request["path"] in CONTROLS:
        # Their descriptions quote unknown names, so they are not limited to ASCII (RFC 6749 §5.2).
        assert set(response.json()) == {"error", "error_description"}
    elif response.status_code >= 400:
        shared_issuer.refused(response)


# Requests to the controls: known names with any value.
NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([10**400, -1, 0, 200, 3601]))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, VALUES, st.sampled_from(["\ud800", "approve", "alice", "BCDF-GHJK"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = st.sampled_from(
    [
        "scope",
        "sub",
        "audience",
        "client_id",
        "expires_in",
        "claims",
        "header",
        "kid",
        "status",
        "body",
        "redirect",
        "user_code",
        "user",
        "after_polls",
        "outcome",
        "seconds",
        "self",
    ]
)


@given(path=st.sampled_from(CONTROLS), body=st.dictionaries(MEMBERS, JSON, max_size=2) | JSON)
@settings(max_examples=300, deadline=None)
def test_no_control_answers_500(shared_issuer: LiveIssuer, path: str, body: Any) -> None:
    # Without "delay", which can be an hour.
    headers = {"Content-Type": "application/json"}
    response = shared_issuer.request("POST", path, data=json.dumps(body).encode(), headers=headers)
    assert response.headers.get("Content-Type") == "application/json"
    assert response.status_code in {200, 400, 404, 405}
    if response.status_code >= 400:
        body = response.json()
        assert set(body) == {"error", "error_description"}
        assert body["error_description"]
    # No other endpoint is broken. Called in process, which takes a sixth of the time.
    client = shared_issuer.server._server.app.test_client()  # type: ignore[attr-defined]
    base_url = shared_issuer.url
    for after in ("/.well-known/openid-configuration", "/logs", "/_mock/events"):
        assert client.get(after, base_url=base_url).status_code == 200
    assert client.get("/.well-known/jwks.json", base_url=base_url).status_code >= 200
    shared_issuer.server.reset()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS"])
def test_every_response_has_security_headers(issuer: LiveIssuer, method: str) -> None:
    for path in (*PAGES, *ACCOUNT, *HTML, *OTHERS, *POST_ROUTES, *CONTROLS, "/activate?user_code=x"):
        response = issuer.request(method, path, allow_redirects=False)
        policy, headers = header_of(response, "Content-Security-Policy"), response.headers
        assert policy.startswith("default-src 'none';"), path
        assert "frame-ancestors 'none'" in policy, path
        assert headers.get("X-Frame-Options") == "DENY", path
        assert headers.get("Referrer-Policy") == "no-referrer", path
        assert headers.get("X-Content-Type-Options") == "nosniff", path
        # RFC 6749 §5.1. Only public documents may be cached.
        if not path.startswith(("/.well-known/", "/_mock/openapi")):
            assert headers.get("Cache-Control") == "no-store", path


@given(accepted=ACCEPTED)
@settings(max_examples=10, deadline=None)
def test_every_page_exists(shared_issuer: LiveIssuer, accepted: str) -> None:
    for path in (*HTML, "/account", "/account/devices", "/activate"):
        assert shared_issuer.get(path, headers={"Accept": accepted}).status_code == 200
