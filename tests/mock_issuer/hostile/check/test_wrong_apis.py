"""Each new row fails an API with the mistake that it is about, and passes the same API without that mistake."""

import json
import threading
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import requests
from flask import Flask, Response, request

from tests.kit.key_server import KeyServer
from tests.mock_issuer.hostile.servers import WrongApi, serving

Check = Callable[..., tuple[int, str, str]]

ROWS = [
    # The row, the mistake, severity and level, the answer.
    ("attackers-issuer", {"keys_from": "iss"}, "accepts MUST", "200 after a fetch"),
    ("attackers-issuer-https", {"keys_from": "iss"}, "accepts SHOULD", "401 invalid_token after a fetch"),
    (
        "attackers-issuer-lookalike",
        {"keys_from": "iss", "issuer_prefix": True},
        "accepts MUST",
        "200 after a fetch",
    ),
    ("attackers-jku-served", {"keys_from": "jku"}, "accepts MUST", "200 after a fetch"),
    ("attackers-jku-served-with-good-kid", {"keys_from": "jku"}, "accepts MUST", "200 after a fetch"),
    ("attackers-jku-https", {"keys_from": "jku"}, "accepts SHOULD", "401 invalid_token after a fetch"),
    ("attackers-jku-lookalike", {"keys_from": "jku"}, "accepts MUST", "200 after a fetch"),
    ("attackers-x5u-served", {"keys_from": "x5u"}, "accepts MUST", "200 after a fetch"),
    ("attackers-x5u-https", {"keys_from": "x5u"}, "accepts SHOULD", "401 invalid_token after a fetch"),
    ("attackers-kid-url-served", {"keys_from": "kid"}, "accepts MUST", "200 after a fetch"),
    (
        "attackers-jku-served",
        {"keys_from": "jku", "is_fetch_refused": True},
        "accepts SHOULD",
        "401 invalid_token after a fetch",
    ),
    ("exp-40-minutes-ago", {"leeway_seconds": 2_700}, "accepts MUST", "200"),
    ("issued-in-40-minutes", {"leeway_seconds": 2_700}, "accepts MUST", "200"),
    ("expired-token-in-query", {"reads_query": True, "checks_exp": False}, "accepts MUST", "200"),
    ("alg-none", {"has_error_codes": False}, "differs SHOULD", "401 without error"),
]


def run(check: Check, api: WrongApi, *names: str) -> dict[str, dict[str, Any]]:
    with serving(api.app()) as url:
        _, out, _ = check(url, *(option for name in names for option in ("--only", name)), "--json", "-")
    return {row["name"]: row for row in json.loads(out)["requests"]}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}, {row[2]}")
def test_the_mistake_is_found(issuer: KeyServer, check: Check, row: tuple[str, dict[str, Any], str, str]) -> None:
    name, mistake, severity, received = row
    found = run(check, WrongApi(issuer=issuer, **mistake), name)[name]
    assert (f"{found['verdict']} {found['level']}", found["received"]) == (severity, received)


def test_without_the_mistake_nothing_is_found(issuer: KeyServer, check: Check) -> None:
    rows = run(check, WrongApi(issuer=issuer), *{name for name, *_ in ROWS})
    assert {name: row["verdict"] for name, row in rows.items()} == dict.fromkeys(rows, "right")


def test_what_an_rfc_permits_is_right(issuer: KeyServer, check: Check) -> None:
    # This API accepts a token in the query, a list of scopes and an empty sub.
    names = ("token-in-query", "token-in-query-and-basic", "expired-token-in-query", "scope-list", "sub-empty")
    rows = run(check, WrongApi(issuer=issuer, reads_query=True), *names)
    assert {name: row["verdict"] for name, row in rows.items()} == dict.fromkeys(names, "right")


def test_a_fetch_after_the_answer_is_seen(issuer: KeyServer, check: Check) -> None:
    app = Flask("late")

    @app.get("/")
    def view() -> Response:
        address = jwt.get_unverified_header(request.headers["Authorization"].removeprefix("Bearer ")).get("jku")
        if address is None:
            return Response()
        threading.Timer(0.05, requests.get, (address,), {"timeout": 5}).start()
        return Response(status=401, headers={"WWW-Authenticate": "Bearer error=invalid_token"})

    with serving(app) as url:
        _, out, _ = check(url, "--only", "attackers-jku-served")
    assert "401 invalid_token after a fetch; expected 401 invalid_token" in out
