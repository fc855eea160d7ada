"""Adding readings over HTTP."""

from typing import Any

import pytest

from tests.api.devices.conftest import LAMP, Send
from tests.kit.headers import header_of

POWER: dict[str, Any] = {"time": "2026-11-21T10:00:00Z", "metric": "power", "value": 1.5, "unit": "W"}


def minute(number: int, **changes: Any) -> dict[str, Any]:
    return {**POWER, "time": f"2026-11-{1 + number // 1440:02}T{number // 60 % 24:02}:{number % 60:02}:00Z", **changes}


def test_a_batch_is_added(send: Send, device: str) -> None:
    batch = [minute(number, value=number) for number in range(3)]
    answer = send("POST", f"{device}/readings", 200, json={"readings": batch})
    assert answer.get_json() == {"added": 3, "known": 0}
    assert answer.headers.get("Cache-Control") == "private, no-store"
    assert send("GET", f"{device}/readings", 200).get_json()["items"] == batch[::-1]
    assert send("GET", device, 200).get_json()["last_seen_at"] is not None


def test_a_batch_may_be_repeated(send: Send, device: str) -> None:
    batch = [minute(number) for number in range(1_000)]
    assert send("POST", f"{device}/readings", 200, json={"readings": batch}).get_json() == {"added": 1_000, "known": 0}
    assert send("POST", f"{device}/readings", 200, json={"readings": batch}).get_json() == {"added": 0, "known": 1_000}
    more = [*batch[500:], *(minute(number) for number in range(1_000, 1_250))]
    assert send("POST", f"{device}/readings", 200, json={"readings": more}).get_json() == {"added": 250, "known": 500}


def test_the_same_reading_twice_in_a_batch_is_harmless(send: Send, device: str) -> None:
    same = {**POWER, "time": "2026-11-21T11:00:00.000+01:00"}
    answer = send("POST", f"{device}/readings", 200, json={"readings": [POWER, POWER, same]})
    assert answer.get_json() == {"added": 1, "known": 2}


def test_a_batch_that_contradicts_itself_is_refused(send: Send, device: str) -> None:
    batch = [POWER, minute(0), {**POWER, "value": 2}]
    problem = send("POST", f"{device}/readings", 422, json={"readings": batch}).get_json()
    assert list(problem["errors"]) == ["readings.2.value"]
    assert send("GET", f"{device}/readings", 200).get_json()["items"] == []


def test_an_existing_reading_is_kept(send: Send, device: str) -> None:
    send("POST", f"{device}/readings", 200, json={"readings": [POWER]})
    again = send("POST", f"{device}/readings", 200, json={"readings": [{**POWER, "value": 7}]})
    assert again.get_json() == {"added": 0, "known": 1}
    (reading,) = send("GET", f"{device}/readings", 200).get_json()["items"]
    assert reading["value"] == 1.5


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("time", "2026-11-21"),
        ("time", 1763719200),
        ("time", "2026-02-30T00:00:00Z"),
        ("time", "2026-11-21T10:00:00"),
        ("time", "0001-01-01T00:00:00+01:00"),
        ("time", None),
        ("metric", "speed"),
        ("metric", 5),
        ("value", "1.5"),
        ("value", True),
        ("value", None),
        ("value", [1]),
        ("value", 1.1e12),
        pytest.param("value", 10**400, id="value-too-large-for-a-float"),
        ("unit", "kW"),
        ("unit", "°C"),
        ("unit", 1),
        ("device_id", "dev_00000000000000000000"),
    ],
)
def test_one_invalid_reading_refuses_the_batch(send: Send, device: str, member: str, value: object) -> None:
    batch = [minute(0), {**POWER, member: value}]
    problem = send("POST", f"{device}/readings", 422, json={"readings": batch}).get_json()
    assert problem["error"] == "validation_failed"
    assert list(problem["errors"]) == [f"readings.1.{member}"]
    assert send("GET", f"{device}/readings", 200).get_json()["items"] == []
    assert send("GET", device, 200).get_json()["last_seen_at"] is None


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "readings"),
        ({"readings": []}, "readings"),
        ({"readings": None}, "readings"),
        ({"readings": {}}, "readings"),
        ({"readings": "x"}, "readings"),
        ({"readings": [5]}, "readings.0"),
        ({"readings": [None]}, "readings.0"),
        ({"readings": [[POWER]]}, "readings.0"),
        ({"readings": [{"time": POWER["time"], "metric": "power", "unit": "W"}]}, "readings.0.value"),
        ({"readings": [minute(number) for number in range(1_001)]}, "readings"),
        ({"readings": [POWER], "more": 1}, "more"),
    ],
)
def test_an_invalid_batch_is_refused(send: Send, device: str, body: object, path: str) -> None:
    assert list(send("POST", f"{device}/readings", 422, json=body).get_json()["errors"]) == [path]


def test_at_most_100_errors_are_reported(send: Send, device: str) -> None:
    problem = send("POST", f"{device}/readings", 422, json={"readings": [{}] * 1_000}).get_json()
    assert len(problem["errors"]) == 20


@pytest.mark.parametrize("value", [0, -0.0, 1, 20.5, -1e12, 1e12, 1e-300, 12345678])
def test_numbers_are_stored_unchanged(send: Send, device: str, value: float) -> None:
    send("POST", f"{device}/readings", 200, json={"readings": [{**POWER, "value": value}]})
    (reading,) = send("GET", f"{device}/readings", 200).get_json()["items"]
    assert reading["value"] == value


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.5Z"])
def test_any_time_of_the_calendar_is_stored_unchanged(send: Send, device: str, time: str) -> None:
    send("POST", f"{device}/readings", 200, json={"readings": [{**POWER, "time": time}]})
    send(
        "POST",
        f"{device}/readings",
        200,
        json={"readings": [{**POWER, "time": time, "metric": "humidity", "unit": "%"}]},
    )
    first = send("GET", f"{device}/readings?limit=1", 200).get_json()
    second = send("GET", f"{device}/readings?limit=1&cursor={first['next_cursor']}", 200).get_json()
    assert [page["items"][0]["metric"] for page in (first, second)] == ["power", "humidity"]
    assert second["items"][0]["time"].startswith(time.rstrip("Z"))
    assert second["next_cursor"] is None


def test_readings_for_an_unknown_device_are_refused(send: Send) -> None:
    for path in ("dev_00000000000000000000", "x"):
        send("POST", f"/v1/devices/{path}/readings", 404, json={"readings": [POWER]})


def test_readings_belong_to_one_device(send: Send, device: str) -> None:
    other = header_of(send("POST", "/v1/devices", 201, json=LAMP), "Location")
    send("POST", f"{device}/readings", 200, json={"readings": [POWER]})
    assert send("POST", f"{other}/readings", 200, json={"readings": [POWER]}).get_json()["added"] == 1
    send("DELETE", other, 204)
    assert len(send("GET", f"{device}/readings", 200).get_json()["items"]) == 1
