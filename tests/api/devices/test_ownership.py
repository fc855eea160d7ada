"""Object-level authorization (OWASP API1): every route and method, for every kind of caller."""

import hashlib
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.auth import AccessToken, TrustedIssuer, requirements_of
from api.auth.claims import read_claims
from api.database.engine import write_transaction
from api.devices.models import EVERYONE, Owner
from api.devices.ownership import owner_of, readable_owners
from tests.api.devices.conftest import EVERYTHING, LAMP, CreateApp, Send
from tests.kit.headers import header_of
from tests.kit.running_api import Bearer
from tests.kit.signing import AUDIENCE, claims

READING = {"time": "2026-11-21T10:00:00Z", "metric": "power", "value": 1.5, "unit": "W"}
UNKNOWN_DEVICE = "/v1/devices/dev_00000000000000000000"
# Method, suffix of the device's path, body.
ON_A_DEVICE: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "", {}),
    ("HEAD", "", {}),
    ("PATCH", "", {"json": {"name": "Mine"}}),
    ("PATCH", "", {"json": {}}),
    ("DELETE", "", {}),
    ("GET", "/readings", {}),
    ("HEAD", "/readings", {}),
    ("POST", "/readings", {"json": {"readings": [READING]}}),
]
CONDITIONS: list[dict[str, str]] = [
    {},
    {"If-Match": "*"},
    {"If-Match": '"1"'},
    {"If-Match": '"9"'},
    {"If-None-Match": "*"},
    {"If-None-Match": '"1"'},
]


def test_every_route_is_tried_here(app: Flask) -> None:
    served = {
        (method, rule.rule.replace("<device_id>", "{}"))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"OPTIONS"}
        if rule.rule.startswith("/v1/devices")
    }
    tried = {(method, f"/v1/devices/{{}}{path}") for method, path, _ in ON_A_DEVICE}
    assert served - tried == {("GET", "/v1/devices"), ("HEAD", "/v1/devices"), ("POST", "/v1/devices")}


@pytest.mark.parametrize("attempt", ON_A_DEVICE)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_another_owners_device_looks_like_an_unknown_one(
    send: Send, device: str, attempt: tuple[str, str, dict[str, Any]], condition: dict[str, str]
) -> None:
    method, path, body = attempt
    send("POST", f"{device}/readings", 200, json={"readings": [READING]})
    before = send("GET", device, 200)
    status = 400 if method in {"PATCH", "DELETE"} and "If-None-Match" in condition else 404
    theirs, unknown = (
        send(method, f"{target}{path}", status, sub="eve", headers=condition, **body)
        for target in (device, UNKNOWN_DEVICE)
    )
    if method != "HEAD":
        one, other = theirs.get_json(), unknown.get_json()
        assert one.pop("request_id") != other.pop("request_id")
        assert one == other
    after = send("GET", device, 200)
    assert (after.get_json(), header_of(after, "ETag")) == (before.get_json(), header_of(before, "ETag"))
    assert len(send("GET", f"{device}/readings", 200).get_json()["items"]) == 1


def test_a_subject_of_another_issuer_is_another_owner(app: Flask, send: Send, device: str) -> None:
    with write_transaction(app.extensions["database"]) as connection:
        connection.exec_driver_sql("UPDATE devices SET issuer = 'https://other.example/'")
    send("GET", device, 404)
    assert send("GET", "/v1/devices", 200).get_json()["items"] == []


def test_each_owner_has_its_own_list(send: Send, device: str) -> None:
    assert send("GET", "/v1/devices", 200, sub="eve").get_json()["items"] == []
    assert len(send("GET", "/v1/devices", 200).get_json()["items"]) == 1


def test_a_machine_owns_what_it_creates(client: FlaskClient, bearer: Bearer) -> None:
    # RFC 9068 §2.2: the subject of a client's own token is the client.
    machine = bearer(sub="gateway@clients", client_id="gateway", scope=EVERYTHING)
    made = client.post("/v1/devices", json=LAMP, headers=machine)
    assert made.status_code == 201
    assert client.get("/v1/devices", headers=machine).get_json()["items"] == [made.get_json()]
    assert client.delete(header_of(made, "Location"), headers=machine).status_code == 204


# Support staff


def test_read_devices_all_shows_all(send: Send, device: str) -> None:
    other = header_of(send("POST", "/v1/devices", 201, json=LAMP, sub="bob"), "Location")
    send("POST", f"{device}/readings", 200, json={"readings": [READING]})
    for scope in ("read:devices:all", f"{EVERYTHING} read:devices:all"):
        staff: dict[str, Any] = {"sub": "staff", "scope": scope}
        shown = send("GET", "/v1/devices", 200, **staff).get_json()["items"]
        assert [f"/v1/devices/{one['id']}" for one in shown] == [device, other]
        assert send("GET", "/v1/devices?kind=hub", 200, **staff).get_json()["items"] == []
        for path in (device, other):
            shown_one = send("GET", path, 200, **staff)
            send("GET", path, 304, headers={"If-None-Match": header_of(shown_one, "ETag")}, **staff)
        assert send("GET", f"{device}/readings", 200, **staff).get_json()["items"] == [READING]
        first = send("GET", "/v1/devices?limit=1", 200, **staff).get_json()
        second = send("GET", f"/v1/devices?limit=1&cursor={first['next_cursor']}", 200, **staff).get_json()
        assert [first["items"][0], second["items"][0], second["next_cursor"]] == [*shown, None]
        send("GET", UNKNOWN_DEVICE, 404, **staff)


@pytest.mark.parametrize(("method", "path", "body"), [one for one in ON_A_DEVICE if one[0] not in {"GET", "HEAD"}])
def test_read_devices_all_changes_nothing(
    send: Send, device: str, method: str, path: str, body: dict[str, Any]
) -> None:
    before = send("GET", device, 200)
    refused = send(method, f"{device}{path}", 403, sub="staff", scope="read:devices:all", **body)
    assert 'error="insufficient_scope"' in header_of(refused, "WWW-Authenticate")
    send(method, f"{device}{path}", 404, sub="staff", scope=f"{EVERYTHING} read:devices:all", **body)
    after = send("GET", device, 200)
    assert (after.get_json(), header_of(after, "ETag")) == (before.get_json(), header_of(before, "ETag"))


def test_read_devices_all_does_not_change_who_owns_a_new_device(send: Send) -> None:
    send("POST", "/v1/devices", 403, json=LAMP, sub="staff", scope="read:devices:all")
    made = send("POST", "/v1/devices", 201, json=LAMP, sub="staff", scope=f"{EVERYTHING} read:devices:all")
    send("GET", header_of(made, "Location"), 200, sub="staff")
    send("GET", header_of(made, "Location"), 404)


@pytest.mark.parametrize("scope", ["read:devices", "read:readings", "write:devices", "write:readings", "other"])
def test_each_route_needs_its_scope(app: Flask, send: Send, device: str, scope: str) -> None:
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith("/v1/devices"):
            continue
        for method in sorted((rule.methods or set()) - {"OPTIONS"}):
            (needed,) = requirements_of(app, rule.endpoint, "GET" if method == "HEAD" else method)
            if scope in needed.scopes + needed.any_of:
                continue
            path = rule.rule.replace("/v1/devices/<device_id>", device)
            refused = send(method, path, 403, scope=scope)
            assert f'scope="{(needed.scopes + needed.any_of)[0]}"' in header_of(refused, "WWW-Authenticate")


def test_subjects_of_any_length_own_what_they_create(send: Send) -> None:
    long = "é" * 500
    # A caller whose subject is that digest gets no access.
    digest = f"sha256:{hashlib.sha256(long.encode()).hexdigest()}"
    made = {
        sub: send("POST", "/v1/devices", 201, json=LAMP, sub=sub).get_json()
        for sub in (long, f"{long}x", "x" * 255, "x" * 256, digest)
    }
    for sub, body in made.items():
        assert send("GET", "/v1/devices", 200, sub=sub).get_json()["items"] == [body]


def token(sub: str, scope: str = "read:devices") -> AccessToken:
    issuer = TrustedIssuer(identifier="https://issuer.example/", audiences=(AUDIENCE,))
    return read_claims(claims(sub=sub, scope=scope), b"{}", issuer)


def digest_of(subject: str) -> str:
    return f"sha256:{hashlib.sha256(subject.encode()).hexdigest()}"


@pytest.mark.parametrize("subject", ["x", "é" * 255, "auth0|5f7c", "a\nb", "sha256", "SHA256:x", "x sha256:x", " "])
def test_a_subject_that_can_be_stored_is_the_owner(subject: str) -> None:
    assert owner_of(token(subject)) == Owner("https://issuer.example/", subject)


@pytest.mark.parametrize("subject", ["x" * 256, "é" * 500, "sha256:", "sha256:x", digest_of("x" * 256)])
def test_another_subject_owns_by_its_digest(subject: str) -> None:
    assert owner_of(token(subject)) == Owner("https://issuer.example/", digest_of(subject))


@pytest.mark.parametrize("scope", ["", "read:devices", "read:devices:al", "READ:DEVICES:ALL", "read:devices:all2"])
def test_a_token_reads_its_own_devices(scope: str) -> None:
    assert readable_owners(token("x", scope)) == Owner("https://issuer.example/", "x")


def test_a_token_with_the_scope_for_all_reads_everyones() -> None:
    assert readable_owners(token("x", "read:devices read:devices:all")) is EVERYONE
    assert owner_of(token("x", "read:devices read:devices:all")) == Owner("https://issuer.example/", "x")


@pytest.fixture
def client_without_subjects(database_url: str, app_on: CreateApp) -> FlaskClient:
    """Return a client of an API that accepts tokens without a subject."""
    return app_on(database_url, subject_required=False).test_client()


@pytest.mark.parametrize("scope", [EVERYTHING, f"{EVERYTHING} read:devices:all"])
@pytest.mark.parametrize(
    "attempt",
    [
        ("GET", "/v1/devices", {}),
        ("POST", "/v1/devices", {"json": LAMP}),
        *((method, f"{UNKNOWN_DEVICE}{path}", body) for method, path, body in ON_A_DEVICE),
    ],
)
def test_a_token_without_subject_owns_nothing_and_reads_nothing(
    client_without_subjects: FlaskClient, bearer: Bearer, scope: str, attempt: tuple[str, str, dict[str, Any]]
) -> None:
    method, path, body = attempt
    response = client_without_subjects.open(path, method=method, headers=bearer(sub=None, scope=scope), **body)
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
    assert client_without_subjects.get("/v1/devices", headers=bearer(scope=EVERYTHING)).status_code == 200


def test_a_token_without_subject_gets_no_sample_devices(database_url: str, app_on: CreateApp, bearer: Bearer) -> None:
    app = app_on(database_url, subject_required=False, sample_data=True)
    headers = bearer(sub=None, scope=f"{EVERYTHING} read:devices:all")
    assert app.test_client().get("/v1/devices", headers=headers).status_code == 401
    with app.extensions["database"].connect() as connection:
        for table in ("owners", "devices"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 0
