"""deploy/nginx.conf, with a real nginx in front of the real API, and in front of a server that repeats what arrives."""

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
import trustme

from api.problems.catalogue import PROBLEM_TYPES
from api.problems.responses import http_problem
from tests.kit.certificates import ClientCertificate, client_certificate
from tests.kit.key_server import KeyServer
from tests.kit.nginx import CONFIGURATION, Nginx, running_nginx
from tests.kit.processes import free_port, running_api
from tests.kit.signing import claims, jwks, rsa_key

pytestmark = pytest.mark.needs("nginx")

KEY = rsa_key(0, "key-1")
MEBIBYTE = 2**20


class Front(NamedTuple):
    """nginx, and the API behind it."""

    nginx: Nginx
    issuer: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.nginx.port}"

    @property
    def inner_url(self) -> str:
        return f"http://127.0.0.1:{self.nginx.inner_port}"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    directory, port = tmp_path_factory.mktemp("api"), free_port()
    with KeyServer() as keys:
        keys.publish(jwks(KEY))
        with running_api(keys.issuer, directory, port=port, API_LOG_LEVEL="error"), running_nginx(port) as nginx:
            yield Front(nginx, keys.issuer)


class _Echo(BaseHTTPRequestHandler):
    """Answers with the headers that arrived, as pairs."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps(self.headers.items()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815  # the name that http.server calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # an override
        pass


@contextlib.contextmanager
def echo_server() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


class Silent(NamedTuple):
    """A server that reads requests and never answers: its port, and the first bytes of each connection."""

    port: int
    received: list[bytes]


@contextlib.contextmanager
def silent_server(*, closes: bool) -> Iterator[Silent]:
    """Run a server that reads a request, and then closes the connection or does nothing with it."""
    connections: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = Silent(listener.getsockname()[1], [])

        def serve() -> None:
            with contextlib.suppress(OSError):  # the end of the test
                while True:
                    connection, _ = listener.accept()
                    silent.received.append(connection.recv(65536))
                    if closes:
                        connection.close()
                    else:
                        connections.append(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield silent
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in connections:
                connection.close()


def raw(port: int, sent: bytes) -> tuple[HTTPResponse, bytes]:
    """Send bytes, and return the answer and its body."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(sent)
        with contextlib.closing(HTTPResponse(connection)) as answer:
            answer.begin()
            return answer, answer.read()


def assert_problem(answer: Any, body: bytes, status: int, error: str) -> None:
    assert answer.headers.get("Content-Type") == "application/problem+json"
    problem = json.loads(body)
    assert (problem["status"], problem["error"]) == (status, error)
    assert problem["type"] == f"/problems/{error.replace('_', '-')}"
    assert problem["title"] == PROBLEM_TYPES[error].title
    assert problem["detail"]
    assert re.fullmatch(r"[0-9a-f]{32}", problem["request_id"])
    assert answer.headers.get("X-Request-ID") == problem["request_id"]
    assert set(problem) == {"type", "title", "status", "detail", "error", "request_id"}


def token_of(length: int, issuer: str) -> str:
    """Return a valid token of about this length."""
    short = KEY.sign(claims(iss=issuer, extra=""))
    return KEY.sign(claims(iss=issuer, extra="x" * ((length - len(short)) * 3 // 4)))


def test_a_token_of_8000_characters_passes_and_one_of_9000_does_not(front: Front) -> None:
    long, longer = token_of(8000, front.issuer), token_of(9000, front.issuer)
    assert 7990 <= len(long) <= 8000
    assert 8990 <= len(longer) <= 9000
    passed = requests.get(f"{front.url}/v1/me", headers={"Authorization": f"Bearer {long}"}, timeout=10)
    assert (passed.status_code, passed.json()["sub"]) == (200, "user-1")
    refused = requests.get(f"{front.url}/v1/me", headers={"Authorization": f"Bearer {longer}"}, timeout=10)
    assert refused.status_code == 431
    assert_problem(refused, refused.content, 431, "http_error")


def test_a_body_of_1_mebibyte_passes_and_a_larger_one_does_not(front: Front) -> None:
    headers = {"Authorization": f"Bearer {KEY.sign(claims(iss=front.issuer, scope='write:devices'))}"}
    headers["Content-Type"] = "application/json"
    body = json.dumps({"name": "Lamp", "kind": "sensor", "model": "M"}).encode()
    url = f"{front.url}/v1/devices"
    assert requests.post(url, body.ljust(MEBIBYTE), headers=headers, timeout=10).status_code == 201
    refused = requests.post(url, body.ljust(2 * MEBIBYTE), headers={**headers, "Expect": "100-continue"}, timeout=10)
    assert refused.status_code == 413
    assert_problem(refused, refused.content, 413, "content_too_large")


@pytest.mark.parametrize(
    ("sent", "status", "error"),
    [
        (b"GARBAGE\r\n\r\n", 400, "invalid_request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "invalid_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "invalid_request"),
        (b"GET /../.. HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid_request"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n", 501, "http_error"),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "http_error"),
        (b"GET /.problem HTTP/1.1\r\nHost: a\r\n\r\n", 404, "not_found"),
    ],
)
def test_what_nginx_rejects_is_a_problem_too(front: Front, sent: bytes, status: int, error: str) -> None:
    answer, body = raw(front.nginx.port, sent)
    assert answer.status == status
    assert_problem(answer, body, status, error)


def test_nginx_and_the_api_use_the_same_words() -> None:
    from flask import Flask

    app = Flask(__name__)
    app.extensions["problem_base"] = "/problems/"
    text = CONFIGURATION.read_text(encoding="utf-8")
    details = dict(re.findall(r'^ +(\d{3}|default) +"(.+)";$', text, re.MULTILINE))
    for status in (400, 404, 413, 414, 431, 500, 501):
        expected = http_problem(app, status, "id")["detail"]
        assert details.get(str(status), details["default"]) == expected


def test_the_apis_own_problems_pass_unchanged(front: Front) -> None:
    answer = requests.get(f"{front.url}/v1/me", headers={"X-Request-ID": "from-the-client"}, timeout=10)
    assert answer.status_code == 401
    assert answer.json()["error"] == "missing_credentials"
    assert answer.headers.get("WWW-Authenticate", "").startswith("Bearer realm=")
    assert answer.json()["request_id"] == answer.headers.get("X-Request-ID") == "from-the-client"


@pytest.mark.parametrize("name", ["metrics", "readyz"])
def test_metrics_and_readiness_are_for_the_platform(front: Front, name: str) -> None:
    encoded = f"%{ord(name[0]):02x}{name[1:]}"
    paths = [f"/{name}", f"/{encoded}", f"//{name}", f"/./{name}", f"/v1/../{name}", f"/{name}?x=1", f"/{name}/"]
    for path in [*paths, f"http://127.0.0.1/{name}", f"/{name.upper()}", f"/{name}%00", f"/{name}#a"]:
        answer, body = raw(front.nginx.port, f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        assert answer.status in {400, 404}, path
        assert json.loads(body)["status"] == answer.status
    answer, body = raw(front.nginx.port, f"GET /{name} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert_problem(answer, body, 404, "not_found")

    assert requests.get(f"{front.inner_url}/{name}", timeout=10).status_code == 200
    assert requests.get(f"{front.inner_url}/livez", timeout=10).status_code == 404
    assert requests.get(f"{front.url}/livez", timeout=10).status_code == 200


def test_headers_of_clients_are_replaced_or_removed() -> None:
    lies = {
        "Client-Cert": ":MIIB:",
        "Client-Cert-Chain": ":MIIB:",
        "X-SSL-Client-Cert": "-----BEGIN%20CERTIFICATE-----",
        "Forwarded": "for=10.0.0.1;proto=https",
        "X-Forwarded-For": "10.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Real-IP": "10.0.0.1",
        "X-Request-ID": "no id; at all",
        "X_Forwarded_Proto": "https",
        "Proxy": "http://10.0.0.1/",
        "Upgrade": "h2c",
        "Connection": "Upgrade",
    }
    endings = ["Host", "Port", "Prefix", "Server", "Ssl", "Protocol", "Scheme", "By", "Path", "Uri", "User"]
    lies.update({f"X-Forwarded-{ending}": "10.0.0.1" for ending in [*endings, "Client-Cert"]})
    with echo_server() as port, running_nginx(port) as nginx:
        lines = "".join(f"{name}: {value}\r\n" for name, value in lies.items())
        head = f"GET /x?y=%2F HTTP/1.1\r\nHost: api.example:8443\r\nAuthorization: Bearer x\r\n{lines}\r\n"
        _, body = raw(nginx.port, head.encode())
    arrived = {name.lower(): value for name, value in json.loads(body)}
    assert re.fullmatch(r"[0-9a-f]{32}", arrived.pop("x-request-id"))
    assert arrived == {
        "host": "api.example:8443",
        "authorization": "Bearer x",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
    }


def test_with_tls_the_api_learns_that_it_was_https(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    # Readable for the user that nginx runs as.
    files = {"ca": tmp_path / "ca.pem"}
    authority.cert_pem.write_to_path(str(files["ca"]))
    with contextlib.ExitStack() as stack:
        pem = stack.enter_context(certificate.private_key_and_cert_chain_pem.tempfile())
        Path(pem).chmod(0o644)
        port = stack.enter_context(echo_server())
        tls = {"ssl_certificate": pem, "ssl_certificate_key": pem}
        nginx = stack.enter_context(running_nginx(port, tls=tls))
        url = f"https://127.0.0.1:{nginx.port}/"
        arrived = dict(requests.get(url, verify=str(files["ca"]), timeout=10).json())
        assert arrived["X-Forwarded-Proto"] == "https"
        plain, body = raw(nginx.port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert plain.status == 400
        assert_problem(plain, body, 400, "invalid_request")


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[dict[str, str], str]]:
    """Return nginx's directives for TLS that asks for client certificates, and the file of the authority."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with certificate.private_key_and_cert_chain_pem.tempfile() as pem:
        Path(pem).chmod(0o644)
        listen = CONFIGURATION.with_name("addresses") / "listen.conf"
        (asks,) = re.findall(r"^# (ssl_verify_client) (optional_no_ca);$", listen.read_text("utf-8"), re.MULTILINE)
        directives = {"ssl_certificate": pem, "ssl_certificate_key": pem, asks[0]: asks[1]}
        yield directives, str(tmp_path / "ca.pem")


def test_a_token_that_is_bound_to_a_certificate_needs_that_certificate(
    tls: tuple[dict[str, str], str], tmp_path: Path
) -> None:
    directives, authority = tls
    mine, other = client_certificate(0), client_certificate(1)
    files = {one: str(one.write(tmp_path / f"{number}.pem")) for number, one in enumerate((mine, other))}
    settings = {"API_MTLS": "optional", "API_MTLS_PROXIES": "127.0.0.1", "API_MTLS_HEADER": "X-SSL-Client-Cert"}
    with KeyServer() as keys, contextlib.ExitStack() as stack:
        keys.publish(jwks(KEY))
        port = free_port()
        stack.enter_context(running_api(keys.issuer, tmp_path, port=port, API_LOG_LEVEL="error", **settings))
        nginx = stack.enter_context(running_nginx(port, tls=directives))

        def ask(confirmation: Any, certificate: ClientCertificate | None, **headers: str) -> tuple[int, str | None]:
            token = KEY.sign(claims(iss=keys.issuer, cnf=confirmation))
            answer = requests.get(
                f"https://127.0.0.1:{nginx.port}/v1/me",
                headers={"Authorization": f"Bearer {token}", **headers},
                cert=None if certificate is None else files[certificate],
                verify=authority,
                timeout=10,
            )
            return answer.status_code, answer.json().get("detail")

        bound = {"x5t#S256": mine.thumbprint}
        missing = (401, "The access token is bound to a client certificate, and none came with it.")
        assert ask(bound, mine) == (200, None)
        assert ask(bound, other) == (401, "The access token is bound to another client certificate.")
        assert ask(bound, None) == missing
        # What a client claims does not arrive, in either form.
        for name in ("X-SSL-Client-Cert", "X_SSL_Client_Cert", "Client-Cert"):
            assert ask(bound, None, **{name: mine.escaped_pem}) == missing
            assert ask(bound, None, **{name: mine.client_cert}) == missing
        assert ask(bound, mine, **{"X-SSL-Client-Cert": other.escaped_pem}) == (200, None)
        # A token that is bound to nothing is as good with a certificate as without.
        assert ask(None, None) == ask(None, mine) == (200, None)


def test_while_the_api_is_down_clients_are_told_when_to_repeat() -> None:
    with running_nginx(free_port()) as nginx:
        for method in ("GET", "POST"):
            answer = requests.request(method, f"http://127.0.0.1:{nginx.port}/v1/me?access_token=secret", timeout=10)
            assert answer.status_code == 502
            assert_problem(answer, answer.content, 502, "temporarily_unavailable")
            assert answer.headers.get("Retry-After") == "2"
        # Written after the answer is sent.
        deadline = time.monotonic() + 10
        while (lines := nginx.access_log.read_text(encoding="utf-8")).count("\n") < 2:
            assert time.monotonic() < deadline, lines
            time.sleep(0.05)  # another process: the test cannot control its clock
        assert [json.loads(line)["status"] for line in lines.splitlines()] == [502, 502]
        assert "secret" not in lines + (nginx.access_log.parent / "error.log").read_text(encoding="utf-8")


def test_an_api_that_does_not_answer_in_time_is_a_problem_too() -> None:
    with silent_server(closes=False) as api, running_nginx(api.port, timeouts={"proxy_read_timeout": "1s"}) as nginx:
        answer = requests.post(f"http://127.0.0.1:{nginx.port}/v1/devices", json={}, timeout=10)
        assert answer.status_code == 504
        assert_problem(answer, answer.content, 504, "temporarily_unavailable")
        assert answer.headers.get("Retry-After") == "2"
        # It may be creating the device: the request is not repeated.
        assert len(api.received) == 1


def test_another_process_gets_a_request_that_one_did_not_answer_unless_it_may_have_written() -> None:
    for method in ("GET", "POST"):
        # A new nginx for each: after a failure, each of its processes avoids the server for a while.
        with (
            silent_server(closes=True) as broken,
            echo_server() as good,
            running_nginx(broken.port, good) as nginx,
        ):
            url = f"http://127.0.0.1:{nginx.port}/v1/devices"
            statuses = [requests.request(method, url, timeout=10).status_code for _ in range(10)]
        assert all(received.startswith(method.encode()) for received in broken.received)
        assert broken.received
        failed = 0 if method == "GET" else len(broken.received)
        assert sorted(statuses) == [200] * (10 - failed) + [502] * failed


def test_a_request_that_stops_arriving_is_given_up_and_the_api_gets_none_of_it() -> None:
    head = b"POST /v1/devices HTTP/1.1\r\nHost: api\r\n"
    timeouts = {"client_header_timeout": "1s", "client_body_timeout": "1s"}
    with silent_server(closes=False) as api, running_nginx(api.port, timeouts=timeouts) as nginx:
        for sent in (head, head + b"Content-Length: 10\r\n\r\n{"):
            with socket.create_connection(("127.0.0.1", nginx.port), timeout=10) as connection:
                connection.sendall(sent)
                with contextlib.suppress(ConnectionResetError):
                    assert connection.recv(1024) == b""
        assert api.received == []


def test_connections_to_the_api_are_kept_and_used_again(front: Front) -> None:
    statuses = set()
    with contextlib.closing(HTTPConnection("127.0.0.1", front.nginx.port, timeout=10)) as connection:
        for _ in range(50):
            connection.request("GET", "/livez")
            with connection.getresponse() as answer:
                answer.read()
                statuses.add(answer.status)
    assert statuses == {200}


def test_every_directive_has_its_reason() -> None:
    """As in gunicorn.conf.py: a comment above each directive, or above those next to it."""
    lines = [line.strip() for line in CONFIGURATION.read_text(encoding="utf-8").splitlines()]
    for number, line in enumerate(lines):
        if re.match(
            r"(proxy_(?!pass|set_header)|client_|keepalive|large_|send_|worker_|access_log|error_log|pid)", line
        ):
            above = number
            while lines[above] and not lines[above].startswith("#"):
                above -= 1
            assert lines[above].startswith("#"), line
