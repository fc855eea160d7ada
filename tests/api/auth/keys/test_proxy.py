"""Fetches through a real proxy on loopback, from a TLS server whose name only the proxy resolves."""

import base64
import contextlib
import select
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest
import trustme

from api.auth.keys.fetch import MAX_BYTES, FetchError, fetch
from api.auth.keys.proxy import find_proxy

URL = "https://issuer.test/jwks.json"
DOCUMENT = b'{"keys":[]}'


class ConnectProxy:
    """An HTTP proxy for CONNECT; a context manager.

    `routes` says where each host and port is. `heads` has the headers of each request. `status` refuses them all.
    `released` ends answers that `drip`.
    """

    def __init__(self) -> None:
        self.routes: dict[str, int] = {}
        self.heads: list[dict[str, str]] = []
        self.status = 200
        self.drips = False
        self.released = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            rbufsize = 0  # what follows the request belongs to the tunnel

            def do_CONNECT(self) -> None:
                proxy.heads.append(
                    {"target": self.path, **{name.lower(): value for name, value in self.headers.items()}}
                )
                self.close_connection = True
                with contextlib.suppress(OSError):  # the client closed the connection, as some tests expect
                    if proxy.drips:
                        while not proxy.released.wait(0.05):
                            self.wfile.write(b"X")
                    elif proxy.status != 200 or self.path not in proxy.routes:
                        self.send_error(proxy.status if proxy.status != 200 else 502)
                    else:
                        self._forward(proxy.routes[self.path])

            def _forward(self, port: int) -> None:
                with socket.create_connection(("127.0.0.1", port)) as server:
                    self.send_response_only(200, "Connection established")
                    self.end_headers()
                    ends = {self.connection: server, server: self.connection}
                    while not proxy.released.is_set():
                        for readable in select.select(list(ends), [], [], 0.1)[0]:
                            data = readable.recv(65_536)
                            if not data:
                                return
                            ends[readable].sendall(data)

            def log_message(self, *_args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.address = f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class TlsServer(HTTPServer):
    """Answers every GET over TLS; `drips` sends a byte each 50 ms instead."""

    drips = False
    body = DOCUMENT
    status = 200

    def __init__(self, certificate: trustme.LeafCert) -> None:
        server = self
        self.released = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.close_connection = True
                with contextlib.suppress(OSError):
                    self.send_response(server.status)
                    self.send_header("Location", "https://elsewhere.test/")
                    self.end_headers()
                    while server.drips and not server.released.wait(0.05):
                        self.wfile.write(b" ")
                    self.wfile.write(server.body)

            def log_message(self, *_args: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self._context)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        try:
            return self._context.wrap_socket(connection, server_side=True), address
        except OSError:  # ssl.SSLError is one: a client that does not trust the certificate
            connection.close()
            raise

    def handle_error(self, _request: object, _address: object) -> None:
        pass


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def origin(authority: trustme.CA) -> Iterator[TlsServer]:
    with TlsServer(authority.issue_cert("issuer.test", "127.0.0.1")) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def environment(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


@pytest.fixture
def proxy(origin: TlsServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConnectProxy]:
    with ConnectProxy() as proxy:
        proxy.routes["issuer.test:443"] = origin.server_port
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        yield proxy


def refusal(url: str = URL, seconds: float = 3) -> str:
    with pytest.raises(FetchError) as caught:
        fetch(url, seconds)
    return str(caught.value)


def test_fetches_through_the_proxy(proxy: ConnectProxy) -> None:
    assert fetch(URL, 3).body == DOCUMENT
    assert proxy.heads == [{"target": "issuer.test:443", "host": "issuer.test:443"}]


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
@pytest.mark.parametrize("form", ["http://{}", "http://{}/", "{}", "HTTP://{}"])
def test_the_proxy_is_named_in_any_of_the_usual_ways(
    proxy: ConnectProxy, monkeypatch: pytest.MonkeyPatch, name: str, form: str
) -> None:
    monkeypatch.delenv("HTTPS_PROXY")
    monkeypatch.setenv(name, form.format(proxy.address))
    assert fetch(URL, 3).body == DOCUMENT


@pytest.mark.parametrize(
    ("credentials", "sent"), [("user:geheim", "user:geheim"), ("us%40er:g%3Ah%2F", "us@er:g:h/"), ("user", "user:")]
)
def test_sends_the_credentials_of_its_address_to_the_proxy(
    proxy: ConnectProxy, monkeypatch: pytest.MonkeyPatch, credentials: str, sent: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{credentials}@{proxy.address}")
    assert fetch(URL, 3).body == DOCUMENT
    assert proxy.heads[0]["proxy-authorization"] == f"Basic {base64.b64encode(sent.encode()).decode()}"


@pytest.mark.parametrize("status", [300, 302, 403, 407, 500, 502])
def test_tells_that_the_proxy_refuses_and_never_its_credentials(
    proxy: ConnectProxy, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:geheim@{proxy.address}")
    proxy.status = status
    assert refusal() == "the proxy refused the connection"


def test_tells_that_the_proxy_cannot_reach_the_host(proxy: ConnectProxy) -> None:
    assert refusal("https://other.test/") == "the proxy refused the connection"


def test_an_ipv6_address_is_in_brackets(proxy: ConnectProxy) -> None:
    assert refusal("https://[2001:db8::1]:8443/") == "the proxy refused the connection"
    assert proxy.heads == [{"target": "[2001:db8::1]:8443", "host": "[2001:db8::1]:8443"}]


def test_tells_that_the_proxy_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def reset() -> None:
            connection, _ = listener.accept()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.recv(65_536)
            connection.close()

        thread = threading.Thread(target=reset, daemon=True)
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert refusal() == "the proxy refused the connection"
        thread.join()


def test_ends_in_time_where_the_proxy_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert refusal(seconds=0.2) == "timed out"


def test_tells_that_the_proxy_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:geheim@127.0.0.1:{port}")
    assert refusal() == "the proxy cannot be reached"
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:geheim@{'a' * 64}.test:3128")  # a name that cannot be encoded
    assert refusal() == "the proxy cannot be reached"


def test_tells_a_proxy_that_does_not_speak_http(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert refusal() == "the proxy refused the connection"
        thread.join()


@pytest.mark.parametrize(
    ("address", "cause"),
    [
        ("https://user:geheim@127.0.0.1:1", "HTTPS_PROXY is not an http:// address"),
        ("socks5://user:geheim@127.0.0.1:1", "HTTPS_PROXY is not an http:// address"),
        ("http://user:geheim@127.0.0.1:port", "HTTPS_PROXY is malformed"),
        ("http://user:geheim@[::1", "HTTPS_PROXY is malformed"),
        ("http://user:geheim@:3128", "HTTPS_PROXY is malformed"),
        ("http://user:geheim\udcff@127.0.0.1:1", "HTTPS_PROXY is malformed"),
        ("http://", "HTTPS_PROXY is malformed"),
    ],
)
def test_tells_an_address_that_it_cannot_use(monkeypatch: pytest.MonkeyPatch, address: str, cause: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    assert refusal() == cause


# The limits are those of a fetch without a proxy.


def test_the_certificate_must_be_the_issuers(proxy: ConnectProxy, origin: TlsServer) -> None:
    proxy.routes["other.test:443"] = origin.server_port
    assert refusal("https://other.test/") == "TLS failed"


def test_the_authority_must_be_trusted(proxy: ConnectProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.pem"))
    assert refusal() == "TLS failed"
    assert len(proxy.heads) == 1


def test_ends_in_time_however_slowly_the_proxy_drips(proxy: ConnectProxy) -> None:
    proxy.drips = True
    assert refusal(seconds=0.4) == "timed out"


def test_ends_in_time_however_slowly_the_issuer_drips(proxy: ConnectProxy, origin: TlsServer) -> None:
    origin.drips = True
    assert refusal(seconds=0.4) == "timed out"
    assert len(proxy.heads) == 1


def test_bounds_the_size(proxy: ConnectProxy, origin: TlsServer) -> None:
    origin.body = b" " * (MAX_BYTES + 1)
    assert refusal() == "longer than 256 KiB"
    assert len(proxy.heads) == 1


def test_follows_no_redirect(proxy: ConnectProxy, origin: TlsServer) -> None:
    origin.status = 302
    assert refusal() == "the status is not 200"
    assert len(proxy.heads) == 1


# Without a proxy


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_is_never_fetched_through_a_proxy(proxy: ConnectProxy, origin: TlsServer, host: str) -> None:
    # The certificate is for 127.0.0.1: the name localhost fails after the connection.
    url = f"https://{host}:{origin.server_port}/jwks.json"
    if host == "127.0.0.1":
        assert fetch(url, 3).body == DOCUMENT
    else:
        assert refusal(url) == "TLS failed"
    assert proxy.heads == []


@pytest.mark.parametrize(
    ("variables", "url", "is_used"),
    [
        ({}, URL, False),
        ({"HTTPS_PROXY": ""}, URL, False),
        ({"HTTP_PROXY": "http://proxy.test"}, URL, False),
        ({"HTTPS_PROXY": "http://proxy.test"}, URL, True),
        ({"HTTPS_PROXY": "http://proxy.test", "NO_PROXY": "issuer.test"}, URL, False),
        ({"HTTPS_PROXY": "http://proxy.test", "no_proxy": "a.example, issuer.test"}, URL, False),
        ({"HTTPS_PROXY": "http://proxy.test", "NO_PROXY": ".test"}, URL, False),
        ({"HTTPS_PROXY": "http://proxy.test", "NO_PROXY": "test"}, URL, False),
        ({"HTTPS_PROXY": "http://proxy.test", "NO_PROXY": "*"}, URL, False),
        ({"HTTPS_PROXY": "http://proxy.test", "NO_PROXY": "issuer.test:8443"}, URL, True),
        ({"HTTPS_PROXY": "http://proxy.test", "NO_PROXY": "issuer.test:8443"}, "https://issuer.test:8443/", False),
        ({"HTTPS_PROXY": "http://proxy.test", "NO_PROXY": "suer.test,issuer.test.example"}, URL, True),
        ({"HTTPS_PROXY": "http://proxy.test"}, "http://127.0.0.1/", False),
        ({"HTTPS_PROXY": "http://proxy.test"}, "http://issuer.test/", False),
        ({"HTTPS_PROXY": "http://proxy.test", "HTTP_PROXY": "http://proxy.test"}, "http://localhost:9000/", False),
        ({"HTTPS_PROXY": "http://proxy.test"}, "https://[::1]:9000/", False),
        ({"HTTPS_PROXY": "http://proxy.test"}, "https://[2001:db8::1]/", True),
    ],
)
def test_which_addresses_are_fetched_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str, *, is_used: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (find_proxy(url) is not None) == is_used


def test_the_port_is_80_where_the_address_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:geheim@proxy.test")
    found = find_proxy(URL)
    assert found is not None
    assert (found.host, found.port) == ("proxy.test", 80)
    assert "geheim" not in repr(found)
    assert found.authorization is not None
    assert found.authorization not in repr(found)
