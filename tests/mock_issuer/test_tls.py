"""https with a generated certificate, verified by real clients."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey

from mock_issuer import Config, ConfigError, Server
from tests.kit.headers import header_of
from tests.kit.issuer_command import COMMANDS, started
from tests.kit.processes import ROOT, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

METADATA = ".well-known/openid-configuration"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(tls=True) as server:
        yield server


def port_of(server: Server) -> int:
    return urlsplit(server.url).port or 0


def handshake(server: Server, name: str, context: ssl.SSLContext, host: str = "127.0.0.1") -> dict[str, Any]:
    """Connect, verify the certificate for `name`, and return it."""
    with (
        socket.create_connection((host, port_of(server)), timeout=10) as wire,
        context.wrap_socket(wire, server_hostname=name) as secured,
    ):
        found: dict[str, Any] = dict(secured.getpeercert() or {})
        return found


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_client_that_trusts_the_ca_is_served(server: Server, host: str) -> None:
    assert server.ca_file is not None
    response = requests.get(f"https://{host}:{port_of(server)}/{METADATA}", verify=str(server.ca_file), timeout=10)
    assert response.status_code == 200
    body = response.json()
    assert body["issuer"] == server.url == f"https://127.0.0.1:{port_of(server)}/"
    assert {urlsplit(address).scheme for name, address in body.items() if name.endswith(("_uri", "_endpoint"))} == {
        "https"
    }


def test_a_client_that_does_not_trust_the_ca_fails(server: Server) -> None:
    with pytest.raises(requests.exceptions.SSLError, match="unable to get local issuer certificate"):
        requests.get(server.url + METADATA, timeout=10)


@pytest.mark.parametrize("name", ["issuer.test", "localhost.evil.example", "127.0.0.2", "::1"])
def test_another_name_is_refused(server: Server, name: str) -> None:
    context = ssl.create_default_context(cafile=server.ca_file)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"mismatch|not valid for"):
        handshake(server, name, context)


def test_the_issuers_own_name_and_host_are_in_the_certificate() -> None:
    with Server(tls=True, host="127.0.0.2", issuer="https://issuer.test:9000/tenant") as server:
        assert server.ca_file is not None
        context = ssl.create_default_context(cafile=server.ca_file)
        certificate = handshake(server, "issuer.test", context, host="127.0.0.2")
        names = {value for _, value in certificate["subjectAltName"]}
        assert names == {"127.0.0.1", "127.0.0.2", "issuer.test", "localhost"}


def test_listens_on_ipv6_too() -> None:
    with Server(tls=True, host="::1") as server:
        assert requests.get(server.url + METADATA, verify=str(server.ca_file), timeout=10).ok


def test_the_certificate_chain_is_valid(server: Server) -> None:
    assert server.ca_file is not None
    ca = x509.load_pem_x509_certificate(server.ca_file.read_bytes())
    pem = ssl.get_server_certificate(("127.0.0.1", port_of(server)), ca_certs=str(server.ca_file))
    leaf = x509.load_pem_x509_certificate(pem.encode())
    leaf.verify_directly_issued_by(ca)
    key = ca.public_key()
    assert isinstance(key, EllipticCurvePublicKey)
    key.verify(leaf.signature, leaf.tbs_certificate_bytes, ECDSA(leaf.signature_hash_algorithm))  # type: ignore[arg-type]
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is True
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days < 398
    # Strict verification, the default of Python 3.13, requires key usages and key identifiers.
    context = ssl.create_default_context(cafile=server.ca_file)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    handshake(server, "localhost", context)


def test_every_server_has_a_ca_of_its_own(server: Server) -> None:
    with Server(tls=True) as other:
        assert other.ca_file != server.ca_file
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(other.url + METADATA, verify=str(server.ca_file), timeout=10)


def test_old_protocols_are_refused(server: Server) -> None:
    context = ssl.create_default_context(cafile=server.ca_file)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(server, "localhost", context)


def test_silent_and_malformed_clients_block_no_other(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    address = ("127.0.0.1", port_of(server))
    silent = [socket.create_connection(address, timeout=10) for _ in range(20)]
    try:
        for number, content in enumerate((b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05", b"\x00" * 500)):
            silent[number].sendall(content)
        assert requests.get(server.url + METADATA, verify=str(server.ca_file), timeout=5).ok
        with ThreadPoolExecutor(8) as pool:
            answers = pool.map(
                lambda _: requests.get(server.url + METADATA, verify=str(server.ca_file), timeout=10).status_code,
                range(8),
            )
            assert set(answers) == {200}
    finally:
        for wire in silent:
            wire.close()
    assert requests.get(server.url + METADATA, verify=str(server.ca_file), timeout=5).ok
    assert "Traceback" not in capfd.readouterr().err


def test_the_private_key_is_readable_by_its_owner_only_and_deleted_at_the_end() -> None:
    with Server(tls=True) as server:
        assert server.ca_file is not None
        directory = server.ca_file.parent
        private = [path for path in directory.iterdir() if "PRIVATE KEY" in path.read_text(encoding="ascii")]
        assert [path.name for path in private] == ["server.pem"]
        assert oct(stat.S_IMODE(private[0].stat().st_mode)) == "0o600"
        assert oct(stat.S_IMODE(directory.stat().st_mode)) == "0o700"
        assert "PRIVATE" not in server.ca_file.read_text(encoding="ascii")
        # The CA's key is in no file: nobody can issue another certificate.
        assert private[0].read_text(encoding="ascii").count("PRIVATE KEY") == 2
    assert not directory.exists()


def test_a_server_that_fails_to_start_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ConfigError):
        Server(Config(), tls=True, issuer="ftp://issuer.test/")
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_no_certificate_can_name_is_a_configuration_error() -> None:
    # RFC 5280 §4.2.1.6: no underscore in a dNSName.
    with pytest.raises(ConfigError, match=r"cannot name all of 127\.0\.0\.1, a_b, localhost: "):
        Server(tls=True, issuer="https://a_b:9000/")


def test_without_trustme_only_tls_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(ConfigError, match="pip install trustme"):
        Server(tls=True)
    with Server() as server:
        assert requests.get(server.url + METADATA, timeout=10).ok


def test_without_tls_there_is_no_ca() -> None:
    with Server() as server:
        assert server.ca_file is None
        assert server.url.startswith("http://")


def test_cookies_are_secure(server: Server) -> None:
    response = requests.get(server.url + "activate", verify=str(server.ca_file), timeout=10)
    assert "; Secure" in header_of(response, "Set-Cookie")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_prints_where_its_ca_is(number: signal.Signals) -> None:
    with started([*COMMANDS[0], "--tls", "--port", "0"]) as (process, line):
        assert process.stdout
        url = line.split()[-1]
        assert line == f"Mock issuer listening on {url}\n"
        assert url.startswith("https://127.0.0.1:")
        second = process.stdout.readline()
        ca_file = Path(second.removeprefix("Its CA is in ").rstrip("\n"))
        assert second == f"Its CA is in {ca_file}\n"
        assert requests.get(url + METADATA, verify=str(ca_file), timeout=10).json()["issuer"] == url
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(url + METADATA, timeout=10)
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out) == (0, "")
        assert "Traceback" not in err
    assert not ca_file.parent.exists()


VERIFY = """
import sys
sys.path.append("api")  # imports auth/ alone: the whole API takes seconds
from auth import AuthConfig, AuthError, TokenVerifier, TrustedIssuer

issuer, token = sys.argv[1:]
config = AuthConfig(issuers=(TrustedIssuer(identifier=issuer, audiences=("https://device-api.example",)),))
try:
    print(TokenVerifier(config).verify(token).subject)
except AuthError as error:
    print(type(error).__name__)
"""


def test_the_api_verifies_tokens_of_an_https_issuer(server: Server) -> None:
    def verify(**variables: str) -> str:
        # In a new process, because SSL_CERT_FILE is read when the first context is created.
        clean = {name: value for name, value in environment({}).items() if name != "SSL_CERT_FILE"}
        command = [sys.executable, "-c", VERIFY, server.url, server.token(sub="mock|bob")]
        done = subprocess.run(
            command, cwd=ROOT, env=clean | variables, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert verify(SSL_CERT_FILE=str(server.ca_file)) == "mock|bob"
    assert verify() == "KeysUnavailable"
    assert os.environ.get("SSL_CERT_FILE") != str(server.ca_file)
