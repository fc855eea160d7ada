"""Strict parsing of bodies, on the route that registers a device."""

import io
import json

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.kit.key_server import KeyServer
from tests.kit.running_api import Bearer

GOOD = b'{"name": "Lamp", "kind": "sensor", "model": "M"}'


def with_name(name: bytes) -> bytes:
    return b'{"kind": "sensor", "model": "M", "name": ' + name + b"}"


@pytest.fixture
def key_server(shared_key_server: KeyServer) -> KeyServer:
    return shared_key_server


@pytest.fixture
def app(shared_app: Flask) -> Flask:
    return shared_app


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
@pytest.mark.parametrize("body", [GOOD, b" \r\n\t" + GOOD + b"\n"])
def test_good_bodies(client: FlaskClient, bearer: Bearer, content_type: str, body: bytes) -> None:
    answer = client.post("/v1/devices", data=body, content_type=content_type, headers=bearer(scope="write:devices"))
    assert answer.status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"x"',
        b"5",
        b"{",
        b"{}{}",
        GOOD + b"x",
        b"name=Lamp",
        b"\xef\xbb\xbf" + GOOD,
        GOOD.decode().encode("utf-16"),
        with_name(b'"\xff"'),
        with_name(b'"\xed\xa0\x80"'),
        with_name(b'"\\ud800"'),
        with_name(b'"a", "name": "b"'),
        with_name(b'"a", "more": {"x": 1, "x": 2}'),
        with_name(b"NaN"),
        with_name(b"-Infinity"),
        with_name(b"[" * 100_000),
        with_name(b"[" * 20 + b"]" * 20),
        with_name(b"1" * 5_000),
        with_name(b"01"),
        with_name(b"'x'"),
    ],
)
def test_invalid_and_ambiguous_json(client: FlaskClient, bearer: Bearer, body: bytes) -> None:
    answer = client.post(
        "/v1/devices", data=body, content_type="application/json", headers=bearer(scope="write:devices")
    )
    assert answer.status_code == 400
    assert answer.mimetype == "application/problem+json"
    assert answer.get_json()["error"] == "invalid_request"


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"{", "not valid JSON (line 1, column 2)"),
        (b"{geheim}", "not valid JSON (line 1, column 2)"),
        (b'{"name": "geheim",}', "not valid JSON (line 1, column 19)"),
        (b'{\n  "name": "geheim",\n  "kind": geheim\n}', "not valid JSON (line 3, column 11)"),
        (b'\r\n \t{\r\n  "name": geheim}', "not valid JSON (line 3, column 11)"),
        ('{"name": "ééé", geheim}'.encode(), "not valid JSON (line 1, column 17)"),
        (GOOD + b"\ngeheim", "not valid JSON (line 2, column 1)"),
        (b'{"a": 1} {"geheim": 2}', "not valid JSON (line 1, column 10)"),
        (b'{"name": "geheim', "not valid JSON (line 1, column 10)"),
        (b'{"name": "geheim\n"}', "not valid JSON (line 1, column 17)"),
        (b'{\n"name": "geheim\xff"}', "not UTF-8 (line 2, column 16)"),
        ('{\n"é": "'.encode() + b"\xed\xa0\x80", "not UTF-8 (line 2, column 7)"),
    ],
)
def test_says_where_a_body_is_not_json_and_nothing_of_it(
    client: FlaskClient, bearer: Bearer, body: bytes, place: str
) -> None:
    answer = client.post(
        "/v1/devices", data=body, content_type="application/json", headers=bearer(scope="write:devices")
    )
    assert answer.status_code == 400
    assert answer.get_json()["detail"] == f"The body is {place}."


@pytest.mark.parametrize("body", [b"", b"[]", b"name=Lamp", with_name(b"NaN"), with_name(b'"a", "name": "b"')])
def test_says_what_a_body_must_be(client: FlaskClient, bearer: Bearer, body: bytes) -> None:
    answer = client.post(
        "/v1/devices", data=body, content_type="application/json", headers=bearer(scope="write:devices")
    )
    sentence = "The body must be one JSON object in UTF-8, without duplicate members and without NaN or Infinity."
    assert answer.get_json()["detail"] == sentence


@pytest.mark.parametrize("name", [b"1e400", b"-1e400", b"1", b"true", b"{}", b'"a\\u0000"'])
def test_good_json_with_a_wrong_member(client: FlaskClient, bearer: Bearer, name: bytes) -> None:
    answer = client.post(
        "/v1/devices", data=with_name(name), content_type="application/json", headers=bearer(scope="write:devices")
    )
    assert answer.status_code == 422
    assert list(answer.get_json()["errors"]) == ["name"]


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "text/json", "x"]
)
def test_another_media_type(client: FlaskClient, bearer: Bearer, content_type: str | None) -> None:
    answer = client.post("/v1/devices", data=GOOD, content_type=content_type, headers=bearer(scope="write:devices"))
    assert answer.status_code == 415
    assert answer.get_json()["error"] == "unsupported_media_type"
    assert answer.headers.get("Accept") == "application/json"


def test_a_compressed_body(client: FlaskClient, bearer: Bearer) -> None:
    headers = {**bearer(scope="write:devices"), "Content-Encoding": "gzip"}
    answer = client.post("/v1/devices", data=GOOD, content_type="application/json", headers=headers)
    assert answer.status_code == 415
    assert answer.headers.get("Accept-Encoding") == "identity"


def test_a_body_that_is_too_large(client: FlaskClient, bearer: Bearer) -> None:
    body = json.dumps({"name": "x" * 1024 * 1024})
    answer = client.post(
        "/v1/devices", data=body, content_type="application/json", headers=bearer(scope="write:devices")
    )
    assert answer.status_code == 413
    assert answer.get_json()["error"] == "content_too_large"


@pytest.mark.parametrize(("more", "status"), [(b"", 201), (b" ", 413), (b"x" * 100_000, 413)])
def test_a_chunked_body_has_the_same_limit(client: FlaskClient, bearer: Bearer, more: bytes, status: int) -> None:
    body = io.BytesIO(GOOD.ljust(1024 * 1024) + more)
    answer = client.post(
        "/v1/devices",
        input_stream=body,
        content_type="application/json",
        headers={**bearer(scope="write:devices"), "Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert answer.status_code == status


def test_a_long_member_name_is_truncated_in_errors(client: FlaskClient, bearer: Bearer) -> None:
    answer = client.post("/v1/devices", json={"x" * 900_000: 1}, headers=bearer(scope="write:devices"))
    assert answer.status_code == 422
    assert len(answer.data) < 2_000


def test_a_query_with_a_body_is_refused(client: FlaskClient, bearer: Bearer) -> None:
    answer = client.post("/v1/devices?limit=1", json={}, headers=bearer(scope="write:devices"))
    assert answer.status_code == 400
    assert list(answer.get_json()["errors"]) == ["limit"]


def test_the_token_is_verified_before_the_body(client: FlaskClient, bearer: Bearer) -> None:
    for headers, status in (({}, 401), (bearer(scope="read:devices"), 403)):
        answer = client.post("/v1/devices", data=b"\xff", content_type="x", headers=headers)
        assert answer.status_code == status
