"""The check against live APIs: this project's, the quickstart of PyJWT, and broken ones."""

import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from flask import Flask, Response, abort, redirect, request
from werkzeug.serving import WSGIRequestHandler, make_server

from api.settings import Settings
from mock_issuer import Server
from mock_issuer.flow.keys import SigningKeys
from mock_issuer.hostile.check import main
from mock_issuer.hostile.request import to_json
from mock_issuer.hostile.table import hostile_requests
from tests.kit.key_server import KeyServer, document
from tests.kit.processes import ROOT, running_api
from tests.kit.signing import AUDIENCE

SCOPE = "read:devices"


class Silent(WSGIRequestHandler):
    def log(self, *_args: Any) -> None:
        pass


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Silent)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def keys() -> SigningKeys:
    return SigningKeys()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Turn off the API's log, which would mix with the check's standard output."""
    return replace(settings, log_level=logging.CRITICAL)


@pytest.fixture(scope="module")
def key_server(keys: SigningKeys) -> Iterator[KeyServer]:
    """Serve a table for each scope, made once: each takes 300 signatures."""
    with KeyServer() as server:
        for scope in (SCOPE, "", "read:unknown"):
            publish_table(server, keys, scope)
        yield server


@pytest.fixture
def issuer(key_server: KeyServer, keys: SigningKeys) -> KeyServer:
    """Publish the keys again, since some tests break them."""
    key_server.publish(json.dumps(keys.jwks()).encode())
    return key_server


def publish_table(key_server: KeyServer, keys: SigningKeys, scope: str, **query: str) -> None:
    audience = query.get("audience", AUDIENCE)
    rows = hostile_requests(keys, issuer=key_server.issuer, audience=audience, scope=scope, now=int(time.time()))
    body = json.dumps({"requests": [to_json(row) for row in rows]}).encode()
    key_server.answers[f"/_mock/hostile?{urlencode({'scope': scope, **query})}"] = document(body)


Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def check(issuer: KeyServer, capsys: pytest.CaptureFixture[str]) -> Check:
    """Return a function that runs the check and returns its status and output; check that it prints no token."""

    def run(url: str, *options: str, scope: str = SCOPE) -> tuple[int, str, str]:
        status = main([url, "--scope", scope, "--issuer", issuer.issuer, *options])
        out, err = capsys.readouterr()
        assert "eyJ" not in out + err
        assert max((len(line) for line in (out + err).splitlines()), default=0) <= 100
        return status, out, err

    return run


@pytest.mark.slow
def test_this_projects_api_passes_the_check(tmp_path: Path) -> None:
    # The real issuer, the command, and gunicorn: Werkzeug's server keeps white space after a header's value.
    with Server() as issuer, running_api(issuer.url, tmp_path, API_LOG_LEVEL="error") as url:
        for path, scope in (("/v1/devices", SCOPE), ("/v1/devices?limit=5", SCOPE), ("/v1/me", "")):
            command = [sys.executable, "-m", "mock_issuer", "check", url + path, "--scope", scope]
            done = subprocess.run(
                [*command, "--issuer", issuer.url], cwd=ROOT, capture_output=True, text=True, check=False
            )
            total = done.stdout.split()[0]
            assert done.stdout == f"{total} of {total} correct\n"
            assert int(total) > 300
            assert (done.returncode, done.stderr) == (0, "")


def quickstart(issuer: KeyServer) -> Flask:
    """Return an API that verifies tokens as PyJWT's documentation shows."""
    app = Flask("quickstart")
    jwks_client = jwt.PyJWKClient(issuer.jwks_url)

    @app.get("/devices")
    def devices() -> dict[str, str]:
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            abort(Response(status=401, headers={"WWW-Authenticate": "Bearer"}))
        try:
            key = jwks_client.get_signing_key_from_jwt(token.strip())
            claims = jwt.decode(token.strip(), key, algorithms=["RS256"], audience=AUDIENCE, issuer=issuer.issuer)
        except jwt.PyJWTError:
            abort(Response(status=401, headers=challenge))
        if SCOPE not in claims.get("scope", "").split():
            abort(Response(status=403, headers={"WWW-Authenticate": 'Bearer error="insufficient_scope"'}))
        return {"sub": claims["sub"]}

    return app


def test_the_quickstart_fails_some_requests(issuer: KeyServer, check: Check) -> None:
    with serving(quickstart(issuer)) as url:
        status, out, _ = check(f"{url}/devices")
    wrong = {line.split()[0]: line for line in out.splitlines()[2:] if line and not line.startswith(" ")}
    # Accepted, among others: any typ, padding, invalid JSON, scopes split at any white space.
    for name in (
        "typ-logout-jwt",
        "padded",
        "payload-nan",
        "exp-string",
        "nbf-false",
        "scope-nbsp-separated",
    ):
        assert wrong[name].endswith("  200"), name
    # A scope of another type causes a 500.
    for name in ("scope-number", "scope-list"):
        assert wrong[name].endswith("  500"), name
    for name in ("good-token", "alg-none", "hs256-with-pem", "iss-other", "aud-other", "exp-an-hour-ago", "typ-jwt"):
        assert name not in wrong
    right, _, total, _ = out.splitlines()[-1].split()
    assert 300 < int(right) < int(total)
    assert status == 1


def test_the_reason_is_printed_under_each_mistake(issuer: KeyServer, check: Check) -> None:
    with serving(quickstart(issuer)) as url:
        _, out, _ = check(f"{url}/devices")
    assert (
        f"{'typ-dpop-jwt':32}  {'401 invalid_token':30}  200\n"
        "    An access token has the typ at+jwt, RFC 9068 §4; any other is refused.\n"
    ) in out


def test_an_api_without_authentication_fails_most_requests(check: Check) -> None:
    app = Flask("open")
    app.add_url_rule("/", view_func=lambda: "welcome")
    with serving(app) as url:
        status, out, _ = check(url)
    assert status == 1
    right, _, total, _ = out.splitlines()[-1].split()
    assert int(right) < 70
    assert int(total) > 300
    assert "\nno-credentials " in out


def test_headers_are_sent_unchanged(check: Check) -> None:
    seen: list[list[str]] = []
    app = Flask("witness")

    @app.get("/")
    def witness() -> str:
        seen.append([request.headers.get("Authorization", ""), request.query_string.decode()])
        return ""

    with serving(app) as url:
        check(f"{url}?a=b")
    assert any("," in authorization and "Bearer" in authorization.partition(",")[2] for authorization, _ in seen)
    assert any("\xe9" in authorization for authorization, _ in seen)
    assert any(query.startswith("a=b&access_token=") for _, query in seen)
    assert ["", "a=b"] in seen


def test_redirects_are_not_followed(check: Check) -> None:
    app = Flask("redirecting")

    @app.get("/")
    def view() -> Any:
        return "good" if "Authorization" in request.headers else redirect("/login")

    @app.get("/login")
    def login() -> Any:
        return Response(status=401, headers={"WWW-Authenticate": "Bearer"})

    with serving(app) as url:
        status, out, _ = check(url)
    assert status == 1
    line = next(line for line in out.splitlines() if line.startswith("no-credentials"))
    assert line.endswith("  302")


@contextmanager
def answering(answers: Callable[[bytes], bytes | None], *, once: bool = False) -> Iterator[str]:
    """Serve raw answers; None closes the connection. With `once`, stop listening after the first connection."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    if over.is_set():
                        return
                    answer = answers(connection.recv(20_000))
                    if answer is not None:
                        connection.sendall(answer)
                    if once:
                        listener.close()
                        return

        port = listener.getsockname()[1]
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}/"
        finally:
            over.set()
            if not once:
                socket.create_connection(("127.0.0.1", port)).close()
            thread.join()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def test_a_dropped_connection_is_wrong(check: Check) -> None:
    def answer(received: bytes) -> bytes | None:
        return None if b"Authorization" not in received else OK

    with answering(answer) as url:
        status, out, _ = check(url)
    assert status == 1
    assert next(line for line in out.splitlines() if line.startswith("no-credentials")).endswith(
        "no answer (RemoteDisconnected)"
    )
    assert "were not sent" not in out


def test_the_check_ends_when_the_api_stops_answering(check: Check) -> None:
    with answering(lambda _received: OK, once=True) as url:
        status, out, _ = check(url)
    assert status == 1
    assert "no answer (Connection" in out
    assert "The API stopped answering; " in out
    assert out.splitlines()[-1].startswith("0 of ")


def test_an_answer_that_is_not_http_is_wrong(check: Check) -> None:
    with answering(lambda received: OK if b"Authorization" in received else b"hello\r\n\r\n") as url:
        status, out, _ = check(url)
    assert status == 1
    assert "no answer (BadStatusLine)" in out


# --- The check cannot run -----------------------------------------------------------------------------------------


def test_an_api_for_another_audience(issuer: KeyServer, keys: SigningKeys, app: Flask, check: Check) -> None:
    publish_table(issuer, keys, SCOPE, audience="urn:another")
    with serving(app) as url:
        status, out, err = check(f"{url}/v1/devices", "--audience", "urn:another")
    assert (status, out) == (2, "")
    assert "answered 401 invalid_token" in err
    assert "--audience" in err
    assert "issuer" in err


def test_a_route_for_another_scope(app: Flask, check: Check) -> None:
    with serving(app) as url:
        status, out, err = check(f"{url}/v1/devices", scope="read:unknown")
    assert (status, out) == (2, "")
    assert "answered 403 insufficient_scope" in err
    assert "--scope" in err


def test_a_route_that_does_not_exist(app: Flask, check: Check) -> None:
    with serving(app) as url:
        status, out, err = check(f"{url}/v1/nowhere")
    assert (status, out) == (2, "")
    assert "answered 404. Check the URL" in err.replace("\n", " ")


def test_an_api_that_cannot_fetch_the_keys(issuer: KeyServer, app: Flask, check: Check) -> None:
    issuer.break_keys(document(b"", status=500))
    with serving(app) as url:
        status, out, err = check(f"{url}/v1/devices")
    assert (status, out) == (2, "")
    assert "answered 503" in err
    assert "keys" in err


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"


def test_an_api_that_does_not_run(check: Check) -> None:
    status, out, err = check(closed_port())
    assert (status, out) == (2, "")
    assert "No answer from the API" in err
    assert "ConnectionRefusedError" in err


def test_an_issuer_that_does_not_run(check: Check) -> None:
    status, out, err = check("http://127.0.0.1:9/", "--issuer", closed_port())
    assert (status, out) == (2, "")
    assert "No answer from the mock issuer" in err


def test_an_issuer_whose_certificate_is_not_trusted(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(tls=True) as server:
        status, out, err = check(closed_port(), "--issuer", server.url)
        assert (status, out) == (2, "")
        assert "its certificate is not trusted" in err.replace("\n", " ")
        monkeypatch.setenv("SSL_CERT_FILE", str(server.ca_file))
        status, out, err = check(closed_port(), "--issuer", server.url)
        assert (status, out) == (2, "")
        assert "No answer from the API" in err


def test_an_issuer_that_refuses_its_controls(check: Check, issuer: KeyServer) -> None:
    issuer.answers["/_mock/hostile?scope=x"] = document(b"{}", status=403)
    status, out, err = check("http://127.0.0.1:9/", scope="x")
    assert (status, out) == (2, "")
    assert "answered 403" in err
    assert "--allow-control" in err


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"[]", b"{}", b'{"requests":[]}', b'{"requests":[1]}', b'{"requests":[{"name":"good-token"}]}',
     b'{"requests":7}', b"[" * 100_000],
)  # fmt: skip
def test_a_server_that_is_not_a_mock_issuer(check: Check, issuer: KeyServer, body: bytes) -> None:
    issuer.answers["/_mock/hostile?scope=x"] = document(body)
    status, out, err = check("http://127.0.0.1:9/", scope="x")
    assert (status, out) == (2, "")
    assert "not a mock issuer" in err.replace("\n", " ")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["ftp://api.example/"],
        ["api.example"],
        ["http://"],
        ["http://api.example:port/"],
        ["http://api.example:99999/"],
        ["http://user:password@api.example/"],
        ["http://api.example/a b"],
        ["http://api.example/\r\nX-Injected: 1"],
        ["http://[::1/"],
        ["http://api.example/", "--issuer", "nowhere"],
        ["http://api.example/", "--unknown"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert exited.value.code == 2
    assert "usage: mock-issuer check" in capsys.readouterr().err
