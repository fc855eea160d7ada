"""gunicorn.conf.py and its worker class, with a real server."""

import contextlib
import json
import os
import re
import runpy
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import NamedTuple

import pytest
import requests

from api.settings import read_server_settings
from tests.kit.key_server import KeyServer
from tests.kit.processes import BIN, ROOT, environment, free_port, running, running_api
from tests.kit.signing import claims, jwks, rsa_key

COMMAND = [str(BIN / "gunicorn"), "-c", "gunicorn.conf.py", "api:create_app()"]
KEY = rsa_key(0, "key-1")


class Server(NamedTuple):
    """The API under gunicorn, its issuer, and gunicorn's error log."""

    url: str
    issuer: str
    log: Path

    @contextlib.contextmanager
    def connection(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", int(self.url.rpartition(":")[2])), timeout=10) as connection:
            yield connection


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("server")
    log = directory / "log"
    variables = {"API_PUBLIC_URL": "https://api.example", "GUNICORN_CMD_ARGS": f"--error-logfile {log}"}
    with KeyServer() as keys, running_api(keys.issuer, directory, port=None, **variables) as url:
        keys.publish(jwks(KEY))
        yield Server(url, keys.issuer, log)


def test_invalid_settings_are_reported_together_and_stop_gunicorn() -> None:
    variables = environment({"API_ISSUERS": "", "API_AUDIENCE": "", "PORT": "0"})
    ended = subprocess.run(COMMAND, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        "The device API cannot start. 2 settings are invalid (see docs/settings.md):",
        "  API_ISSUERS: is required.",
        "  API_AUDIENCE: is required.",
    ]


def stop_at_start(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **variables: str) -> list[str]:
    """Run gunicorn.conf.py as gunicorn does, with invalid settings; return the lines on standard error."""
    for name in os.environ:
        if name.startswith("API_"):
            monkeypatch.delenv(name)
    for name, value in {"API_ISSUERS": "https://issuer.example/", **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "gunicorn.conf.py"))["on_starting"](None)
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


@pytest.mark.parametrize("wrong", ["abc", "-1", "65536", "1e3", "٣", "9" * 5000, "8000 "])
def test_invalid_numbers_are_reported_with_the_other_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    # If WEB_CONCURRENCY is not a number, gunicorn exits before it reads gunicorn.conf.py.
    assert stop_at_start(monkeypatch, capsys, PORT=wrong, WEB_CONCURRENCY="1000") == [
        "The device API cannot start. 3 settings are invalid (see docs/settings.md):",
        "  API_AUDIENCE: is required.",
        "  PORT: must be a whole number from 0 to 65535.",
        "  WEB_CONCURRENCY: must be a whole number from 0 to 999.",
    ]


@pytest.mark.parametrize("url", ["mysql://user:geheim@host/x", "postgresql+nosuchdriver://user:geheim@host/x", "x"])
def test_an_unusable_database_is_reported_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    assert stop_at_start(monkeypatch, capsys, API_AUDIENCE="a", API_DATABASE_URL=url) == [
        "The device API cannot start. One setting is invalid (see docs/settings.md):",
        "  API_DATABASE_URL: is not a SQLite or PostgreSQL URL.",
    ]


def test_what_gunicorn_rejects_is_a_problem_too(server: Server) -> None:
    requests_and_statuses = [
        (b"GARBAGE\r\n\r\n", 400, "Bad Request", "invalid-request"),
        (b"GET /?access_token=secret\r\n\r\n", 400, "Bad Request", "invalid-request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nBearer secret\r\n\r\n", 400, "Bad Request", "invalid-request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA\x00b: c\r\n\r\n", 400, "Bad Request", "invalid-request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n", 501, "Not Implemented", "http-error"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417, "Expectation Failed", "http-error"),
        (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, None, "http-error"),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer secret" + b"x" * 9000 + b"\r\n\r\n",
            431,
            "Request Header Fields Too Large",
            "http-error",
        ),
    ]
    for sent, status, reason, slug in requests_and_statuses:
        with server.connection() as connection:
            connection.sendall(sent)
            answer = HTTPResponse(connection)
            answer.begin()
            body = json.loads(answer.read())
        assert answer.status == status
        assert reason is None or answer.reason == reason
        assert answer.headers.get("Content-Type") == "application/problem+json"
        assert answer.headers.get("Connection") == "close"
        assert (body["status"], body["type"]) == (status, f"https://api.example/problems/{slug}")
        assert body["request_id"] == answer.headers.get("X-Request-ID")
        assert set(body) == {"type", "title", "status", "detail", "error", "request_id"}
        assert body["request_id"] in server.log.read_text(encoding="utf-8")
    # A request that cannot be parsed may contain a token.
    assert "secret" not in server.log.read_text(encoding="utf-8")


@pytest.mark.parametrize(("wanted", "expected"), [("0", 3), ("", 3), ("5", 5)])
def test_without_a_number_there_is_one_process_per_cpu_that_may_be_used(
    monkeypatch: pytest.MonkeyPatch, wanted: str, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 2, 5}, raising=False)
    monkeypatch.setenv("WEB_CONCURRENCY", wanted)
    assert runpy.run_path(str(ROOT / "gunicorn.conf.py"))["workers"] == expected


def forbidden(_process: int) -> set[int]:
    raise PermissionError


@pytest.mark.parametrize("sched_getaffinity", [None, forbidden])
def test_where_the_system_does_not_tell_there_is_one_process_per_cpu(
    monkeypatch: pytest.MonkeyPatch, sched_getaffinity: Callable[[int], set[int]] | None
) -> None:
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    if sched_getaffinity is not None:
        monkeypatch.setattr(os, "sched_getaffinity", sched_getaffinity, raising=False)
    settings, mistakes = read_server_settings()
    assert (settings.workers, mistakes) == (7, [])


def test_the_garbage_collector_leaves_out_what_a_worker_has_loaded() -> None:
    program = """
import gc, runpy
post_worker_init = runpy.run_path("gunicorn.conf.py")["post_worker_init"]
assert gc.get_freeze_count() == 0
post_worker_init(None)
assert gc.get_freeze_count() > 10_000
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment({}), check=True, timeout=30)


@pytest.mark.slow
@pytest.mark.parametrize("preload", ["", "--preload"])
def test_workers_verify_tokens_after_the_fork(tmp_path: Path, preload: str) -> None:
    with KeyServer() as server:
        server.publish(jwks(KEY))
        variables = {"WEB_CONCURRENCY": "2", "GUNICORN_CMD_ARGS": preload}
        with running_api(server.issuer, tmp_path, port=None, **variables) as url:
            assert requests.get(f"{url}/readyz", timeout=10).status_code == 200
            token = KEY.sign(claims(iss=server.issuer))
            for _ in range(10):  # new connections, so that both workers get some
                answer = requests.get(f"{url}/v1/devices", headers={"Authorization": f"Bearer {token}"}, timeout=10)
                assert answer.status_code == 200
            # Each worker returns the sums of both.
            for _ in range(4):
                text = requests.get(f"{url}/metrics", timeout=10).text
                counts = re.findall(r"^api_tokens_accepted_total\{.*\} (\S+)$", text, re.MULTILINE)
                assert sum(map(float, counts)) == 10


def test_a_malformed_body_is_read_only_with_a_valid_token_and_is_a_400(server: Server) -> None:
    for token, status in ((KEY.sign(claims(iss=server.issuer)), b"400"), ("x", b"401")):
        with server.connection() as connection:
            connection.sendall(
                b"GET /v1/me HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
                b"Content-Type: application/x-www-form-urlencoded\r\n"
                b"Authorization: Bearer " + token.encode() + b"\r\n\r\nzz\r\n"
            )
            assert connection.recv(65_536).split(b" ", 2)[1] == status


def post(connection: HTTPConnection, body: bytes, *, chunked: bool) -> HTTPResponse:
    """Send a body, and return the response; the server may close the connection before it has read the body."""
    coding = {"Transfer-Encoding": "chunked"} if chunked else {}
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request("POST", "/v1/devices", iter([body]) if chunked else body, coding, encode_chunked=chunked)
    answer = connection.getresponse()
    answer.read()
    return answer


@pytest.mark.parametrize("size", [0, 10, 100_000, 2_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_the_close_of_a_connection_is_announced(server: Server, size: int, *, chunked: bool) -> None:
    for _ in range(20):
        with contextlib.closing(HTTPConnection(server.url.removeprefix("http://"), timeout=10)) as connection:
            answer = post(connection, b"x" * size, chunked=chunked)
            assert answer.status == 401
            if size <= 10 and not chunked:
                assert answer.headers.get("Connection") == "keep-alive"
            # After `Connection: close`, http.client opens a new connection; without it, this request would fail.
            again = post(connection, b"", chunked=False)
            assert again.status == 401


def test_a_request_is_freed_without_the_garbage_collector(tmp_path: Path) -> None:
    (tmp_path / "collecting.py").write_text(
        """
import gc
gc.disable()

def app(environ, start_response):
    found = gc.collect() if environ["PATH_INFO"] == "/collect" else 0
    start_response("200 OK", [("Content-Length", str(len(str(found))))])
    return [str(found).encode()]
""",
        encoding="utf-8",
    )
    port = free_port()
    (tmp_path / "settings.py").touch()
    options = ["--worker-class", "api.operations.server.worker.ProblemWorker", "--bind", f"127.0.0.1:{port}"]
    command = [
        str(BIN / "gunicorn"),
        "-c",
        str(tmp_path / "settings.py"),
        *options,
        "--chdir",
        str(tmp_path),
        "collecting:app",
    ]
    url = f"http://127.0.0.1:{port}"
    with running(command, url), requests.Session() as session:
        session.get(f"{url}/collect", timeout=10)
        for _ in range(100):
            session.get(url, timeout=10)
        # Each request is many objects.
        assert int(session.get(f"{url}/collect", timeout=10).text) < 100


def test_gunicorns_settings_are_found_without_a_search(tmp_path: Path) -> None:
    """The application answers with the settings that gunicorn's Config has searched for in this worker."""
    (tmp_path / "searching.py").write_text(
        """
from gunicorn.config import Config

search = Config.__getattr__

def note_and_search(config, name):
    Config.searches.append(name)
    return search(config, name)

def post_worker_init(worker):
    Config.searches = []
    Config.__getattr__ = note_and_search

def application(environ, start_response):
    body = repr(Config.searches).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
""",
        encoding="utf-8",
    )
    port = free_port()
    command = [
        str(BIN / "gunicorn"),
        *("-c", str(tmp_path / "searching.py"), "--chdir", str(tmp_path), "--bind", f"127.0.0.1:{port}"),
        *("--worker-class", "api.operations.server.worker.ProblemWorker", "searching:application"),
    ]
    url = f"http://127.0.0.1:{port}"
    with running(command, url), requests.Session() as session:
        assert [session.get(url, timeout=10).text for _ in range(3)] == ["[]"] * 3


def test_headers_cannot_set_script_name(server: Server) -> None:
    for path, root, status in (("/x/metrics", "/x", 404), ("/livez", "/x", 200), ("/livez", "/livez", 200)):
        with server.connection() as connection:
            head = f"GET {path} HTTP/1.1\r\nHost: a\r\nSCRIPT_NAME: {root}\r\nPATH_INFO: /metrics\r\n\r\n"
            connection.sendall(head.encode())
            with contextlib.closing(HTTPResponse(connection)) as answer:
                answer.begin()
                assert answer.status == status


def test_a_chunked_body_has_the_same_size_limit(server: Server) -> None:
    mebibyte = 2**20
    body = json.dumps({"name": "Lamp", "kind": "sensor", "model": "M"}).encode()
    headers = {"Authorization": f"Bearer {KEY.sign(claims(iss=server.issuer, scope='write:devices'))}"}
    headers["Content-Type"] = "application/json"
    for size, status in ((mebibyte, 201), (mebibyte + 1, 413)):
        sent = body.ljust(size)
        for data in (sent, iter((sent[:1000], sent[1000:]))):  # requests sends an iterator in chunks
            answer = requests.post(f"{server.url}/v1/devices", data=data, headers=headers, timeout=10)
            assert answer.status_code == status
            assert status == 201 or answer.json()["error"] == "content_too_large"


def test_every_setting_has_its_reason() -> None:
    lines = (ROOT / "gunicorn.conf.py").read_text(encoding="utf-8").splitlines()
    settings = [number for number, line in enumerate(lines) if line[:1].islower() and " = " in line]
    assert len(settings) > 10
    for number in settings:
        above = number - 1
        while lines[above][:1].islower() and " = " in lines[above]:  # adjacent settings share a reason
            above -= 1
        assert lines[above].startswith("#"), lines[number]
