"""The audience (default, `audience`, `resource`) and the scopes of a request, custom claims among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from mock_issuer import Api, Client, Config, User

if TYPE_CHECKING:
    from collections.abc import Callable

    from mock_issuer import RuleContext
    from tests.mock_issuer.conftest import LiveIssuer

    Make = Callable[[Config], LiveIssuer]

AUDIENCE = "https://device-api.example"
APIS = (
    Api(audience="https://one.example/api", scopes={"read:one": "Read one"}),
    Api(audience="urn:two", scopes={"read:two": "Read two"}),
)
MACHINE = Client(client_id="machine", secret="s", grant_types=frozenset({"client_credentials"}))


def approved(issuer: LiveIssuer, name: str | None = None, **form: str) -> dict[str, Any]:
    """Send a device request with exactly this form, approve it, and return the tokens."""
    response = issuer.post("/oauth/device/code", {"client_id": "device-app", **form})
    assert response.status_code == 200, response.text
    issuer.server.approve(response.json()["user_code"], user=name)
    body: dict[str, Any] = issuer.poll(response.json()).json()
    return body


def userinfo(issuer: LiveIssuer, tokens: dict[str, Any]) -> requests.Response:
    return issuer.get("/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"})


# Without an audience


def test_a_request_with_the_client_id_alone_is_for_userinfo(issuer: LiveIssuer) -> None:
    tokens = approved(issuer)
    assert tokens["scope"] == "openid"
    issuer.verify(tokens["access_token"], audience=issuer.url + "userinfo")
    issuer.verify(tokens["id_token"], audience="device-app")
    assert userinfo(issuer, tokens).json() == {"sub": "mock|alice"}


def test_userinfo_can_be_named_as_the_audience(issuer: LiveIssuer) -> None:
    tokens = approved(issuer, audience=issuer.url + "userinfo", scope="openid email")
    assert userinfo(issuer, tokens).json()["email"] == "alice@example.com"


def test_userinfo_refuses_a_token_without_openid(issuer: LiveIssuer) -> None:
    response = userinfo(issuer, approved(issuer, scope="profile"))
    assert issuer.refused(response) == (403, "insufficient_scope")
    assert response.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="openid"'


def test_the_refusal_of_an_apis_scope_says_that_no_api_was_named(issuer: LiveIssuer) -> None:
    response = issuer.post("/oauth/device/code", {"client_id": "device-app", "scope": "read:devices"})
    assert issuer.refused(response) == (400, "invalid_scope")
    assert "audience or resource" in response.json()["error_description"]


def test_a_machine_needs_an_audience_other_than_userinfo(issuer: LiveIssuer) -> None:
    assert issuer.refused(issuer.machine_token(audience="")) == (400, "invalid_request")
    response = issuer.machine_token(audience=issuer.url + "userinfo")
    assert issuer.refused(response) == (400, "invalid_target")


# Defaults


def test_the_issuers_default_audience_is_used(make_issuer: Make) -> None:
    issuer = make_issuer(
        Config(apis=APIS, clients=(Client(client_id="device-app"), MACHINE), default_audience="urn:two")
    )
    tokens = approved(issuer, scope="openid read:two")
    _, claims = issuer.verify(tokens["access_token"], audience="urn:two")
    assert claims["aud"] == ["urn:two", issuer.url + "userinfo"]
    assert approved(issuer)["scope"] == "read:two"
    machine = issuer.machine_token(client_id="machine", client_secret="s", audience="").json()
    assert issuer.verify(machine["access_token"], audience="urn:two")[1]["scope"] == "read:two"


def test_a_clients_default_audience_precedes_the_issuers(make_issuer: Make) -> None:
    clients = (Client(client_id="device-app", default_audience="urn:two"), Client(client_id="other"))
    issuer = make_issuer(Config(apis=APIS, clients=clients, default_audience="https://one.example/api"))
    issuer.verify(approved(issuer)["access_token"], audience="urn:two")
    other = issuer.post("/oauth/device/code", {"client_id": "other", "scope": "read:two"})
    assert issuer.refused(other) == (400, "invalid_scope")


@pytest.mark.parametrize("named", [{"audience": "https://one.example/api"}, {"resource": "https://one.example/api"}])
def test_a_named_audience_precedes_the_default(make_issuer: Make, named: dict[str, str]) -> None:
    issuer = make_issuer(Config(apis=APIS, default_audience="urn:two"))
    issuer.verify(approved(issuer, **named)["access_token"], audience="https://one.example/api")


# RFC 8707


def test_resource_names_the_audience(make_issuer: Make) -> None:
    issuer = make_issuer(Config(apis=APIS, clients=(Client(client_id="device-app"), MACHINE)))
    for api in APIS:
        issuer.verify(approved(issuer, resource=api.audience)["access_token"], audience=api.audience)
    form = {"grant_type": "client_credentials", "resource": "urn:two"}
    token = issuer.post("/oauth/token", form, auth=("machine", "s")).json()["access_token"]
    issuer.verify(token, audience="urn:two")


@pytest.mark.parametrize(
    "resource",
    [
        "one.example",
        "/api",
        "https://one.example/api#x",
        "https://one.example/api#",
        "https:",
        "a b:c",
        "urn:é",
        "urn:un",
    ],
)
def test_a_resource_is_the_absolute_uri_of_an_api(make_issuer: Make, resource: str) -> None:
    issuer = make_issuer(Config(apis=APIS, clients=(Client(client_id="device-app"), MACHINE)))
    response = issuer.post("/oauth/device/code", {"client_id": "device-app", "resource": resource})
    assert issuer.refused(response) == (400, "invalid_target")
    form = {"grant_type": "client_credentials", "resource": resource}
    assert issuer.refused(issuer.post("/oauth/token", form, auth=("machine", "s"))) == (400, "invalid_target")


def test_resource_may_be_repeated_but_a_token_is_for_one(make_issuer: Make) -> None:
    issuer = make_issuer(Config(apis=APIS))

    def start(*resources: str) -> requests.Response:
        form = [("client_id", "device-app"), *(("resource", resource) for resource in resources)]
        return issuer.request("POST", "/oauth/device/code", data=form)

    assert start("urn:two", "urn:two").status_code == 200
    assert issuer.refused(start("urn:two", "https://one.example/api")) == (400, "invalid_target")


def test_with_both_the_audience_decides(make_issuer: Make) -> None:
    issuer = make_issuer(Config(apis=APIS))
    both = {"audience": "urn:two", "resource": "https://one.example/api"}
    issuer.verify(approved(issuer, **both)["access_token"], audience="urn:two")
    refused = issuer.post("/oauth/device/code", {"client_id": "device-app", "audience": "urn:two", "resource": "x"})
    assert issuer.refused(refused) == (400, "invalid_target")


def test_an_empty_audience_counts_as_omitted(make_issuer: Make) -> None:
    issuer = make_issuer(Config(apis=APIS))
    issuer.verify(approved(issuer, audience="", resource="urn:two")["access_token"], audience="urn:two")


def test_a_resource_of_a_token_request_is_an_absolute_uri_too(make_issuer: Make) -> None:
    issuer = make_issuer(Config(apis=(Api(audience="device-api"),)))
    device = issuer.device(audience="device-api", scope="openid")
    issuer.server.approve(device["user_code"])
    assert issuer.refused(issuer.poll(device, resource="device-api")) == (400, "invalid_target")
    assert issuer.poll(device).status_code == 200


def test_a_token_request_can_name_the_granted_resource_alone(issuer: LiveIssuer) -> None:
    device = issuer.device(scope="read:devices offline_access")
    issuer.server.approve(device["user_code"])
    for other in ("https://other.example", "relative"):
        assert issuer.refused(issuer.poll(device, resource=other)) == (400, "invalid_target")
    tokens = issuer.poll(device, resource=AUDIENCE).json()
    assert issuer.refused(issuer.refresh(tokens["refresh_token"], resource="urn:two")) == (400, "invalid_target")
    renewed = issuer.refresh(tokens["refresh_token"], resource=AUDIENCE)
    assert renewed.status_code == 200
    # A reused refresh token revokes its family, whatever else is wrong with the request.
    assert issuer.refused(issuer.refresh(tokens["refresh_token"], resource="urn:two")) == (403, "invalid_grant")
    assert issuer.refused(issuer.refresh(renewed.json()["refresh_token"])) == (403, "invalid_grant")


# Custom claims

TEAM, ROLES = "https://example.com/team", "http://example.com/roles"
USERS = (User(username="alice", claims={TEAM: "blue", ROLES: ["admin", "dev"]}), User(username="bob"))


def claims_of(issuer: LiveIssuer, tokens: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the namespaced members of the access token, of the ID token and of /userinfo."""
    documents = [
        issuer.verify(tokens["access_token"])[1],
        issuer.verify(tokens["id_token"], audience="device-app")[1],
        userinfo(issuer, tokens).json(),
    ]
    return [{name: value for name, value in found.items() if name.startswith("http")} for found in documents]


def test_a_namespaced_scope_releases_the_users_claim(make_issuer: Make) -> None:
    issuer = make_issuer(Config(users=USERS))
    tokens = approved(issuer, audience=AUDIENCE, scope=f"openid read:devices {TEAM}")
    assert tokens["scope"] == f"openid read:devices {TEAM}"
    assert claims_of(issuer, tokens) == [{TEAM: "blue"}] * 3
    both = approved(issuer, audience=AUDIENCE, scope=f"openid offline_access {ROLES} {TEAM}")
    assert claims_of(issuer, both) == [{TEAM: "blue", ROLES: ["admin", "dev"]}] * 3
    fewer = issuer.refresh(both["refresh_token"], scope=f"openid {ROLES}").json()
    assert claims_of(issuer, fewer) == [{ROLES: ["admin", "dev"]}] * 3
    assert claims_of(issuer, approved(issuer, audience=AUDIENCE, scope="openid")) == [{}] * 3
    assert claims_of(issuer, approved(issuer, "bob", audience=AUDIENCE, scope=f"openid {TEAM}")) == [{}] * 3


def test_without_an_audience_userinfo_has_the_claim(make_issuer: Make) -> None:
    issuer = make_issuer(Config(users=USERS))
    assert userinfo(issuer, approved(issuer, scope=f"openid {TEAM}")).json() == {"sub": "mock|alice", TEAM: "blue"}


def test_a_rule_sees_the_scope_and_its_value_precedes(make_issuer: Make) -> None:
    def rule(_user: User, _client: Client, context: RuleContext) -> None:
        if TEAM in context.scopes:
            context.access_token[TEAM] = context.id_token[TEAM] = "red"

    issuer = make_issuer(Config(users=USERS, rules=(rule,)))
    access, identity, _ = claims_of(issuer, approved(issuer, audience=AUDIENCE, scope=f"openid {TEAM} {ROLES}"))
    assert access == identity == {TEAM: "red", ROLES: ["admin", "dev"]}
    assert claims_of(issuer, approved(issuer, audience=AUDIENCE, scope="openid"))[0] == {}


@pytest.mark.parametrize(
    "scope", ["https:///team", "https:", "ftp://example.com/team", "example.com/team", "https://[::1"]
)
def test_a_scope_without_a_namespace_is_unknown(issuer: LiveIssuer, scope: str) -> None:
    assert issuer.refused(issuer.request_device(scope=scope)) == (400, "invalid_scope")
    for character in ('"', "\\", "é"):
        assert issuer.refused(issuer.request_device(scope=TEAM + character)) == (400, "invalid_scope")


def test_a_machine_has_no_custom_claims(issuer: LiveIssuer) -> None:
    assert issuer.refused(issuer.machine_token(scope=TEAM)) == (400, "invalid_scope")


def test_the_consent_names_the_claim(make_issuer: Make) -> None:
    issuer = make_issuer(Config(users=USERS))
    person = issuer.person()
    person.open("/activate", user_code=issuer.device(scope=f"read:devices {TEAM}?a=<b>")["user_code"])
    person.send(answer="yes")
    person.log_in()
    assert f"<li>See {TEAM}?a=&lt;b&gt;</li>" in person.page.text


def test_the_metadata_names_the_configured_claims(make_issuer: Make) -> None:
    metadata = make_issuer(Config(users=USERS)).get("/.well-known/openid-configuration").json()
    assert {TEAM, ROLES} <= set(metadata["scopes_supported"])
    assert {TEAM, ROLES} <= set(metadata["claims_supported"])
