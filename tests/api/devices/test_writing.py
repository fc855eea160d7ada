"""Registering, changing and deleting devices over HTTP."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask

from api.app import create_app
from api.settings import Settings
from tests.api.devices.conftest import EVERYTHING, LAMP, Send
from tests.kit.headers import header_of
from tests.kit.running_api import Bearer

WRONG_MEMBERS: list[tuple[str, Any]] = [
    ("name", ""),
    ("name", "x" * 101),
    ("name", 5),
    ("name", ["x"]),
    ("name", "a\nb"),
    ("name", "a\x00"),
    ("name", "a\x9f"),
    ("name", "a\n"),
    ("name", None),
    ("kind", "toaster"),
    ("kind", None),
    ("kind", ["hub"]),
    ("kind", {}),
    ("model", ""),
    ("model", True),
    ("location", ""),
    ("location", 1.5),
    ("location", "x" * 101),
    ("status", "ONLINE"),
    ("status", None),
    ("id", "dev_00000000000000000000"),
    ("created_at", "2026-01-01T00:00:00Z"),
    ("last_seen_at", None),
    ("version", 1),
    ("subject", "bob"),
    ("issuer", "x"),
    ("", 1),
]


def test_a_device_is_registered(send: Send) -> None:
    before = datetime.now(UTC)
    created = send("POST", "/v1/devices", 201, json={**LAMP, "location": "Attic", "status": "online"})
    body = created.get_json()
    assert body == {
        **LAMP,
        "location": "Attic",
        "status": "online",
        "id": body["id"],
        "created_at": body["created_at"],
        "last_seen_at": None,
    }
    assert before <= datetime.fromisoformat(body["created_at"]) <= datetime.now(UTC)
    assert created.headers.get("Location") == f"/v1/devices/{body['id']}"
    shown = send("GET", header_of(created, "Location"), 200)
    assert shown.get_json() == body
    assert header_of(shown, "ETag") == header_of(created, "ETag")
    assert send("GET", "/v1/devices", 200).get_json()["items"] == [body]


def test_location_is_below_the_path_of_the_public_url(settings: Settings, database_url: str, bearer: Bearer) -> None:
    app = create_app(replace(settings, database_url=database_url, public_url="https://api.example/home/"))
    headers = {**bearer(scope=EVERYTHING), "Host": "elsewhere.example"}
    response = app.test_client().post("/v1/devices", json=LAMP, headers=headers)
    assert response.headers.get("Location") == f"/home/v1/devices/{response.get_json()['id']}"
    app.extensions["device_store"].close()


def test_optional_members_have_defaults(send: Send) -> None:
    body = send("POST", "/v1/devices", 201, json=LAMP).get_json()
    assert (body["location"], body["status"]) == (None, "offline")


def test_long_and_unusual_texts_are_stored_unchanged(send: Send) -> None:
    for text in ("\U0001f373" * 100, " ", "<b>'\"\\", "\U0001f469\u200d\U0001f4bb", "a\u0301"):
        made = send("POST", "/v1/devices", 201, json={**LAMP, "name": text, "model": text, "location": text})
        body = send("GET", header_of(made, "Location"), 200).get_json()
        assert (body["name"], body["model"], body["location"]) == (text, text, text)


@pytest.mark.parametrize(("member", "value"), WRONG_MEMBERS)
def test_invalid_members_are_reported_and_change_nothing(send: Send, device: str, member: str, value: object) -> None:
    before = send("GET", device, 200)
    for method, path in (("POST", "/v1/devices"), ("PATCH", device)):
        problem = send(method, path, 422, json={**LAMP, member: value}).get_json()
        assert problem["error"] == "validation_failed"
        assert list(problem["errors"]) == [member]
        assert all(isinstance(reason, str) and reason for reason in problem["errors"][member])
    assert send("GET", "/v1/devices", 200).get_json()["items"] == [before.get_json()]
    assert header_of(send("GET", device, 200), "ETag") == header_of(before, "ETag")


def test_all_invalid_members_are_reported_together(send: Send) -> None:
    problem = send("POST", "/v1/devices", 422, json={"kind": "toaster", "more": 1, "_schema": 1}).get_json()
    assert set(problem["errors"]) == {"name", "kind", "model", "more", "_schema"}


# PATCH


def test_a_patch_changes_what_it_names(send: Send, device: str) -> None:
    before = send("GET", device, 200)
    patched = send("PATCH", device, 200, json={"name": "Other", "location": "Attic"})
    assert patched.get_json() == {**before.get_json(), "name": "Other", "location": "Attic"}
    assert header_of(patched, "ETag") != header_of(before, "ETag")
    after = send("GET", device, 200)
    assert (after.get_json(), header_of(after, "ETag")) == (patched.get_json(), header_of(patched, "ETag"))
    assert send("PATCH", device, 200, json={"location": None}).get_json()["location"] is None


def test_an_empty_patch_changes_nothing(send: Send, device: str) -> None:
    before = send("GET", device, 200)
    after = send("PATCH", device, 200, json={})
    assert (after.get_json(), header_of(after, "ETag")) == (before.get_json(), header_of(before, "ETag"))


def test_only_a_patch_may_be_a_merge_patch(send: Send, device: str) -> None:
    send("PATCH", device, 200, data='{"name": "x"}', content_type="application/merge-patch+json")
    refused = send("PATCH", device, 415, data="[]", content_type="application/json-patch+json")
    assert refused.headers.get("Accept-Patch") == "application/merge-patch+json, application/json"
    send("POST", "/v1/devices", 415, data="{}", content_type="application/merge-patch+json")


# Conditions


def test_if_none_match_with_the_current_tag_gives_304(send: Send, device: str) -> None:
    tag = header_of(send("GET", device, 200), "ETag")
    for value in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        for method in ("GET", "HEAD"):
            unchanged = send(method, device, 304, headers={"If-None-Match": value})
            assert unchanged.data == b""
            assert unchanged.headers.get("ETag") == tag
            assert unchanged.headers.get("Cache-Control") == "private, no-cache"
            assert "Content-Type" not in unchanged.headers
    send("PATCH", device, 200, json={"name": "x"})
    for value in (tag, f"W/{tag}", '"other"', '""'):
        send("GET", device, 200, headers={"If-None-Match": value})


@pytest.mark.parametrize("value", ["", "1", '"1', '"1" "2"', '"1", x', "W/*", "*, *", '"a b"', 'w/"1"'])
def test_a_malformed_condition_is_not_ignored(send: Send, device: str, value: str) -> None:
    for method, name in (("GET", "If-None-Match"), ("GET", "If-Match"), ("PATCH", "If-Match"), ("DELETE", "If-Match")):
        body: dict[str, Any] = {"json": {"name": "x"}} if method == "PATCH" else {}
        problem = send(method, device, 400, headers={name: value}, **body).get_json()
        assert list(problem["errors"]) == [name]
    assert send("GET", device, 200).get_json()["name"] == LAMP["name"]


def test_if_match_must_name_the_current_version_for_a_change(send: Send, device: str) -> None:
    old = header_of(send("GET", device, 200), "ETag")
    new = header_of(send("PATCH", device, 200, json={"name": "x"}, headers={"If-Match": f'"other", {old}'}), "ETag")
    for method, body in (("PATCH", {"json": {"name": "y"}}), ("PATCH", {"json": {}}), ("DELETE", {})):
        for value in (old, '"other"', f"W/{new}", '"99999999999999999999"'):
            problem = send(method, device, 412, headers={"If-Match": value}, **body).get_json()
            assert problem["error"] == "precondition_failed"
    assert send("GET", device, 200).get_json()["name"] == "x"
    send("PATCH", device, 200, json={"name": "z"}, headers={"If-Match": "*"})
    send("DELETE", device, 412, headers={"If-Match": new})
    send("DELETE", device, 204, headers={"If-Match": header_of(send("GET", device, 200), "ETag")})


def test_if_match_must_name_the_current_version_for_reading(send: Send, device: str) -> None:
    tag = header_of(send("GET", device, 200), "ETag")
    for method in ("GET", "HEAD"):
        for value in (tag, f'"other", {tag}', "*"):
            send(method, device, 200, headers={"If-Match": value})
            send(method, device, 304, headers={"If-Match": value, "If-None-Match": tag})
        for value in ('"other"', f"W/{tag}", '"99999999999999999999"'):
            send(method, device, 412, headers={"If-Match": value})
            send(method, device, 412, headers={"If-Match": value, "If-None-Match": tag})


@pytest.mark.parametrize("value", ["*", '"1"', '"other"', "unreadable"])
def test_a_change_with_if_none_match_is_refused(send: Send, device: str, value: str) -> None:
    for method, body in (("PATCH", {"json": {"name": "x"}}), ("PATCH", {"json": {}}), ("DELETE", {})):
        problem = send(method, device, 400, headers={"If-None-Match": value}, **body).get_json()
        assert list(problem["errors"]) == ["If-None-Match"]
    assert send("GET", device, 200).get_json()["name"] == LAMP["name"]


def test_a_condition_on_an_unknown_device_is_404(send: Send, device: str) -> None:
    send("DELETE", device, 204)
    for value in ("*", '"1"'):
        send("PATCH", device, 404, json={"name": "x"}, headers={"If-Match": value})
        send("DELETE", device, 404, headers={"If-Match": value})
        send("GET", device, 404, headers={"If-None-Match": value})


def test_the_body_is_validated_before_the_condition(send: Send, device: str) -> None:
    send("PATCH", device, 422, json={"name": 1}, headers={"If-Match": '"other"'})


def test_every_visible_change_changes_the_etag(send: Send, device: str) -> None:
    tags = [header_of(send("GET", device, 200), "ETag")]
    for changes in ({"name": "a"}, {"name": "b"}, {"name": "a"}):
        send("PATCH", device, 200, json=changes)
        tags.append(header_of(send("GET", device, 200), "ETag"))
    reading = {"time": "2026-01-01T00:00:00Z", "metric": "power", "value": 1, "unit": "W"}
    send("POST", f"{device}/readings", 200, json={"readings": [reading]})
    tags.append(header_of(send("GET", device, 200), "ETag"))
    assert len(set(tags)) == len(tags)


def test_no_update_is_lost_among_clients_that_use_if_match(app: Flask, bearer: Bearer, device: str) -> None:
    headers = bearer(sub="alice", scope=EVERYTHING)

    def append(letter: str) -> None:
        client = app.test_client()
        while True:
            shown = client.get(device, headers=headers)
            name = shown.get_json()["name"] + letter
            sent = client.patch(device, json={"name": name}, headers={**headers, "If-Match": header_of(shown, "ETag")})
            if sent.status_code == 200:
                return
            assert sent.status_code == 412

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(append, "abcdefghijkl"))
    name = app.test_client().get(device, headers=headers).get_json()["name"]
    assert sorted(name.removeprefix(LAMP["name"])) == list("abcdefghijkl")


# DELETE


def test_a_deleted_device_is_gone(send: Send, device: str) -> None:
    gone = send("DELETE", device, 204)
    assert gone.data == b""
    assert "Content-Type" not in gone.headers
    for method in ("GET", "DELETE"):
        send(method, device, 404)
    assert send("GET", "/v1/devices", 200).get_json()["items"] == []


# Idempotency-Key


def test_a_repeated_request_gets_the_same_answer(send: Send) -> None:
    first, second, third = (
        send("POST", "/v1/devices", 201, json=body, headers={"Idempotency-Key": key})
        for body, key in ((LAMP, '"k 1"'), (LAMP, '"k 1"'), (dict(reversed(LAMP.items())), '"k 1"'))
    )
    for again in (second, third):
        assert again.get_json() == first.get_json()
        assert header_of(again, "Location") == header_of(first, "Location")
        assert header_of(again, "ETag") == header_of(first, "ETag")
    assert len(send("GET", "/v1/devices", 200).get_json()["items"]) == 1
    # Quoted or not, it is the same key.
    send("POST", "/v1/devices", 201, json=LAMP, headers={"Idempotency-Key": "abc"})
    send("POST", "/v1/devices", 201, json=LAMP, headers={"Idempotency-Key": '"abc"'})
    assert len(send("GET", "/v1/devices", 200).get_json()["items"]) == 2


def test_a_key_with_another_body_is_refused(send: Send) -> None:
    send("POST", "/v1/devices", 201, json=LAMP, headers={"Idempotency-Key": "abc"})
    for changed in ({**LAMP, "name": "x"}, {**LAMP, "location": None}):
        problem = send("POST", "/v1/devices", 422, json=changed, headers={"Idempotency-Key": "abc"}).get_json()
        assert problem["error"] == "idempotency_key_reused"
    assert len(send("GET", "/v1/devices", 200).get_json()["items"]) == 1


def test_a_failed_request_does_not_use_up_its_key(send: Send) -> None:
    send("POST", "/v1/devices", 422, json={}, headers={"Idempotency-Key": "abc"})
    send("POST", "/v1/devices", 201, json=LAMP, headers={"Idempotency-Key": "abc"})


def test_the_same_key_of_another_owner_is_another_key(send: Send) -> None:
    mine = header_of(send("POST", "/v1/devices", 201, json=LAMP, headers={"Idempotency-Key": "abc"}), "Location")
    theirs = send("POST", "/v1/devices", 201, json=LAMP, headers={"Idempotency-Key": "abc"}, sub="bob")
    assert header_of(theirs, "Location") != mine
    # The answer does not reveal how another caller used the key.
    send("POST", "/v1/devices", 201, json={**LAMP, "name": "x"}, headers={"Idempotency-Key": "abc"}, sub="eve")


@pytest.mark.parametrize(
    "key", ["", "x" * 256, '""', f'"{"x" * 256}"', 'a"b', '"a', '"a"b"', "a,b", "a b", "é", '"a\\b"']
)
def test_a_malformed_key_is_refused(send: Send, key: str) -> None:
    problem = send("POST", "/v1/devices", 400, json=LAMP, headers={"Idempotency-Key": key}).get_json()
    assert list(problem["errors"]) == ["Idempotency-Key"]
    assert send("GET", "/v1/devices", 200).get_json()["items"] == []


@pytest.mark.parametrize(
    "key", ["x", "x" * 255, f'"{"x" * 255}"', "8e03978e-40d5-43dd-bc93-6894a57f9324", "!#$%&'()*+-./"]
)
def test_valid_keys(send: Send, key: str) -> None:
    for _ in range(2):
        send("POST", "/v1/devices", 201, json=LAMP, headers={"Idempotency-Key": key})
    assert len(send("GET", "/v1/devices", 200).get_json()["items"]) == 1


def test_concurrent_repetitions_create_one_device(app: Flask, bearer: Bearer) -> None:
    headers = {**bearer(sub="alice", scope=EVERYTHING), "Idempotency-Key": "abc"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: app.test_client().post("/v1/devices", json=LAMP, headers=headers), range(16)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({header_of(answer, "Location") for answer in answers}) == 1
