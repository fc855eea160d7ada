"""The mock issuer's table of hostile requests against the API in process, which has to give one exact answer to each.

The table allows each API several answers where the RFCs do. What only this API decides is in rejections.py.
"""

import logging
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder, run_wsgi_app

from api.app import create_app
from api.auth import AuthConfig, TrustedIssuer
from api.database.schema import upgrade
from api.settings import Settings
from mock_issuer.hostile.addresses import address_requests
from mock_issuer.hostile.check.attackers_servers import AttackersServers
from mock_issuer.hostile.request import HostileRequest
from mock_issuer.hostile.table import hostile_requests
from tests.api.auth.answers import Answer, Response, assert_answer
from tests.api.auth.rejections import usual_signature
from tests.kit.key_server import KeyServer
from tests.kit.signing import AUDIENCE, jwks, rsa_key

pytestmark = pytest.mark.this_project
SCOPE = "read:devices"
KEY = rsa_key(0, "key-1")
PUBLIC_URL = "https://api.example"
OK, OTHER_SCHEME, LACKS_SCOPE = Answer(200), Answer(401, scope=SCOPE), Answer(403, "insufficient_scope", SCOPE)
# Our answer where the table allows several and recommends another.
OURS = {
    "token-without-scheme": OTHER_SCHEME,
    "empty-authorization": OTHER_SCHEME,
    "colon-after-scheme": OTHER_SCHEME,
    "nbsp-for-space": OTHER_SCHEME,
    "token-in-query-and-basic": OTHER_SCHEME,
    "long-token": Answer(401, "invalid_token"),
    "typ-jwt": OK,
    "typ-missing": OK,
    "typ-upper-case": OK,
    "header-1e400": OK,
    "payload-1e400": OK,
    "iat-missing": OK,
    "client-id-missing": OK,
    "jti-missing": OK,
    "scope-empty": LACKS_SCOPE,
    "scope-comma-separated": LACKS_SCOPE,
    "scope-plus-separated": LACKS_SCOPE,
}
# gunicorn answers these, so that no application sees them: see rejections.py, and test_check.py of the mock issuer.
ANSWERED_BY_SERVER = {"folded-line", "nul-in-token", "control-character-in-token"}


class Signer:
    """The issuer's keys, as the table needs them."""

    kid = "key-1"

    def sign_raw(self, signing_input: bytes) -> bytes:
        return usual_signature("RS256", KEY.private_key, signing_input)

    def jwks(self) -> dict[str, Any]:
        return {"keys": [KEY.jwk(), rsa_key(1, "key-2").jwk()]}


def sent(request: HostileRequest) -> bytes:
    """Return the request as HTTP has it, for what no answer may repeat."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in request.headers)
    return f"GET /v1/devices?{request.query} HTTP/1.1\r\n{fields}\r\n".encode("latin-1")


def exchange(app: Flask, request: HostileRequest) -> Response:
    environ = EnvironBuilder(path="/v1/devices", query_string=request.query).get_environ()
    for name, value in request.headers:
        # As gunicorn: without white space around the value, repeated headers joined with a comma.
        key, stripped = f"HTTP_{name.upper().replace('-', '_')}", value.strip(" \t")
        environ[key] = f"{environ[key]},{stripped}" if key in environ else stripped
    body, status, headers = run_wsgi_app(app, environ, buffered=True)
    fields = [(name.lower(), value) for name, value in headers]
    whole = b"".join(body)
    head = f"{status}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields)
    return Response(int(status[:3]), fields, whole, head.encode("latin-1") + whole)


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with KeyServer() as server:
        server.publish(jwks(KEY, rsa_key(1, "key-2")))
        yield server.issuer


@pytest.fixture(scope="module")
def app(issuer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    database_url = f"sqlite:///{tmp_path_factory.mktemp('hostile')}/devices.db"
    upgrade(database_url)
    trusted = TrustedIssuer(identifier=issuer, audiences=(AUDIENCE,))
    app = create_app(
        Settings(
            auth=AuthConfig(issuers=(trusted,)),
            database_url=database_url,
            public_url=PUBLIC_URL,
            log_level=logging.CRITICAL,
        )
    )
    yield app
    app.extensions["device_store"].close()


def expected(request: HostileRequest) -> Answer:
    if request.name in OURS:
        return OURS[request.name]
    status, error = request.answers[0]
    if error == "insufficient_scope":
        return LACKS_SCOPE
    return Answer(status, error, scope=SCOPE if error is None and status == 401 else None)


def test_every_hostile_request(app: Flask, issuer: str) -> None:
    requests = hostile_requests(Signer(), issuer=issuer, audience=AUDIENCE, scope=SCOPE, now=int(time.time()))
    assert OURS.keys() | ANSWERED_BY_SERVER <= {request.name for request in requests}
    assert_answers(app, requests)


def test_no_address_in_a_token_is_fetched(app: Flask, issuer: str) -> None:
    good = hostile_requests(Signer(), issuer=issuer, audience=AUDIENCE, scope=SCOPE, now=int(time.time()))[0]
    with AttackersServers(kid="key-1", issuer=issuer) as servers:
        requests = list(address_requests(good, servers.open_port))
        assert len(requests) == 10
        assert_answers(app, requests)
        assert not any(servers.fetched(request.name) for request in requests)


def assert_answers(app: Flask, requests: Iterable[HostileRequest]) -> None:
    metadata = f"{PUBLIC_URL}/.well-known/oauth-protected-resource"
    mistakes = {}
    for request in requests:
        if request.name in ANSWERED_BY_SERVER:
            continue
        answer = expected(request)
        assert (answer.status, answer.error) in request.answers, request.name
        try:
            # Twice: a token that was verified before takes another path through the verifier.
            for _ in range(2):
                assert_answer(exchange(app, request), answer, sent(request), metadata)
        except AssertionError as exc:
            mistakes[request.name] = str(exc)
    assert mistakes == {}
