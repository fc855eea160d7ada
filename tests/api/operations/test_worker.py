"""gunicorn.conf.py, with the real server."""

import contextlib
import json
import re
import socket
import subprocess
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
import requests

from tests.kit.key_server import KeyServer
from tests.kit.processes import BIN, ROOT, environment, running_api
from tests.kit.signing import claims, jwks, rsa_key

COMMAND = [str(BIN / "gunicorn"), "-c", "gunicorn.conf.py", "api:create_app()"]


def test_wrong_settings_are_told_together_and_end_it() -> None:
    variables = environment({"API_ISSUERS": "", "API_AUDIENCE": "", "PORT": "0"})
    ended = subprocess.run(COMMAND, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        "The device API does not start. 2 settings are wrong; the README lists them all:",
        "  API_ISSUERS: is required.",
        "  API_AUDIENCE: is required.",
    ]


@pytest.mark.parametrize("wrong", ["abc", "-1", "65536", "1e3", "٣", "9" * 5000, "8000 "])
def test_wrong_numbers_of_the_server_are_told_with_the_rest(wrong: str) -> None:
    # A WEB_CONCURRENCY that is no number ends gunicorn before it reads our file.
    variables = environment({"API_ISSUERS": "https://issuer.example/", "PORT": wrong, "WEB_CONCURRENCY": "1000"})
    ended = subprocess.run(COMMAND, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines() == [
        "The device API does not start. 3 settings are wrong; the README lists them all:",
        "  API_AUDIENCE: is required.",
        "  PORT: must be a whole number from 0 to 65535.",
        "  WEB_CONCURRENCY: must be a whole number from 0 to 999.",
    ]


@pytest.mark.parametrize("url", ["mysql://user:geheim@host/x", "postgresql+nosuchdriver://user:geheim@host/x", "x"])
def test_a_database_that_cannot_be_used_is_told_in_a_sentence(url: str) -> None:
    variables = environment(
        {"API_ISSUERS": "https://issuer.example/", "API_AUDIENCE": "a", "API_DATABASE_URL": url, "PORT": "0"}
    )
    ended = subprocess.run(COMMAND, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        "The device API does not start. A setting is wrong; the README lists them all:",
        "  API_DATABASE_URL: is not a SQLite or PostgreSQL address.",
    ]


def test_what_gunicorn_refuses_is_a_problem_too(tmp_path: Path) -> None:
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
    log = tmp_path / "log"
    variables = {"API_PUBLIC_URL": "https://api.example", "GUNICORN_CMD_ARGS": f"--error-logfile {log}"}
    with KeyServer() as server, running_api(server.issuer, tmp_path, port=None, **variables) as url:
        for sent, status, reason, slug in requests_and_statuses:
            with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as connection:
                connection.sendall(sent)
                answer = HTTPResponse(connection)
                answer.begin()
                body = json.loads(answer.read())
            assert answer.status == status
            assert reason is None or answer.reason == reason
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.headers["Connection"] == "close"
            assert (body["status"], body["type"]) == (status, f"https://api.example/problems/{slug}")
            assert body["request_id"] == answer.headers["X-Request-ID"]
            assert set(body) == {"type", "title", "status", "detail", "error", "request_id"}
            assert body["request_id"] in log.read_text(encoding="utf-8")
    # Whatever cannot be parsed may hold a token.
    assert "secret" not in log.read_text(encoding="utf-8")


def test_no_processes_are_as_many_as_cores(tmp_path: Path) -> None:
    with KeyServer() as server, running_api(server.issuer, tmp_path, WEB_CONCURRENCY="0") as url:
        assert requests.get(f"{url}/livez", timeout=10).status_code == 200


@pytest.mark.parametrize("preload", ["", "--preload"])
def test_workers_verify_tokens_after_the_fork(tmp_path: Path, preload: str) -> None:
    with KeyServer() as server:
        key = rsa_key(0, "key-1")
        server.publish(jwks(key))
        variables = {"WEB_CONCURRENCY": "2", "GUNICORN_CMD_ARGS": preload, "TMPDIR": str(tmp_path)}
        with running_api(server.issuer, tmp_path, port=None, **variables) as url:
            assert list(tmp_path.glob("device-api-metrics-*"))
            assert requests.get(f"{url}/readyz", timeout=10).status_code == 200
            token = key.sign(claims(iss=server.issuer))
            for _ in range(10):  # new connections, so that both workers get some
                answer = requests.get(f"{url}/v1/devices", headers={"Authorization": f"Bearer {token}"}, timeout=10)
                assert answer.status_code == 200
            # Whichever worker is asked tells what all have counted.
            for _ in range(4):
                text = requests.get(f"{url}/metrics", timeout=10).text
                counts = re.findall(r"^api_tokens_accepted_total\{.*\} (\S+)$", text, re.MULTILINE)
                assert sum(map(float, counts)) == 10
        assert not list(tmp_path.glob("device-api-metrics-*"))


def test_a_broken_body_is_the_clients_mistake_and_is_read_for_good_tokens_alone(tmp_path: Path) -> None:
    with KeyServer() as server:
        key = rsa_key(0, "key-1")
        server.publish(jwks(key))
        with running_api(server.issuer, tmp_path) as url:
            for token, status in ((key.sign(claims(iss=server.issuer)), b"400"), ("x", b"401")):
                with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as connection:
                    connection.sendall(
                        b"GET /v1/me HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
                        b"Content-Type: application/x-www-form-urlencoded\r\n"
                        b"Authorization: Bearer " + token.encode() + b"\r\n\r\nzz\r\n"
                    )
                    assert connection.recv(65_536).split(b" ", 2)[1] == status


def post(connection: HTTPConnection, body: bytes, *, chunked: bool) -> HTTPResponse:
    """Send a body, and return the answer, which may come and end the connection before all is sent."""
    coding = {"Transfer-Encoding": "chunked"} if chunked else {}
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request("POST", "/v1/devices", iter([body]) if chunked else body, coding, encode_chunked=chunked)
    answer = connection.getresponse()
    answer.read()
    return answer


@pytest.mark.parametrize("size", [0, 10, 100_000, 2_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_connection_that_ends_with_an_answer_is_announced(tmp_path: Path, size: int, *, chunked: bool) -> None:
    with KeyServer() as server, running_api(server.issuer, tmp_path) as url:
        for _ in range(20):
            with contextlib.closing(HTTPConnection(url.removeprefix("http://"), timeout=10)) as connection:
                answer = post(connection, b"x" * size, chunked=chunked)
                assert answer.status == 401
                if size <= 10 and not chunked:
                    assert answer.headers["Connection"] == "keep-alive"
                # It opens a new connection where it was told to, and loses this one where it was not.
                again = post(connection, b"", chunked=False)
                assert again.status == 401


def test_no_header_moves_the_root(tmp_path: Path) -> None:
    with KeyServer() as server, running_api(server.issuer, tmp_path) as url:
        for path, root, status in (("/x/metrics", "/x", 404), ("/livez", "/x", 200), ("/livez", "/livez", 200)):
            with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as connection:
                head = f"GET {path} HTTP/1.1\r\nHost: a\r\nSCRIPT_NAME: {root}\r\nPATH_INFO: /metrics\r\n\r\n"
                connection.sendall(head.encode())
                with contextlib.closing(HTTPResponse(connection)) as answer:
                    answer.begin()
                    assert answer.status == status


def test_a_chunked_body_is_too_large_like_any_other(tmp_path: Path) -> None:
    mebibyte = 2**20
    body = json.dumps({"name": "Lamp", "kind": "sensor", "model": "M"}).encode()
    with KeyServer() as server:
        key = rsa_key(0, "key-1")
        server.publish(jwks(key))
        headers = {"Authorization": f"Bearer {key.sign(claims(iss=server.issuer, scope='write:devices'))}"}
        headers["Content-Type"] = "application/json"
        with running_api(server.issuer, tmp_path) as url:
            for size, status in ((mebibyte, 201), (mebibyte + 1, 413)):
                sent = body.ljust(size)
                for data in (sent, iter((sent[:1000], sent[1000:]))):  # requests sends an iterator in chunks
                    answer = requests.post(f"{url}/v1/devices", data=data, headers=headers, timeout=10)
                    assert answer.status_code == status
                    assert status == 201 or answer.json()["error"] == "content_too_large"


def test_every_setting_has_its_reason() -> None:
    lines = (ROOT / "gunicorn.conf.py").read_text(encoding="utf-8").splitlines()
    settings = [number for number, line in enumerate(lines) if line[:1].islower() and " = " in line]
    assert len(settings) > 10
    for number in settings:
        above = number - 1
        while lines[above][:1].islower() and " = " in lines[above]:  # settings that share a reason stand together
            above -= 1
        assert lines[above].startswith("#"), lines[number]
