"""No bytes on a socket make the issuer answer 500, fail without an answer, or stop serving."""

from __future__ import annotations

import logging
import random
import socket
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import pytest

from mock_issuer import create_app
from mock_issuer.control.http import _OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.mock_issuer.conftest import LiveIssuer

FORM, JSON = b"application/x-www-form-urlencoded", b"application/json"
TYPES = [
    FORM,
    JSON,
    b"text/plain",
    b"multipart/form-data; boundary=x",
    b"multipart/form-data",
    b"",
    b";=",
    b"\xff/\x00",
]
FIELDS = {
    "client_id": "device-app",
    "client_secret": "public-test-secret",
    "audience": "https://device-api.example",
    "resource": "https://device-api.example",
    "scope": "openid https://example.com/team",
    "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
    "device_code": "x",
    "refresh_token": "x",
    "token": "a.b.c",
    "user_code": "BCDF-GHJK",
    "csrf_token": "x",
    "username": "alice",
    "answer": "yes",
    "response_type": "code",
    "redirect_uri": "http://127.0.0.1/callback",
    "code_challenge": "x" * 43,
    "code_challenge_method": "S256",
    "code": "x",
    "code_verifier": "x" * 43,
}
BODIES = [
    b"",
    b"{}",
    urlencode(FIELDS).encode(),
    str(FIELDS).replace("'", '"').encode(),
    b'--x\r\nContent-Disposition: form-data; name="user_code"\r\n\r\nx\r\n--x--\r\n',
    b"[" * 70_000,
    b'{"a":' * 12_000,
]
AUTHORIZATION = b"?" + urlencode(FIELDS).encode()
# What parsers are known to stumble over.
PIECES = [
    *(
        b"\x00",
        b"\xff",
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b" ",
        b"%",
        b"%00",
        b"%ff",
        b"%ed%a0%80",
        b"#",
        b"?",
        b"&&",
        b"=",
        b";",
    ),
    *(b"//", b"/../", b"[::1", b"]", b"@", b":", b"{", b'"', b"\\ud800", b"9" * 5000, b"a" * 70_000, b"-1", b"NaN"),
    *(
        b"HTTP/9.9",
        b"HTTP/1.0",
        b"OPTIONS * ",
        b"Host: [\r\n",
        b"Authorization: Basic \xff\r\n",
        b"Cookie: a=b; =;\xff\r\n",
    ),
    *(
        b"Content-Length: -1\r\n",
        b"Content-Length: 9\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
    ),
    *(
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Accept: text/html;q=x,;\r\n",
        b"Authorization: Bearer e30.e30.e30\r\n",
    ),
    *(b"X-Forwarded-For: \xff\r\n", b"Range: bytes=9-1\r\n", b"If-None-Match: \xff\r\n", b"If-Modified-Since: 9\r\n"),
]


def paths() -> list[bytes]:
    """Return the path of every endpoint, and some of none."""
    rules = {rule.rule for rule in create_app().url_map.iter_rules()}
    rules = {rule.replace("<path:filename>", "pages.css").replace("<path:path>", "x") for rule in rules}
    found = [*(rule for rule in rules if "<" not in rule), *(f"/_mock/{name}" for name in _OPERATIONS), "/nothing"]
    return [path.encode() for path in sorted(found)]


PATHS = paths()


def make_request(chance: random.Random) -> bytes:
    """Return a valid request in most of its parts, with up to three changes."""
    if chance.random() < 0.02:
        return chance.randbytes(chance.randrange(1, 300))
    method = chance.choice([b"GET", b"POST", b"POST", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"X"])
    body = chance.choice(BODIES)
    query = chance.choice([b"", b"", b"?user_code=BCDF-GHJK", b"?x=%ff&scope=a", b"?client_id=x", AUTHORIZATION])
    lines = [
        method + b" " + chance.choice(PATHS) + query + b" HTTP/1.1",
        b"Host: 127.0.0.1",
        b"Connection: close",
        b"Content-Type: " + chance.choice(TYPES),
        b"Content-Length: %d" % len(body),
    ]
    request = b"\r\n".join(lines) + b"\r\n\r\n" + body
    for _ in range(chance.randrange(4)):
        # Mostly in the first line and the headers.
        place = chance.randrange(min(len(request), 300) + 1)
        match chance.randrange(4):
            case 0:
                request = request[:place] + chance.choice(PIECES) + request[place:]
            case 1:
                request = request[:place] + request[place + chance.randrange(20) :]
            case 2:
                request = request[:place] + chance.randbytes(1) + request[place + 1 :]
            case 3:
                start = request.find(b"\r\n") + 2
                request = request[:start] + chance.choice(PIECES) + request[start:]
    return request


def answer(url: str, request: bytes) -> bytes:
    address = urlsplit(url)
    received = b""
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as connection:
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65_536):
                received += part
        except TimeoutError:
            raise
        except OSError:  # reset, broken pipe, not connected
            # The issuer refused the request before it had read it all, and its answer may be lost.
            received = received or b"lost"
    return received


@pytest.fixture
def failures(
    shared_issuer: LiveIssuer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[list[str]]:
    """Exceptions that no endpoint has handled."""
    found: list[str] = []
    monkeypatch.setattr(shared_issuer.server._server, "handle_error", lambda *_: found.append(repr(sys.exception())))

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    handler = Collect(logging.ERROR)
    app: Any = shared_issuer.server._server.app
    app.logger.addHandler(handler)
    shared_issuer.reset()
    yield found
    app.logger.removeHandler(handler)
    shared_issuer.reset()


@pytest.mark.parametrize(
    ("seed", "number"),
    [*((seed, 150) for seed in range(3)), *(pytest.param(seed, 1500, marks=pytest.mark.slow) for seed in range(3, 9))],
)
def test_no_bytes_cause_a_500(shared_issuer: LiveIssuer, failures: list[str], seed: int, number: int) -> None:
    chance = random.Random(seed)
    for _ in range(number):
        request = make_request(chance)
        received = answer(shared_issuer.url, request)
        shown = request[:500]
        assert failures == [], shown
        # An HTTP/0.9 request gets a body without a status line. An empty first line is no request.
        assert received or not request.partition(b"\n")[0].strip(), shown
        assert not received.startswith((b"HTTP/1.1 500", b"HTTP/1.0 500")), shown
        assert b"server_error" not in received, shown
    assert shared_issuer.get("/.well-known/openid-configuration").status_code == 200
