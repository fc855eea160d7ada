from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.app import create_app
from api.auth import AuthConfig, TrustedIssuer
from api.database.engine import write_transaction
from api.database.schema import upgrade
from api.settings import Settings
from tests.kit.databases import KINDS, postgresql_schema, shared_tables
from tests.kit.headers import header_of
from tests.kit.key_server import KeyServer
from tests.kit.running_api import Bearer
from tests.kit.signing import AUDIENCE

Get = Callable[..., Any]


# Shared by the tests of this module, which only read: the sample devices of a caller take a tenth of a second.
@pytest.fixture(scope="module", params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with shared_tables(request.param, tmp_path_factory.mktemp("routes")) as url:
        yield url


@pytest.fixture(scope="module")
def app(key_server: KeyServer, database_url: str) -> Iterator[Flask]:
    auth = AuthConfig(issuers=(TrustedIssuer(identifier=key_server.issuer, audiences=(AUDIENCE,)),))
    app = create_app(Settings(auth=auth, database_url=database_url, sample_data=True))
    yield app
    app.extensions["device_store"].close()


@pytest.fixture
def get(client: FlaskClient, bearer: Bearer) -> Get:
    """Return a function that gets a path with a valid token, checks the status and returns the body."""
    headers = bearer()

    def get(path: str, expected_status: int = 200, /, **query: object) -> Any:
        names = {"start": "from"}
        response = client.get(path, query_string={names.get(k, k): v for k, v in query.items()}, headers=headers)
        assert response.status_code == expected_status, response.get_json()
        assert header_of(response, "Cache-Control") in {"private, no-store", "private, no-cache"}
        assert ("ETag" in response.headers) == (header_of(response, "Cache-Control") == "private, no-cache")
        assert response.headers.get("Vary") == "Authorization"
        return response.get_json()

    return get


@pytest.fixture
def thermostat(get: Get) -> str:
    (device,) = get("/v1/devices", kind="thermostat")["items"]
    return f"/v1/devices/{device['id']}"


def test_lists_the_callers_devices(get: Get) -> None:
    page = get("/v1/devices")
    assert page["next_cursor"] is None
    assert [device["name"] for device in page["items"]][:3] == ["Hallway hub", "Thermostat", "Living room TV"]
    assert list(page["items"][0]) == [
        "id",
        "name",
        "kind",
        "model",
        "location",
        "status",
        "created_at",
        "last_seen_at",
    ]


def test_each_caller_has_its_own_devices(client: FlaskClient, bearer: Bearer) -> None:
    mine = client.get("/v1/devices", headers=bearer(sub="one")).get_json()["items"]
    theirs = client.get("/v1/devices", headers=bearer(sub="two")).get_json()["items"]
    assert {device["id"] for device in mine}.isdisjoint(device["id"] for device in theirs)
    for path in (f"/v1/devices/{theirs[0]['id']}", f"/v1/devices/{theirs[1]['id']}/readings"):
        assert client.get(path, headers=bearer(sub="two")).status_code == 200
        assert client.get(path, headers=bearer(sub="one")).status_code == 404


def test_shows_one_device(get: Get) -> None:
    device = get("/v1/devices")["items"][0]
    assert get(f"/v1/devices/{device['id']}") == device


@pytest.mark.parametrize(
    "device_id", ["dev_00000000000000000000", "x", "dev_", "%00", "DEV_00000000000000000000", "a'b", "é"]
)
def test_an_id_that_is_not_the_callers_is_not_found(get: Get, device_id: str) -> None:
    assert get(f"/v1/devices/{device_id}", 404)["error"] == "not_found"
    assert get(f"/v1/devices/{device_id}/readings", 404)["error"] == "not_found"


def walk(get: Get, path: str, limit: int) -> Iterator[dict[str, Any]]:
    query: dict[str, object] = {"limit": limit}
    while True:
        page = get(path, **query)
        assert len(page["items"]) <= limit
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        query["cursor"] = page["next_cursor"]


def test_cursors_cover_the_whole_list(get: Get, thermostat: str) -> None:
    assert list(walk(get, "/v1/devices", 2)) == get("/v1/devices")["items"]
    readings = list(walk(get, f"{thermostat}/readings", 1_000))
    assert len(readings) == 7 * 24 * 4 * 3
    assert readings == sorted(readings, key=lambda one: (one["time"], one["metric"]), reverse=True)


def test_filters(get: Get) -> None:
    offline = get("/v1/devices", status="offline")["items"]
    assert [device["name"] for device in offline] == ["Bedroom box"]
    assert get("/v1/devices", status="offline", kind="hub")["items"] == []


def test_readings_between_two_times(get: Get, thermostat: str) -> None:
    newest = datetime.fromisoformat(get(f"{thermostat}/readings", limit=1)["items"][0]["time"])
    start = newest - timedelta(hours=1)
    found = get(f"{thermostat}/readings", start=start.isoformat(), to=newest.isoformat())["items"]
    times = {datetime.fromisoformat(reading["time"]) for reading in found}
    assert (min(times), max(times)) == (start, newest - timedelta(minutes=15))
    assert newest.tzinfo == UTC
    assert found[0].keys() == {"time", "metric", "value", "unit"}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"limit": ""}, "limit"),
        ({"limit": [1, 2]}, "limit"),
        ({"kind": "toaster"}, "kind"),
        ({"kind": ""}, "kind"),
        ({"status": "ONLINE"}, "status"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": ""}, "cursor"),
        ({"cursor": "a" * 201}, "cursor"),
        ({"offset": 5}, "offset"),
        ({"start": "2026-01-01T00:00:00Z"}, "from"),
    ],
)
def test_invalid_parameters_are_reported_by_name(get: Get, query: dict[str, object], field: str) -> None:
    problem = get("/v1/devices", 400, **query)
    assert problem["error"] == "invalid_request"
    assert list(problem["errors"]) == [field]
    assert all(isinstance(reason, str) for reason in problem["errors"][field])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 1_001}, "limit"),
        ({"start": "yesterday"}, "from"),
        ({"to": "2026-11-21"}, "to"),
        ({"metric": "power"}, "metric"),
        ({"end": "2026-01-01T00:00:00Z"}, "end"),
    ],
)
def test_invalid_parameters_for_readings_are_reported_by_name(
    get: Get, thermostat: str, query: dict[str, object], field: str
) -> None:
    assert list(get(f"{thermostat}/readings", 400, **query)["errors"]) == [field]


def test_a_single_device_takes_no_query(get: Get, thermostat: str) -> None:
    assert list(get(thermostat, 400, verbose=1)["errors"]) == ["verbose"]


def test_a_cursor_of_another_list_is_refused(get: Get, thermostat: str) -> None:
    cursor = get("/v1/devices", limit=1)["next_cursor"]
    assert list(get(f"{thermostat}/readings", 400, cursor=cursor)["errors"]) == ["cursor"]


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/v1/devices", "read:devices"),
        ("/v1/devices/dev_00000000000000000000", "read:devices"),
        ("/v1/devices/dev_00000000000000000000/readings", "read:readings"),
    ],
)
def test_each_route_needs_its_scope(client: FlaskClient, bearer: Bearer, path: str, scope: str) -> None:
    others = {"read:devices", "read:readings", "write:devices"} - {scope}
    response = client.get(path, headers=bearer(scope=" ".join(others)))
    assert response.status_code == 403
    assert 'error="insufficient_scope", ' in header_of(response, "WWW-Authenticate")
    assert f'scope="{scope}"' in header_of(response, "WWW-Authenticate")
    assert response.get_json()["error"] == "insufficient_scope"
    assert client.head(path, headers=bearer(scope=" ".join(others))).status_code == 403


@pytest.mark.parametrize(
    ("path", "query", "other"),
    [
        ("/v1/devices", {}, {"kind": "sensor"}),
        ("/v1/devices", {}, {"status": "online"}),
        ("/v1/devices", {"status": "online"}, {}),
        ("/readings", {}, {"from": "2026-01-01T00:00:00Z"}),
        ("/readings", {"to": "2100-01-01T00:00:00Z"}, {"from": "2100-01-01T00:00:00Z"}),
    ],
)
def test_a_cursor_is_valid_only_with_its_filters(
    get: Get, thermostat: str, path: str, query: dict[str, str], other: dict[str, str]
) -> None:
    path = thermostat + path if path == "/readings" else path
    cursor = get(path, limit=1, **query)["next_cursor"]
    assert get(path, limit=2, cursor=cursor, **query)["items"]
    assert list(get(path, 400, cursor=cursor, **other)["errors"]) == ["cursor"]


def test_another_format_of_the_same_time_is_the_same_filter(get: Get, thermostat: str) -> None:
    path = f"{thermostat}/readings"
    cursor = get(path, limit=1, start="2026-01-01T00:00:00Z")["next_cursor"]
    assert get(path, limit=1, start="2026-01-01T01:00:00.000+01:00", cursor=cursor)["items"]


def test_a_cursor_of_another_device_or_caller_is_refused(
    client: FlaskClient, get: Get, bearer: Bearer, thermostat: str
) -> None:
    (television,) = get("/v1/devices", kind="television")["items"]
    cursor = get(f"{thermostat}/readings", limit=1)["next_cursor"]
    get(f"/v1/devices/{television['id']}/readings", 400, cursor=cursor)
    cursor = get("/v1/devices", limit=1)["next_cursor"]
    client.get("/v1/devices", headers=bearer(sub="other"))
    for stranger in (bearer(sub="other"), bearer(scope="read:devices:all")):
        response = client.get("/v1/devices", query_string={"cursor": cursor}, headers=stranger)
        assert response.status_code == 400
        assert list(response.get_json()["errors"]) == ["cursor"]


def test_a_cursor_is_valid_in_another_process(settings: Settings, database_url: str, get: Get, bearer: Bearer) -> None:
    cursor = get("/v1/devices", limit=1)["next_cursor"]
    other = create_app(replace(settings, database_url=database_url))
    page = other.test_client().get("/v1/devices", query_string={"cursor": cursor}, headers=bearer())
    assert page.status_code == 200
    assert page.get_json()["items"] == get("/v1/devices")["items"][1:]
    other.extensions["device_store"].close()


def test_head_has_the_headers_of_get(client: FlaskClient, bearer: Bearer, get: Get, thermostat: str) -> None:
    for path in ("/v1/devices", thermostat, f"{thermostat}/readings"):
        full, bare = (client.open(path, method=method, headers=bearer()) for method in ("GET", "HEAD"))
        assert bare.status_code == 200
        assert bare.data == b""
        mine, theirs = (
            {name: value for name, value in one.headers.items() if name != "X-Request-ID"} for one in (bare, full)
        )
        assert mine == theirs
        assert int(mine["Content-Length"]) > 0


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/devices", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("/v1/devices/dev_00000000000000000000", {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH"}),
        ("/v1/devices/dev_00000000000000000000/readings", {"GET", "HEAD", "OPTIONS", "POST"}),
    ],
)
def test_options_and_405_list_the_allowed_methods(client: FlaskClient, path: str, allowed: set[str]) -> None:
    options = client.options(path)  # without a token: the answer is not confidential
    assert options.status_code == 200
    assert options.data == b""
    assert set(header_of(options, "Allow").split(", ")) == allowed
    assert ("Accept-Patch" in options.headers) == ("PATCH" in allowed)
    for method in {"DELETE", "PATCH", "POST", "PUT"} - allowed:
        other = client.open(path, method=method)
        assert other.status_code == 405
        assert other.mimetype == "application/problem+json"
        assert set(header_of(other, "Allow").split(", ")) == allowed


def test_the_token_is_verified_before_the_query(client: FlaskClient) -> None:
    assert client.get("/v1/devices?limit=x").status_code == 401


@pytest.mark.needs("postgresql")
@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("ALTER TABLE devices RENAME TO gone", "42P01"),
        ("ALTER TABLE devices RENAME COLUMN version TO gone", "42703"),
    ],
)
def test_an_outdated_schema_is_a_503(
    settings: Settings, bearer: Bearer, capsys: pytest.CaptureFixture[str], statement: str, code: str
) -> None:
    with postgresql_schema() as url:
        upgrade(url)
        app = create_app(replace(settings, database_url=url, sample_data=False))
        with write_transaction(app.extensions["database"]) as connection:
            connection.exec_driver_sql(statement)
        response = app.test_client().get("/v1/devices", headers=bearer())
        app.extensions["device_store"].close()
    assert (response.status_code, response.get_json()["error"]) == (503, "temporarily_unavailable")
    assert int(header_of(response, "Retry-After")) >= 1
    assert f'"code": "{code}"' in capsys.readouterr().err
