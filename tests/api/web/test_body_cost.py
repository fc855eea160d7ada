"""Refusing a body of 1 MiB costs little, whatever is in it."""

import json
import math
import time
import tracemalloc
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from marshmallow import ValidationError, fields, pre_load
from marshmallow.validate import Length

from api.devices.schemas import MAX_BATCH, ReadingSchema
from api.web.body import Items
from tests.kit.headers import header_of
from tests.kit.key_server import KeyServer
from tests.kit.running_api import Bearer

SIZE = 1024 * 1024
DEVICE, BATCH = "/v1/devices", "/v1/devices/dev_00000000000000000000/readings"
GOOD = {"time": "2026-11-21T10:00:00Z", "metric": "power", "value": 1.5, "unit": "W"}


def repeated(start: str, unit: str, end: str, separator: str = ",") -> bytes:
    """Return a text of less than SIZE bytes: `unit` as often as possible, with its number in place of %d."""
    free = SIZE - 1 - len((start + end).encode())
    if "%d" not in unit:
        times = free // len((unit + separator).encode())
        return (start + separator.join([unit] * times) + end).encode()
    units: list[str] = []
    while (free := free - len(unit % len(units) + separator)) >= 0:
        units.append(unit % len(units))
    return (start + separator.join(units) + end).encode()


def in_readings(unit: str, separator: str = ",") -> bytes:
    return repeated('{"readings":[', unit, "]}", separator)


def limited(items: list[object]) -> bytes:
    """Return a batch that has as many items as are looked at, padded with white space."""
    return json.dumps({"readings": items}, separators=(",", ":")).encode().ljust(SIZE)


FEW_UNKNOWN = {f"u{number}": number for number in range(9)}
BODIES: dict[str, bytes] = {
    "empty objects": in_readings("{}"),
    "numbers": in_readings("1"),
    "long numbers": in_readings("9" * 4_300),
    "lists": in_readings("[]"),
    "good readings": in_readings(json.dumps(GOOD)),
    "deep list": b'{"readings":' + b"[" * (SIZE - 20),
    "deep object": repeated("", '{"a":', "", ""),
    "deep lists": in_readings("[" * 900 + "]" * 900),
    "deep objects": in_readings('{"a":' * 400 + "1" + "}" * 400),
    "unknown members": repeated("{", '"m%d":1', "}"),
    "duplicate names": repeated("{", '"m":1', "}"),
    "objects in an unknown member": repeated('{"x":[', '{"a":{"b":{}}}', "]}"),
    "a long name": b'{"' + b"n" * (SIZE - 8) + b'":1}',
    "a long text": b'{"name":"' + b"n" * (SIZE - 12) + b'"}',
    "a long text of all planes": '{"name":"\U0001f600\\n'.encode() + b"n" * (SIZE - 30) + b'"}',
    "a text of commas": b'{"name":"' + b"," * (SIZE - 12) + b'"}',
    "escapes": repeated('{"name":"', "\\n", '"}', ""),
    "escaped code units": repeated('{"name":"', "\\ud83d\\ude00", '"}', ""),
    "a long fraction": b'{"name":0.' + b"1" * (SIZE - 12) + b"}",
    "a long integer": b'{"name":' + b"1" * (SIZE - 12) + b"}",
    "white space": b'{"name":1}'.ljust(SIZE),
    "line breaks before a wrong character": b'{"name":1' + b"\n" * (SIZE - 11) + b"x}",
    "line breaks before a second value": b'{"name":1}' + b"\n" * (SIZE - 11) + b"x",
    "line breaks before a byte that is not UTF-8": b'{"name":1' + b"\n" * (SIZE - 11) + b"\xff}",
    "line breaks before an object that does not begin": b"\n" * (SIZE - 2) + b"{x",
    "as many empty objects as a batch has": limited([{}] * MAX_BATCH),
    "as many readings with unknown members": limited([{**GOOD, **FEW_UNKNOWN}] * (MAX_BATCH // 2)),
    "one reading with unknown members": limited([{f"u{number}": number for number in range(9_900)}]),
    "the last of a batch is full of long numbers": limited([*[GOOD] * (MAX_BATCH - 1), {"x": [10**4_299] * 210}]),
    "the last of a batch is wrong": limited([*[GOOD] * (MAX_BATCH - 1), {}]),
}
FORMS = {
    "empty members": b"&" * SIZE,
    "members": b"a=&" * (SIZE // 3),
    "nearly the name": b"&acc%65ss%5Ftoke" * (SIZE // 16),
    "percent signs": b"%" * SIZE,
}
# Refusing a batch whose last reading is wrong takes about 25 ms on a slow core.
_REFERENCE = BODIES["the last of a batch is wrong"].rstrip()
_MAX_RATIO = 4
_MAX_BYTES = 20 * 1024 * 1024


Refuse = Callable[[bytes], None]


@pytest.fixture
def key_server(shared_key_server: KeyServer) -> KeyServer:
    return shared_key_server


@pytest.fixture
def app(shared_app: Flask) -> Flask:
    return shared_app


@pytest.fixture
def headers(bearer: Bearer) -> dict[str, str]:
    return bearer(scope="write:devices write:readings")


def refuse_at(path: str, client: FlaskClient, headers: dict[str, str], kind: str = "application/json") -> Refuse:
    def refuse(body: bytes) -> None:
        answer = client.post(path, data=body, content_type=kind, headers=headers)
        assert answer.status_code in {400, 415, 422}
        assert len(answer.get_json().get("errors", {})) <= 20
        assert len(answer.data) < 10_000

    return refuse


def cpu_seconds(refuse: Refuse, body: bytes, *, attempts: int = 5) -> float:
    """Return the least CPU time of several attempts."""

    def once() -> float:
        start = time.process_time()
        refuse(body)
        return time.process_time() - start

    return min(once() for _ in range(attempts))


def peak_bytes(refuse: Refuse, body: bytes) -> int:
    tracemalloc.start()
    try:
        refuse(body)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class Bound:
    """What a body may cost: a multiple of what the dearest valid use costs on this machine."""

    def __init__(self) -> None:
        self._least_reference_seconds = math.inf

    def check(self, refuse: Refuse, body: bytes, refuse_reference: Refuse) -> None:
        """Check the CPU time of refusing `body`.

        Usually one attempt suffices, against the least time that the reference ever took, which is the strictest.
        Otherwise both are measured again, one after the other: the machine may have become slower.
        """
        if cpu_seconds(refuse, body, attempts=1) < _MAX_RATIO * self._least_reference_seconds:
            return
        reference_seconds = cpu_seconds(refuse_reference, _REFERENCE)
        self._least_reference_seconds = min(self._least_reference_seconds, reference_seconds)
        assert cpu_seconds(refuse, body) < _MAX_RATIO * reference_seconds


@pytest.fixture(scope="module")
def bound() -> Bound:
    return Bound()


@pytest.mark.parametrize("path", [DEVICE, BATCH])
@pytest.mark.parametrize("kind", BODIES)
def test_bodies(client: FlaskClient, headers: dict[str, str], bound: Bound, path: str, kind: str) -> None:
    refuse = refuse_at(path, client, headers)
    bound.check(refuse, BODIES[kind], refuse_at(BATCH, client, headers))
    assert peak_bytes(refuse, BODIES[kind]) < _MAX_BYTES


@pytest.mark.parametrize("kind", FORMS)
def test_forms(client: FlaskClient, headers: dict[str, str], bound: Bound, kind: str) -> None:
    refuse = refuse_at(DEVICE, client, headers, "application/x-www-form-urlencoded")
    bound.check(refuse, FORMS[kind], refuse_at(BATCH, client, headers))
    assert peak_bytes(refuse, FORMS[kind]) < _MAX_BYTES


@pytest.mark.parametrize(
    ("items", "expected"),
    [([], 0), ([{}] * (MAX_BATCH + 1), 0), ([{}] * MAX_BATCH, 20), ([GOOD] * 50 + [{}] * 100, 70)],
)
def test_no_more_items_are_loaded_than_needed(items: list[object], expected: int) -> None:
    loaded = []

    class Counting(ReadingSchema):
        @pre_load
        def count(self, data: object, **_kwargs: object) -> object:
            loaded.append(data)
            return data

    field = Items(fields.Nested(Counting), validate=Length(1, MAX_BATCH))
    with pytest.raises(ValidationError):
        field.deserialize(items)
    assert len(loaded) == expected


@pytest.mark.parametrize("path", [DEVICE, BATCH])
def test_a_body_with_too_much_in_it_is_refused_before_it_is_parsed(
    client: FlaskClient, headers: dict[str, str], path: str
) -> None:
    answer = client.post(path, data=BODIES["empty objects"], content_type="application/json", headers=headers)
    assert answer.status_code == 400
    assert "more members" in answer.get_json()["detail"]


def test_the_limits_let_every_valid_body_through(client: FlaskClient, headers: dict[str, str]) -> None:
    text = ",[{" * 33
    device = {"name": text, "kind": "sensor", "model": text, "location": text, "status": "online"}
    answer = client.post(DEVICE, json=device, headers=headers)
    assert answer.status_code == 201
    path = f"{header_of(answer, 'Location')}/readings"
    batch = [{**GOOD, "time": f"2026-11-21T10:00:00.{number:06}Z"} for number in range(MAX_BATCH)]
    assert client.post(path, json={"readings": batch}, headers=headers).get_json()["added"] == MAX_BATCH
    answer = client.post(path, json={"readings": [*batch, GOOD]}, headers=headers)
    assert answer.get_json()["errors"] == {"readings": ["Length must be between 1 and 1000."]}
