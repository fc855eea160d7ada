"""The attacker's servers serve what a deceived verifier needs, and notice each connection."""

import socket
import ssl

import jwt
import pytest
import requests
from cryptography.x509 import load_pem_x509_certificate

from mock_issuer.hostile.addresses import address_requests
from mock_issuer.hostile.check.attackers_servers import AttackersServers
from mock_issuer.hostile.request import from_json
from tests.kit.key_server import KeyServer


@pytest.mark.parametrize("issuer", ["https://issuer.example/", "https://issuer.example"])
@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/openid-configuration",
        "//.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
    ],
)
def test_metadata_names_the_server_as_issuer(issuer: str, path: str) -> None:
    with AttackersServers(kid="key-1", issuer=issuer) as servers:
        base = f"http://127.0.0.1:{servers.open_port('row')}"
        metadata = requests.get(base + path, timeout=5).json()
        assert metadata["issuer"] == base + ("/" if issuer.endswith("/") else "")
        keys = jwt.PyJWKSet.from_dict(requests.get(metadata["jwks_uri"], timeout=5).json())
        assert {key.key_id for key in keys.keys} == {"attacker", "key-1"}


def test_the_keys_and_the_certificate_verify_the_tokens_that_name_them(issuer: KeyServer) -> None:
    table = requests.get(f"{issuer.origin}/_mock/hostile", params={"scope": "read:devices"}, timeout=5).json()
    good = from_json(table["requests"][0])
    with AttackersServers(kid="key-1", issuer=issuer.issuer) as servers:
        rows = {row.name: row for row in address_requests(good, servers.open_port)}
        for name, parameter in (
            ("attackers-jku-served", "jku"),
            ("attackers-kid-url-served", "kid"),
            ("attackers-x5u-served", "x5u"),
        ):
            token = rows[name].headers[0][1].removeprefix("Bearer ")
            answer = requests.get(jwt.get_unverified_header(token)[parameter], timeout=5)
            is_key_set = parameter != "x5u"
            key = jwt.PyJWKSet.from_dict(answer.json()).keys[0] if is_key_set else None
            verify = key or load_pem_x509_certificate(answer.content).public_key()
            jwt.decode(token, verify, algorithms=["RS256"], options={"verify_aud": False})  # type: ignore[arg-type]
            assert servers.fetched(name)
        assert not servers.fetched("attackers-issuer")


def test_an_attempt_to_speak_tls_is_noticed() -> None:
    with AttackersServers(kid="key-1", issuer="x") as servers:
        port = servers.open_port("row")
        assert not servers.fetched("row")
        with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port)) as connection:  # noqa: PT011  # any TLS error
            ssl.create_default_context().wrap_socket(connection, server_hostname="localhost")
        assert servers.fetched("row")
        assert not servers.fetched("another row")


def test_the_ports_are_closed_at_the_end() -> None:
    with AttackersServers(kid="key-1", issuer="x") as servers:
        ports = [servers.open_port(str(number)) for number in range(3)]
        assert len(set(ports)) == 3
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
