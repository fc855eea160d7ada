from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from mock_issuer import Client, Config

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tests.mock_issuer.conftest import LiveIssuer

    Make = Callable[[Config], LiveIssuer]

AUDIENCE = "https://device-api.example"
DEVICE_CODE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def test_an_access_token_follows_rfc_9068(issuer: LiveIssuer) -> None:
    tokens = issuer.linked(scope="read:devices read:readings")
    assert {name: tokens[name] for name in ("token_type", "expires_in", "scope")} == {
        "token_type": "Bearer",
        "expires_in": 86400,
        "scope": "read:devices read:readings",
    }
    assert not tokens.keys() & {"id_token", "refresh_token"}
    header, claims = issuer.verify(tokens["access_token"])
    assert (header["alg"], header["typ"]) == ("RS256", "at+jwt")
    assert claims.pop("jti")
    now = issuer.clock.now
    assert claims == {
        "iss": issuer.url,
        "sub": "mock|alice",
        "aud": AUDIENCE,
        "client_id": "device-app",
        "scope": "read:devices read:readings",
        "iat": now,
        "exp": now + 86400,
        "auth_time": now,
    }


def test_an_access_token_in_auth0s_dialect(make_issuer: Callable[[Config], LiveIssuer]) -> None:
    issuer = make_issuer(Config(dialect="auth0"))
    header, claims = issuer.verify(issuer.linked(scope="openid read:devices")["access_token"])
    assert header["typ"] == "JWT"
    assert claims["azp"] == "device-app"
    assert not claims.keys() & {"client_id", "jti", "gty"}
    _, claims = issuer.verify(issuer.machine_token().json()["access_token"])
    assert (claims["azp"], claims["gty"]) == ("device-gateway", "client-credentials")


def test_openid_adds_an_id_token_and_userinfo(issuer: LiveIssuer) -> None:
    tokens = issuer.linked(scope="openid profile email read:devices", name="bob")
    _, access = issuer.verify(tokens["access_token"])
    assert access["aud"] == [AUDIENCE, issuer.url + "userinfo"]
    header, claims = issuer.verify(tokens["id_token"], audience="device-app")
    assert header["typ"] == "JWT"
    person = {
        "sub": "mock|bob",
        "name": "Bob Example",
        "preferred_username": "bob",
        "email": "bob@example.com",
        "email_verified": True,
    }
    now = issuer.clock.now
    times = {"iat": now, "exp": now + 36000, "auth_time": now}
    assert claims == person | times | {"iss": issuer.url, "aud": "device-app"}
    response = issuer.get("/userinfo", headers={"Authorization": f"bearer {tokens['access_token']}"})
    assert response.json() == person


def test_every_scope_of_openid_connect_is_known(issuer: LiveIssuer) -> None:
    # OpenID Connect Core §5.4. No user has an address or a telephone number, so those claims are left out (§5.3.2).
    tokens = issuer.linked(scope="openid profile email address phone")
    assert tokens["scope"] == "openid profile email address phone"
    response = issuer.get("/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    assert set(response.json()) == {"sub", "name", "preferred_username", "email", "email_verified"}


def test_userinfo_refuses_invalid_tokens(issuer: LiveIssuer) -> None:
    tokens = issuer.linked(scope="openid read:devices")
    without_openid = issuer.machine_token().json()["access_token"]
    header, payload, signature = tokens["access_token"].split(".")
    altered = f"{header}.{payload}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    for token in (without_openid, altered, tokens["id_token"], f"{header}.{payload}", f"{header}.A.A", "", "ä"):
        response = issuer.get("/userinfo", headers={"Authorization": f"Bearer {token}".strip().encode("latin-1")})
        assert issuer.refused(response) == (401, "invalid_token")
        assert response.headers.get("WWW-Authenticate") == 'Bearer error="invalid_token"'
    assert issuer.get("/userinfo").headers.get("WWW-Authenticate") == "Bearer"
    issuer.clock.advance(86400)
    response = issuer.get("/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    assert issuer.refused(response) == (401, "invalid_token")


@pytest.mark.parametrize("authorization", [None, "", "Basic eA==", "Token x"])
def test_userinfo_names_no_reason_in_the_challenge_without_a_token(
    issuer: LiveIssuer, authorization: str | None
) -> None:
    response = issuer.get("/userinfo", headers={"Authorization": authorization})
    assert issuer.refused(response) == (401, "invalid_token")
    assert response.headers.get("WWW-Authenticate") == "Bearer"


def test_userinfo_takes_a_post_and_more_than_one_space(issuer: LiveIssuer) -> None:
    headers = {"Authorization": f"Bearer   {issuer.server.token(scope='openid')}"}
    assert issuer.post("/userinfo", {}, headers=headers).json() == {"sub": "mock|alice"}


def test_userinfo_refuses_tokens_of_another_type(issuer: LiveIssuer) -> None:
    for header, status in (({}, 200), ({"typ": "JWT"}, 401), ({"typ": None}, 401), ({"crit": [5]}, 401)):
        token = issuer.server.token(scope="openid", header=header)
        response = issuer.get("/userinfo", headers={"Authorization": f"Bearer {token}"})
        assert response.status_code == status, header


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 200),
        ({"expires_in": 1}, 200),
        ({"expires_in": 0}, 401),
        ({"claims": {"exp": None}}, 401),
        ({"claims": {"exp": "4102444800"}}, 401),
        ({"claims": {"aud": "USERINFO"}}, 200),
        ({"claims": {"aud": ["https://a.example", "USERINFO"]}}, 200),
        ({"claims": {"aud": "https://a.example"}}, 401),
        ({"claims": {"aud": ["https://a.example"]}}, 401),
        ({"claims": {"aud": {"USERINFO": 1}}}, 401),
        ({"claims": {"aud": "USERINFO/x"}}, 401),
        ({"claims": {"aud": None}}, 401),
        ({"claims": {"scope": None}}, 401),
        ({"claims": {"scope": ["openid"]}}, 401),
        ({"claims": {"sub": "mock|nobody"}}, 401),
        ({"claims": {"sub": None}}, 401),
        ({"claims": {"sub": ["mock|alice"]}}, 401),
        ({"scope": "read:devices"}, 401),
    ],
)
def test_which_tokens_userinfo_takes(issuer: LiveIssuer, changes: dict[str, Any], status: int) -> None:
    text = json.dumps({"scope": "openid"} | changes).replace("USERINFO", f"{issuer.url}userinfo")
    token = issuer.server.token(**json.loads(text))
    response = issuer.get("/userinfo", headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == status
    if status == 200:
        assert response.json() == {"sub": "mock|alice"}


def test_userinfo_refuses_a_payload_that_is_nested_too_deep(issuer: LiveIssuer) -> None:
    header = issuer.server.token(scope="openid").split(".")[0]
    payload = base64.urlsafe_b64encode(b"[" * 2_500).rstrip(b"=")
    signing_input = header.encode() + b"." + payload
    signature = base64.urlsafe_b64encode(issuer.server._issuer.keys.sign_raw(signing_input)).rstrip(b"=")
    token = (signing_input + b"." + signature).decode()
    response = issuer.get("/userinfo", headers={"Authorization": f"Bearer {token}"})
    assert issuer.refused(response) == (401, "invalid_token")


def test_a_refresh_rotates_and_keeps_auth_time(issuer: LiveIssuer) -> None:
    first = issuer.linked(scope="openid read:devices offline_access")
    linked_at = issuer.clock.now
    issuer.clock.advance(1000)
    second = issuer.refresh(first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert second["scope"] == first["scope"]
    _, claims = issuer.verify(second["access_token"])
    assert (claims["auth_time"], claims["sub"]) == (linked_at, "mock|alice")
    _, claims = issuer.verify(second["id_token"], audience="device-app")
    assert claims["auth_time"] == linked_at
    assert issuer.refresh(second["refresh_token"]).status_code == 200


def test_reuse_of_a_refresh_token_revokes_the_family(issuer: LiveIssuer) -> None:
    first = issuer.linked()["refresh_token"]
    second = issuer.refresh(first).json()["refresh_token"]
    assert issuer.refused(issuer.refresh(first)) == (403, "invalid_grant")
    assert issuer.refused(issuer.refresh(second)) == (403, "invalid_grant")


def test_eight_concurrent_refreshes_give_one_token(issuer: LiveIssuer) -> None:
    refresh_token = issuer.linked()["refresh_token"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: issuer.refresh(refresh_token), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [403] * 7
    # Each of the others was a reuse, which revokes the family and its one valid token.
    (successor,) = [answer.json()["refresh_token"] for answer in answers if answer.status_code == 200]
    assert issuer.refused(issuer.refresh(successor)) == (403, "invalid_grant")
    assert [event.type for event in issuer.server.events].count("sertft") == 1


def test_eight_concurrent_refreshes_without_rotation_all_succeed(make_issuer: Callable[[Config], LiveIssuer]) -> None:
    issuer = make_issuer(Config(clients=(Client(client_id="device-app", rotate_refresh_tokens=False),)))
    refresh_token = issuer.linked()["refresh_token"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: issuer.refresh(refresh_token), range(8)))
    assert {answer.status_code for answer in answers} == {200}


def test_a_refresh_can_request_fewer_scopes_and_later_all_again(issuer: LiveIssuer) -> None:
    first = issuer.linked(scope="read:devices read:readings offline_access")
    fewer = issuer.refresh(first["refresh_token"], scope="read:readings").json()
    assert fewer["scope"] == "read:readings"
    _, claims = issuer.verify(fewer["access_token"])
    assert claims["scope"] == "read:readings"
    for more in ("read:readings write:readings", "read:devices\u00a0read:readings", 'a"b\\é'):
        assert issuer.refused(issuer.refresh(fewer["refresh_token"], scope=more)) == (400, "invalid_scope")
    assert issuer.refresh(fewer["refresh_token"]).json()["scope"] == first["scope"]


def test_a_public_clients_secret_is_ignored(issuer: LiveIssuer) -> None:
    assert issuer.refresh(issuer.linked()["refresh_token"], client_secret="anything").status_code == 200


def test_rotation_can_be_turned_off(make_issuer: Callable[[Config], LiveIssuer]) -> None:
    grants = frozenset({DEVICE_CODE_GRANT, "refresh_token"})
    client = Client(client_id="device-app", name="App", grant_types=grants, rotate_refresh_tokens=False)
    issuer = make_issuer(Config(clients=(client,)))
    refresh_token = issuer.linked()["refresh_token"]
    for _ in range(2):
        response = issuer.refresh(refresh_token)
        assert response.status_code == 200
        assert "refresh_token" not in response.json()


def test_refresh_tokens_expire(make_issuer: Callable[[Config], LiveIssuer]) -> None:
    issuer = make_issuer(Config(refresh_token_seconds=1000))
    first = issuer.linked()["refresh_token"]
    issuer.clock.advance(999)
    second = issuer.refresh(first).json()["refresh_token"]
    issuer.clock.advance(1)  # a refresh does not extend the lifetime
    assert issuer.refused(issuer.refresh(second)) == (403, "invalid_grant")
    response = issuer.post("/oauth/revoke", {"client_id": "device-app", "token": second})
    assert (response.status_code, response.json()) == (200, {})


def test_an_expired_device_is_no_longer_listed(make_issuer: Callable[[Config], LiveIssuer]) -> None:
    issuer = make_issuer(Config(refresh_token_seconds=1000))
    issuer.linked()
    person = issuer.person()
    person.open("/account/devices")
    assert "Device App" in person.log_in().text
    issuer.clock.advance(1000)
    assert "Device App" not in person.open("/account/devices").text


@pytest.mark.parametrize("end", ["expired", "revoked", "reused", "unlinked"])
def test_refresh_tokens_are_forgotten_once_their_family_has_ended(issuer: LiveIssuer, end: str) -> None:
    state = issuer.server._issuer.state

    def kept() -> int:
        families = state._families
        return len(families._family_ids) + len(families._tokens) + len(families._families)

    used = first = issuer.linked()["refresh_token"]
    for _ in range(10):
        used = issuer.refresh(used).json()["refresh_token"]
    assert kept() == 13  # the old ones too, to detect their reuse
    match end:
        case "expired":
            issuer.clock.advance(2_592_000)
            issuer.refresh(used)
        case "revoked":
            issuer.post("/oauth/revoke", {"client_id": "device-app", "token": used})
        case "reused":
            issuer.refresh(first)
        case "unlinked":
            (user, *_) = issuer.server.config.users
            (family,) = state.find_families(user, now=issuer.clock.now)
            state.unlink(family.family_id, user)
    assert kept() == 0
    for token in (first, used):
        assert issuer.refused(issuer.refresh(token)) == (403, "invalid_grant")


def test_another_client_can_neither_refresh_nor_revoke(make_issuer: Callable[[Config], LiveIssuer]) -> None:
    other = Client(client_id="other", name="Other", grant_types=frozenset({"refresh_token"}))
    issuer = make_issuer(Config(clients=(*Config().clients, other)))
    refresh_token = issuer.linked()["refresh_token"]
    assert issuer.refused(issuer.refresh(refresh_token, client_id="other")) == (403, "invalid_grant")
    response = issuer.post("/oauth/revoke", {"client_id": "other", "token": refresh_token})
    assert issuer.refused(response) == (403, "invalid_grant")
    assert issuer.refresh(refresh_token).status_code == 200


def test_revocation_revokes_the_family_but_no_access_token(issuer: LiveIssuer) -> None:
    first = issuer.linked(scope="openid read:devices offline_access")
    second = issuer.refresh(first["refresh_token"]).json()
    for _ in range(2):
        response = issuer.post("/oauth/revoke", {"client_id": "device-app", "token": first["refresh_token"]})
        assert (response.status_code, response.json()) == (200, {})
    assert issuer.refused(issuer.refresh(second["refresh_token"])) == (403, "invalid_grant")
    headers = {"Authorization": f"Bearer {second['access_token']}"}
    assert issuer.get("/userinfo", headers=headers).status_code == 200


def test_revocation_of_other_values_than_a_refresh_token(issuer: LiveIssuer) -> None:
    response = issuer.post("/oauth/revoke", {"client_id": "device-app", "token": "unknown", "token_type_hint": "x"})
    assert response.status_code == 200
    response = issuer.post("/oauth/revoke", {"client_id": "device-app"})
    assert issuer.refused(response) == (400, "invalid_request")
    access_token = issuer.linked()["access_token"]
    response = issuer.post("/oauth/revoke", {"client_id": "device-app", "token": access_token})
    assert issuer.refused(response) == (400, "unsupported_token_type")


def test_client_credentials_grant_the_requested_scopes(issuer: LiveIssuer) -> None:
    body = issuer.machine_token(scope="read:devices").json()
    assert set(body) == {"access_token", "token_type", "expires_in", "scope"}
    header, claims = issuer.verify(body["access_token"])
    assert header["typ"] == "at+jwt"
    assert (claims["sub"], claims["client_id"]) == ("device-gateway@clients", "device-gateway")
    assert (claims["scope"], claims["aud"]) == ("read:devices", AUDIENCE)
    assert "auth_time" not in claims
    everything = issuer.machine_token().json()
    assert everything["scope"] == "read:devices write:devices read:readings write:readings"


def test_client_credentials_in_http_basic(issuer: LiveIssuer) -> None:
    response = issuer.post(
        "/oauth/token",
        {"grant_type": "client_credentials", "audience": AUDIENCE},
        auth=("device-gateway", "public-test-secret"),
    )
    assert response.status_code == 200


SECRET = "public-test-secret"


@pytest.mark.parametrize(
    ("basic_id", "basic_secret", "form", "status"),
    [
        ("device-gateway", SECRET, {"client_id": "device-gateway"}, 200),
        ("device-gateway", SECRET, {"client_id": "device-app"}, 400),
        ("device-gateway", SECRET, {"client_secret": SECRET}, 400),
        ("device-gateway", "", {"client_secret": SECRET}, 200),
        ("device-gateway", "", {"client_secret": "wrong"}, 401),
        ("device-gateway", "", {}, 401),
        ("device-gateway", "wrong", {}, 401),
        ("device-gateway", SECRET + "x", {}, 401),
        ("nobody", SECRET, {}, 401),
        ("", SECRET, {}, 400),
    ],
)
def test_http_basic_and_the_form_together(
    issuer: LiveIssuer, basic_id: str, basic_secret: str, form: dict[str, str], status: int
) -> None:
    request = {"grant_type": "client_credentials", "audience": AUDIENCE} | form
    response = issuer.post("/oauth/token", request, auth=(basic_id, basic_secret))
    assert response.status_code == status, response.text
    if status != 200:
        assert response.json()["error"] == {400: "invalid_request", 401: "invalid_client"}[status]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Basic {}", 200),
        ("basic {}", 200),
        ("Basic  {} ", 200),
        ("Bearer {}", 401),
        ("{}", 401),
        ("Basic {}!", 401),
        ("Basic !{}", 401),
        ("Basic {} {}", 401),
    ],
)
def test_only_http_basic_names_a_client(issuer: LiveIssuer, header: str, status: int) -> None:
    credentials = base64.b64encode(f"device-gateway:{SECRET}".encode()).decode()
    request = {"grant_type": "client_credentials", "audience": AUDIENCE}
    headers = {"Authorization": header.format(credentials, credentials).strip()}
    response = issuer.post("/oauth/token", request, headers=headers)
    assert response.status_code == status, response.text
    if status == 401:
        assert issuer.refused(response) == (401, "invalid_client")
        assert issuer.server.events[-1].client_id == ""


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"client_secret": ""}, 401, "invalid_client"),
        ({"client_secret": 'a"b\\é'}, 401, "invalid_client"),
        ({"audience": ""}, 400, "invalid_request"),
        ({"audience": "https://other.example"}, 400, "invalid_target"),
        ({"scope": "read:everything"}, 400, "invalid_scope"),
        ({"scope": "openid"}, 400, "invalid_scope"),
        ({"scope": "read:devices offline_access"}, 400, "invalid_scope"),
        ({"client_id": "device-app"}, 400, "unauthorized_client"),
    ],
)
def test_refused_client_credentials(issuer: LiveIssuer, form: dict[str, str], status: int, error: str) -> None:
    response = issuer.machine_token(**form)
    assert issuer.refused(response) == (status, error)
    if status == 401:
        assert response.headers.get("WWW-Authenticate") == 'Basic realm="mock-issuer"'


# Opaque access tokens


def opaque_issuer(make_issuer: Make) -> LiveIssuer:
    return make_issuer(Config(access_token_format="opaque"))


def introspected(issuer: LiveIssuer, token: str) -> dict[str, Any]:
    response = issuer.post("/oauth/introspect", {"token": token}, auth=("device-gateway", "public-test-secret"))
    body: dict[str, Any] = response.json()
    return body


def test_an_opaque_token_says_nothing_and_introspection_everything(make_issuer: Make) -> None:
    issuer = opaque_issuer(make_issuer)
    tokens = issuer.linked(scope="openid read:devices offline_access")
    assert "." not in tokens["access_token"]
    assert tokens["token_type"] == "Bearer"
    found = introspected(issuer, tokens["access_token"])
    now = issuer.clock.now
    token_id = found.pop("jti")
    assert found == {
        "active": True,
        "token_type": "Bearer",
        "iss": issuer.url,
        "sub": "mock|alice",
        "username": "alice",
        "aud": [AUDIENCE, issuer.url + "userinfo"],
        "client_id": "device-app",
        "scope": "openid read:devices offline_access",
        "iat": now,
        "exp": now + 86400,
        "auth_time": now,
    }
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert issuer.get("/userinfo", headers=headers).json() == {"sub": "mock|alice"}
    renewed = issuer.refresh(tokens["refresh_token"]).json()["access_token"]
    assert introspected(issuer, renewed)["jti"] != token_id
    assert introspected(issuer, tokens["access_token"])["active"] is True
    issuer.clock.advance(86400)
    assert introspected(issuer, tokens["access_token"]) == {"active": False}
    assert issuer.get("/userinfo", headers=headers).status_code == 401
    machine = introspected(issuer, issuer.machine_token().json()["access_token"])
    assert machine["sub"] == "device-gateway@clients"


def test_an_opaque_token_is_revoked_by_its_client_alone(make_issuer: Make) -> None:
    issuer = opaque_issuer(make_issuer)
    token = issuer.linked(scope="openid read:devices")["access_token"]
    gateway = ("device-gateway", "public-test-secret")
    assert issuer.refused(issuer.post("/oauth/revoke", {"token": token}, auth=gateway)) == (403, "invalid_grant")
    assert introspected(issuer, token)["active"] is True
    for _ in range(2):  # an unknown token is answered like a revoked one
        assert issuer.post("/oauth/revoke", {"token": token, "client_id": "device-app"}).status_code == 200
        assert introspected(issuer, token) == {"active": False}
        headers = {"Authorization": f"Bearer {token}"}
        assert issuer.get("/userinfo", headers=headers).status_code == 401


def test_the_format_of_a_client_precedes(make_issuer: Make) -> None:
    clients = (Client(client_id="tv", access_token_format="opaque"), Client(client_id="hub"))
    issuer = make_issuer(Config(clients=clients))
    opaque, signed = (issuer.server.token(client_id=name) for name in ("tv", "hub"))
    assert (opaque.count("."), signed.count(".")) == (0, 2)


@pytest.mark.parametrize("dialect", ["rfc9068", "auth0", "entra", "keycloak", "okta", "cognito", "duende"])
def test_an_opaque_token_of_each_dialect(make_issuer: Make, dialect: Any) -> None:
    issuer = make_issuer(Config(dialect=dialect, access_token_format="opaque"))
    found = introspected(issuer, issuer.server.token(scope="read:devices", client_id="device-app"))
    assert found["active"] is True
    assert (found["client_id"], found["scope"]) == ("device-app", "read:devices")


def test_a_reset_forgets_opaque_tokens(make_issuer: Make) -> None:
    issuer = opaque_issuer(make_issuer)
    token, late = issuer.server.token(), issuer.server.token(expires_in=-1)
    assert (introspected(issuer, token)["active"], introspected(issuer, late)["active"]) == (True, False)
    issuer.reset()
    assert introspected(issuer, token) == {"active": False}
