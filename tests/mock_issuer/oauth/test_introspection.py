from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from mock_issuer import Api, Client, Config

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mock_issuer.conftest import LiveIssuer

    Make = Callable[[Config], LiveIssuer]

AUDIENCE = "https://device-api.example"
GATEWAY = ("device-gateway", "public-test-secret")
INACTIVE = {"active": False}


def introspect(issuer: LiveIssuer, token: str, auth: tuple[str, str] = GATEWAY, **form: str) -> dict[str, Any]:
    response = issuer.post("/oauth/introspect", {"token": token, **form}, auth=auth)
    assert response.status_code == 200, response.text
    assert response.headers["Cache-Control"] == "no-store"
    body: dict[str, Any] = response.json()
    return body


def test_an_active_access_token_is_described(issuer: LiveIssuer) -> None:
    tokens = issuer.linked(scope="openid read:devices")
    found = introspect(issuer, tokens["access_token"])
    now = issuer.clock.now
    assert found.pop("jti")
    assert found == {
        "active": True,
        "token_type": "Bearer",
        "iss": issuer.url,
        "sub": "mock|alice",
        "username": "alice",
        "aud": [AUDIENCE, issuer.url + "userinfo"],
        "client_id": "device-app",
        "scope": "openid read:devices",
        "iat": now,
        "exp": now + 86400,
        "auth_time": now,
    }
    assert introspect(issuer, issuer.machine_token().json()["access_token"])["sub"] == "device-gateway@clients"


def test_an_access_token_in_auth0s_dialect_has_its_client(make_issuer: Make) -> None:
    issuer = make_issuer(Config(dialect="auth0"))
    tokens = issuer.linked(scope="openid read:devices")
    assert introspect(issuer, tokens["access_token"])["client_id"] == "device-app"
    assert introspect(issuer, tokens["id_token"]) == INACTIVE


def test_a_refresh_token_is_active_until_it_is_replaced(issuer: LiveIssuer) -> None:
    first = issuer.linked()["refresh_token"]
    linked_at = issuer.clock.now
    issuer.clock.advance(100)
    found = introspect(issuer, first, token_type_hint="refresh_token")
    assert found == {
        "active": True,
        "iss": issuer.url,
        "sub": "mock|alice",
        "username": "alice",
        "aud": AUDIENCE,
        "client_id": "device-app",
        "scope": "read:devices offline_access",
        "iat": linked_at,
        "exp": linked_at + 2_592_000,
    }
    second = issuer.refresh(first).json()["refresh_token"]
    assert introspect(issuer, first) == INACTIVE
    assert introspect(issuer, second)["exp"] == linked_at + 2_592_000
    # Asking about a replaced token is no reuse: the family goes on.
    assert issuer.refresh(second).status_code == 200


def test_members_that_only_some_tokens_have(issuer: LiveIssuer) -> None:
    now = issuer.clock.now
    found = introspect(issuer, issuer.server.token(sub="nobody", claims={"nbf": now, "jti": None, "acr": "x"}))
    assert (found["nbf"], found["acr"]) == (now, "x")
    assert not found.keys() & {"jti", "username", "auth_time"}
    posing = issuer.server.token(claims={"active": False, "token_type": "N_A", "username": "bob"})
    assert introspect(issuer, posing) | {"active": True, "token_type": "Bearer", "username": "alice"} == introspect(
        issuer, posing
    )
    without = introspect(issuer, issuer.server.token(claims={"sub": None, "client_id": None}))
    assert not without.keys() & {"sub", "username", "client_id"}


def test_other_tokens_are_inactive(issuer: LiveIssuer) -> None:
    tokens = issuer.linked(scope="openid read:devices offline_access")
    access_token, refresh_token = tokens["access_token"], tokens["refresh_token"]
    header, payload, signature = access_token.split(".")
    sign = issuer.server.token
    for token in (
        "unknown",
        f"{header}.{payload}.{signature[:-4]}AAAA",
        f"{header}.{payload}.",
        "a.b.c",
        "é\x00",
        tokens["id_token"],
        sign(expires_in=-1),
        sign(claims={"exp": None}),
        sign(claims={"exp": "9999999999"}),
        sign(claims={"exp": math.inf}),
        sign(claims={"nbf": math.nan}),
        sign(claims={"nbf": -math.inf}),
        sign(claims={"nbf": "0"}),
        sign(claims={"nbf": issuer.clock.now + 0.5}),
        sign(claims={"iss": "https://other.example/"}),
        sign(claims={"scope": None}),
        sign(header={"typ": "JWT"}),
    ):
        assert introspect(issuer, token) == INACTIVE, token
    issuer.post("/oauth/revoke", {"client_id": "device-app", "token": refresh_token})
    assert introspect(issuer, refresh_token) == INACTIVE
    issuer.clock.advance(86_400)
    assert introspect(issuer, access_token) == INACTIVE


def test_an_expired_refresh_token_is_inactive(issuer: LiveIssuer) -> None:
    refresh_token = issuer.linked()["refresh_token"]
    issuer.clock.advance(2_592_000)
    assert introspect(issuer, refresh_token) == INACTIVE


def test_tokens_of_a_withdrawn_key_are_inactive(issuer: LiveIssuer) -> None:
    token = issuer.server.token()
    issuer.server.rotate_keys()
    issuer.server.withdraw_key()
    assert introspect(issuer, token) == INACTIVE


def test_a_client_learns_nothing_about_tokens_for_others(make_issuer: Make) -> None:
    machine: dict[str, Any] = {"secret": "s", "grant_types": frozenset({"client_credentials"})}
    clients = (
        Client(client_id="device-app"),
        Client(client_id="one", introspects=frozenset({"urn:one"}), **machine),
        Client(client_id="two", introspects=frozenset({"urn:two"}), **machine),
        Client(client_id="none", **machine),
    )
    issuer = make_issuer(Config(apis=(Api(audience="urn:one"), Api(audience="urn:two")), clients=clients))
    device = issuer.device(audience="urn:one", scope="offline_access openid")
    issuer.server.approve(device["user_code"])
    tokens = issuer.poll(device).json()
    for token in (tokens["access_token"], tokens["refresh_token"]):
        assert introspect(issuer, token, ("one", "s"))["active"] is True
        assert introspect(issuer, token, ("two", "s")) == INACTIVE
        assert introspect(issuer, token, ("none", "s")) == INACTIVE
    own = issuer.machine_token(client_id="none", client_secret="s", audience="urn:two").json()["access_token"]
    assert introspect(issuer, own, ("none", "s"))["client_id"] == "none"
    assert introspect(issuer, own, ("two", "s"))["client_id"] == "none"
    assert introspect(issuer, own, ("one", "s")) == INACTIVE


def test_a_token_that_names_no_api_is_for_each_where_the_dialect_has_such_tokens(make_issuer: Make) -> None:
    def is_active(issuer: LiveIssuer, audience: str | None) -> Any:
        return introspect(issuer, issuer.server.token(claims={"aud": audience}))["active"]

    audiences = (AUDIENCE, None, "https://other.example")
    usual, cognito = make_issuer(Config()), make_issuer(Config(dialect="cognito"))
    assert [is_active(usual, audience) for audience in audiences] == [True, False, False]
    assert [is_active(cognito, audience) for audience in audiences] == [True, True, False]


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"token": "x"}, 400, "invalid_request"),
        ({"token": "x", "client_id": "nobody", "client_secret": "s"}, 401, "invalid_client"),
        ({"token": "x", "client_id": "device-gateway"}, 401, "invalid_client"),
        ({"token": "x", "client_id": "device-gateway", "client_secret": "wrong"}, 401, "invalid_client"),
        ({"token": "x", "client_id": "device-app"}, 401, "invalid_client"),
        ({"token": "x", "client_id": "device-app", "client_secret": "s"}, 401, "invalid_client"),
        ({"client_id": "device-gateway", "client_secret": "public-test-secret"}, 400, "invalid_request"),
    ],
)
def test_refused_requests(issuer: LiveIssuer, form: dict[str, str], status: int, error: str) -> None:
    response = issuer.post("/oauth/introspect", form)
    assert issuer.refused(response) == (status, error)
    assert ("WWW-Authenticate" in response.headers) is (status == 401)


def test_a_bearer_token_is_no_client_authentication(issuer: LiveIssuer) -> None:
    headers = {"Authorization": f"Bearer {issuer.server.token()}"}
    response = issuer.post("/oauth/introspect", {"token": "x"}, headers=headers)
    assert issuer.refused(response) == (401, "invalid_client")


def test_a_public_client_cannot_be_configured_to_introspect() -> None:
    with pytest.raises(ValueError, match="introspection needs a secret"):
        Config(clients=(Client(client_id="tv", introspects=frozenset({AUDIENCE})),))
