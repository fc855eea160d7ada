from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from device_app.http.transport import describe_failure, is_http_url, is_secure_url, secure_session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.device_app.conftest import ScriptedServer


@pytest.mark.parametrize(
    "address",
    [
        "https://a.example/",
        "http://127.0.0.1:9000",
        "http://127.8.9.1/",
        "http://localhost/x",
        "http://[::1]:80/",
        "HTTP://LOCALHOST",
    ],
)
def test_safe_addresses(address: str) -> None:
    assert is_secure_url(address)


@pytest.mark.parametrize(
    "address",
    [
        "http://a.example/",
        "http://127.0.0.1.evil.example/",
        "http://localhost.evil.example/",
        "http://127.0.0.1@evil.example/",
        "http://evil.example\\@127.0.0.1/",
        "http://0.0.0.0/",
        "http://10.0.0.1/",
        "ftp://127.0.0.1/",
        "https://",
        "https://user@a.example/",
        "http://[::1",
        "127.0.0.1",
        "",
    ],
)
def test_unsafe_addresses(address: str, http: requests.Session) -> None:
    assert not is_secure_url(address)
    with pytest.raises((requests.RequestException, ValueError)):
        http.get(address)


def test_plain_http_is_an_address_to_open_but_not_to_send_tokens_to() -> None:
    assert is_http_url("http://a.example/activate")


def failure(http: requests.Session, url: str) -> str:
    with pytest.raises(requests.RequestException) as caught:
        http.get(url)
    return describe_failure(caught.value)


def test_redirects_are_not_followed(server: ScriptedServer, http: requests.Session) -> None:
    server.on("GET /a", (302, "", {"Location": "/b"}))
    assert "redirect" in failure(http, server.address + "/a")
    assert not server.to("/b")


def test_a_body_that_is_too_large(server: ScriptedServer, http: requests.Session) -> None:
    server.on("GET /a", (200, "x" * (5 * 1024 * 1024)))
    assert "too large" in failure(http, server.address + "/a")


def test_a_body_that_arrives_too_slowly(http: requests.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device_app.http.transport._BODY_SECONDS", 0.2)
    enough = threading.Event()

    class Drip(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                while not enough.wait(0.05):
                    self.wfile.write(b"x")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
            pass

    with HTTPServer(("127.0.0.1", 0), Drip) as dripping:
        thread = threading.Thread(target=dripping.handle_request)
        thread.start()
        try:
            assert "in time" in failure(http, f"http://127.0.0.1:{dripping.server_port}/")
        finally:
            enough.set()
            thread.join()


@pytest.mark.parametrize("sent", [b"HTTP/1.1 100 Continue\r\n\r\n", b"X-Header: 1\r\n"], ids=["interim", "headers"])
def test_a_head_that_does_not_end(http: requests.Session, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr("device_app.http.transport._HEAD_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(ConnectionError):
                connection.recv(65_536)
                if not sent.startswith(b"HTTP"):
                    connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while True:
                    connection.sendall(sent)
                    stop.wait(0.02)

        stop = threading.Event()
        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert failure(http, f"http://127.0.0.1:{listener.getsockname()[1]}/") == "did not answer in time"
        finally:
            stop.set()
            thread.join()


def test_a_tls_handshake_that_does_not_end(http: requests.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device_app.http.transport._CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(ConnectionError):
                # A TLS record (RFC 8446 §5.1) of 16,000 bytes, of which one arrives at a time.
                connection.sendall(b"\x16\x03\x03\x3e\x80\x02")
                while True:
                    connection.sendall(b"\0")
                    stop.wait(0.02)

        stop = threading.Event()
        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert failure(http, f"https://127.0.0.1:{listener.getsockname()[1]}/") == "did not answer in time"
        finally:
            stop.set()
            thread.join()


def test_failures_that_requests_does_not_translate(http: requests.Session) -> None:
    assert "insecure" in failure(http, "http://a.example/")
    assert failure(http, "https://a..b/")


def test_the_environment_adds_no_password_and_no_proxy(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login alice password wonderland\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    server.on("GET /a", (200, {}))
    with secure_session(requests.Session(), None) as session:
        session.get(server.address + "/a")
    assert "Authorization" not in server.received[0].headers


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Return a file with a key and a self-signed certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)  # noqa: FBT003
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def tls_address(certificate: Path) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    http = HTTPServer(("127.0.0.1", 0), Handler)
    http.socket = context.wrap_socket(http.socket, server_side=True)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"https://127.0.0.1:{http.server_port}/"
    http.shutdown()
    thread.join()
    http.server_close()


def test_tls_is_verified_and_cannot_be_turned_off(
    tls_address: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))  # only --ca-file changes the authorities
    with secure_session(requests.Session(), None) as session:
        session.verify = False
        assert "--ca-file" in failure(session, tls_address)
        with pytest.raises(requests.exceptions.SSLError):
            session.get(tls_address, verify=False)


def test_a_ca_file_is_trusted(tls_address: str, certificate: Path) -> None:
    with secure_session(requests.Session(), certificate) as session:
        assert session.get(tls_address).status_code == 204
