"""The command against live APIs: this project's, the quickstart of PyJWT, and broken ones; and its options."""

import json
import logging
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from flask import Flask, Response, abort, redirect, request

from api.settings import Settings
from mock_issuer import Server
from mock_issuer.hostile.check import main
from tests.kit.key_server import KeyServer, document
from tests.kit.processes import ROOT, running_api
from tests.kit.signing import AUDIENCE
from tests.mock_issuer.hostile.servers import OK, SCOPE, WrongApi, answering, serving

Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Turn off the API's log, which would mix with the check's standard output."""
    return replace(settings, log_level=logging.CRITICAL)


@pytest.mark.slow
def test_this_projects_api_passes_the_check(tmp_path: Path) -> None:
    # The real issuer, the command, and gunicorn: Werkzeug's server keeps white space after a header's value.
    with Server() as issuer, running_api(issuer.url, tmp_path, API_LOG_LEVEL="error") as url:
        for path, scope in (("/v1/devices", SCOPE), ("/v1/devices?limit=5", SCOPE), ("/v1/me", "")):
            command = [sys.executable, "-m", "mock_issuer", "check", url + path, "--scope", scope, "--fail-on", "all"]
            done = subprocess.run(
                [*command, "--issuer", issuer.url], cwd=ROOT, capture_output=True, text=True, check=False
            )
            total = done.stdout.split()[0]
            assert done.stdout == f"{total} sent, {total} right\n"
            assert int(total) > 350
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
        status, out, _ = check(f"{url}/devices", "--json", "-")
    wrong = {row["name"]: row["received"] for row in json.loads(out)["requests"] if row["verdict"] != "right"}
    # Accepted, among others: any typ, padding, invalid JSON, scopes split at any white space.
    for name in (
        "typ-logout-jwt",
        "padded",
        "payload-nan",
        "exp-string",
        "nbf-false",
        "scope-nbsp-separated",
    ):
        assert wrong[name] == "200", name
    # A scope of another type causes a 500.
    for name in ("scope-number", "scope-list"):
        assert wrong[name] == "500", name
    for name in ("good-token", "alg-none", "hs256-with-pem", "iss-other", "aud-other", "exp-an-hour-ago", "typ-jwt"):
        assert name not in wrong
    assert json.loads(out)["right"] > 300
    assert status == 1


def test_an_api_without_authentication_fails_most_requests(check: Check) -> None:
    app = Flask("open")
    app.add_url_rule("/", view_func=lambda: "welcome")
    with serving(app) as url:
        status, out, _ = check(url)
    assert status == 1
    sent, right = (int(words.split()[0]) for words in out.splitlines()[-2].split(",")[:2])
    assert right < 100
    assert sent > 350
    assert "no-credentials" in out


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
    assert "302; expected 401 without error" in out


def test_a_dropped_connection_is_wrong(check: Check) -> None:
    def answer(received: bytes) -> bytes | None:
        return None if b"Authorization" not in received else OK

    with answering(answer) as url:
        status, out, _ = check(url)
    assert status == 1
    assert "no answer (RemoteDisconnected)\n" in out
    assert "not sent" not in out
    assert "stopped" not in out


def test_an_answer_that_is_not_http_is_wrong(check: Check) -> None:
    with answering(lambda received: OK if b"Authorization" in received else b"hello\r\n\r\n") as url:
        status, out, _ = check(url)
    assert status == 1
    assert "no answer (BadStatusLine)" in out


# --- Options ------------------------------------------------------------------------------------------------------


def names_sent(out: str) -> list[str]:
    return [row["name"] for row in json.loads(out)["requests"] if row["verdict"] != "not sent"]


def test_only_and_skip_choose_by_name(issuer: KeyServer, check: Check) -> None:
    with serving(WrongApi(issuer=issuer).app()) as url:
        status, out, _ = check(url, "--only", "exp-*", "--only", "alg-none", "--skip", "exp-n*", "--json", "-")
        names = names_sent(out)
        assert {"alg-none", "exp-missing", "exp-40-minutes-ago"} < set(names)
        assert not {"exp-null", "exp-nan", "exp-negative"} & set(names)
        assert all(name.startswith("exp-") or name == "alg-none" for name in names)
        found = json.loads(out)
        # The valid token was sent to try the API; it is not counted.
        assert found["sent"] == len(names) == len(found["requests"])
        assert found["left_out"] > 300
        status, out, _ = check(url, "--only", "alg-none")
    assert (status, out.splitlines()) == (
        0,
        ["1 sent, 1 right", f"{found['left_out'] + len(names) - 1} left out by --only or --skip"],
    )


@pytest.mark.parametrize("options", [["--only", "exp-nothing"], ["--skip", "EXP-*"], ["--only", "alg-none,exp-zero"]])
def test_a_name_without_a_request_is_refused(issuer: KeyServer, check: Check, options: list[str]) -> None:
    status, out, err = check(closed_port(), *options)
    assert (status, out) == (2, "")
    assert "No request has the name" in err


def test_no_request_left_is_refused(issuer: KeyServer, check: Check) -> None:
    status, out, err = check(closed_port(), "--only", "alg-none", "--skip", "alg-*")
    assert (status, out) == (2, "")
    assert "leave no request" in err


@pytest.mark.parametrize(
    ("fail_on", "status"),
    [(None, 0), ("all", 1), ("none", 0), ("differs", 1), ("accepts,crashes,refuses", 0), ("crashes, differs", 1)],
)
def test_the_exit_status_depends_on_the_severity(
    issuer: KeyServer, check: Check, fail_on: str | None, status: int
) -> None:
    options = [] if fail_on is None else ["--fail-on", fail_on]
    with serving(WrongApi(issuer=issuer, has_error_codes=False).app()) as url:
        found, out, _ = check(url, "--only", "alg-none", *options)
    assert found == status
    assert "401 without error; expected 401 invalid_token" in out


def test_a_report_that_cannot_be_written(issuer: KeyServer, check: Check, tmp_path: Path) -> None:
    with serving(WrongApi(issuer=issuer).app()) as url:
        status, _, err = check(url, "--only", "alg-none", "--json", str(tmp_path / "missing" / "report.json"))
    assert status == 2
    assert "cannot be written: No such file or directory" in err.replace("\n", " ")


# --- The check cannot run -----------------------------------------------------------------------------------------


def test_an_api_for_another_audience(
    issuer: KeyServer, publish_table: Callable[..., None], app: Flask, check: Check
) -> None:
    publish_table(issuer, SCOPE, audience="urn:another")
    with serving(app) as url:
        status, out, err = check(f"{url}/v1/devices", "--audience", "urn:another")
    assert (status, out) == (2, "")
    assert "answered 401 invalid_token" in err.replace("\n", " ")
    assert "--audience" in err
    assert "issuer" in err


def test_a_route_for_another_scope(app: Flask, check: Check) -> None:
    with serving(app) as url:
        status, out, err = check(f"{url}/v1/devices", scope="read:unknown")
    assert (status, out) == (2, "")
    assert "answered 403 insufficient_scope" in err.replace("\n", " ")
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
    assert "answered 503" in err.replace("\n", " ")
    assert "keys" in err


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"


def test_an_api_that_does_not_run(check: Check) -> None:
    status, out, err = check(closed_port())
    assert (status, out) == (2, "")
    assert "No answer from the API" in err.replace("\n", " ")
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
        assert "No answer from the API" in err.replace("\n", " ")


def test_an_issuer_that_refuses_its_controls(check: Check, issuer: KeyServer) -> None:
    issuer.answers["/_mock/hostile?scope=x"] = document(b"{}", status=403)
    status, out, err = check("http://127.0.0.1:9/", scope="x")
    assert (status, out) == (2, "")
    assert "answered 403" in err.replace("\n", " ")
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
        ["http://api.example/", "--fail-on", "everything"],
        ["http://api.example/", "--fail-on", "accepts,"],
        ["http://api.example/", "--wait", "-1"],
        ["http://api.example/", "--wait", "nan"],
        ["http://api.example/", "--wait", "long"],
        ["http://api.example/", "--json", "-", "--junit", "-"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert exited.value.code == 2
    assert "usage: mock-issuer check" in capsys.readouterr().err
