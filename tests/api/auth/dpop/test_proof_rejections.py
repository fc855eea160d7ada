"""Every row of proof_rejections.py over real HTTP: gunicorn, keys from a live issuer, the public address of a proxy."""

import http.client
import json
import time
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from api.auth import Reason
from api.auth.reasons import DETAILS
from tests.api.auth.answers import parse_challenges
from tests.api.auth.dpop.proof_rejections import INVALID_PROOF, INVALID_TOKEN, ISSUERS_KEY, ROWS, Headers, Row, World
from tests.kit.key_server import KeyServer
from tests.kit.processes import running_api
from tests.kit.signing import jwks

PUBLIC_URL = "https://api.example/below"
ALGORITHMS = "ES256 EdDSA Ed25519 RS256 PS256"
METADATA = "https://api.example/.well-known/oauth-protected-resource/below"

pytestmark = pytest.mark.this_project


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with KeyServer() as server:
        server.publish(jwks(ISSUERS_KEY))
        yield server.issuer


@pytest.fixture(scope="module")
def api(issuer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("api")
    with running_api(issuer, directory, API_DPOP="optional", API_PUBLIC_URL=PUBLIC_URL) as url:
        yield url


def exchange(api: str, method: str, path: str, headers: Headers) -> tuple[int, list[tuple[str, str]], bytes]:
    """Send headers as they are, repeated ones too; return status, headers and body."""
    connection = http.client.HTTPConnection(urlsplit(api).netloc, timeout=15)
    try:
        connection.putrequest(method, path)
        for name, value in headers:
            connection.putheader(name, value.encode("latin-1"))
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()
    finally:
        connection.close()


def code(reason: Reason) -> tuple[int, str]:
    """Return status and error code for a reason (RFC 6750 §3.1, RFC 9449 §7.1)."""
    if reason in {Reason.DPOP_HEADER_MALFORMED, Reason.SEVERAL_METHODS}:
        return 400, "invalid_request"
    return 401, INVALID_PROOF if reason.value.startswith("proof_") else INVALID_TOKEN


@pytest.mark.parametrize("row", [pytest.param(row, id=row.what) for row in ROWS])
def test_row(row: Row, api: str, issuer: str) -> None:
    headers = row.send(World(PUBLIC_URL, issuer, int(time.time())))
    status, answer, body = exchange(api, row.method, row.path, headers)
    if row.reason is None:
        assert status == 200, body
        assert [value for name, value in answer if name == "WWW-Authenticate"] == []
        scheme = headers[0][1].partition(" ")[0]
        # A proof opens once; a bearer token needs none.
        again, _, problem = exchange(api, row.method, row.path, headers)
        assert again == (200 if scheme == "Bearer" else 401)
        if scheme != "Bearer" and row.method != "HEAD":
            assert json.loads(problem)["detail"] == DETAILS[Reason.PROOF_REPLAYED]
        return
    expected, error = code(row.reason)
    assert status == expected, body
    if row.method != "HEAD":
        problem_body = json.loads(body)
        assert (problem_body["error"], problem_body["detail"]) == (error, DETAILS[row.reason])
    (challenge,) = (value for name, value in answer if name == "WWW-Authenticate")
    used = "Bearer" if headers[0][1].startswith("Bearer") else "DPoP"
    usual = {"realm": "device-api", "resource_metadata": METADATA}
    of_error = {"error": error, "error_description": DETAILS[row.reason]}
    algorithms = {"DPoP": {"algs": ALGORITHMS}, "Bearer": {}}
    schemes = [used] if expected == 400 else [used, "DPoP" if used == "Bearer" else "Bearer"]
    assert parse_challenges(challenge) == [
        (scheme, {**usual, **(of_error if scheme == used else {}), **algorithms[scheme]}) for scheme in schemes
    ]
    assert "no-store" in dict(answer)["Cache-Control"]


def test_each_row_has_a_name_and_a_reason() -> None:
    assert len(ROWS) >= 100
    assert max(Counter(row.what for row in ROWS).values()) == 1
    assert all(row.why for row in ROWS)


def test_the_rows_have_every_reason_for_which_a_proof_is_refused(api: str, issuer: str) -> None:
    # These need a secret, or two requests: test_dpop.py.
    elsewhere = {Reason.PROOF_NONCE, Reason.PROOF_REPLAYED}
    wanted = {reason for reason in Reason if reason.value.startswith("proof_")} - elsewhere
    assert {row.reason for row in ROWS} >= wanted


def test_without_credentials_the_challenges_name_both_schemes(api: str) -> None:
    status, answer, body = exchange(api, "GET", "/v1/devices", [])
    assert (status, json.loads(body)["error"]) == (401, "missing_credentials")
    usual = {"realm": "device-api", "scope": "read:devices", "resource_metadata": METADATA}
    assert parse_challenges(dict(answer)["WWW-Authenticate"]) == [
        ("Bearer", usual),
        ("DPoP", {**usual, "algs": ALGORITHMS}),
    ]
