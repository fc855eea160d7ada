from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from device_app.login.issuer import discover
from device_app.model.errors import DeviceAppError, UnavailableError

if TYPE_CHECKING:
    import requests

    from tests.device_app.conftest import ScriptedServer


def test_openid_configuration(server: ScriptedServer, http: requests.Session) -> None:
    issuer = discover(server.issuer, http)
    assert issuer.token_endpoint == server.address + "/token"
    assert issuer.device_authorization_endpoint == server.address + "/device"
    assert issuer.revocation_endpoint == server.address + "/revoke"


@pytest.mark.parametrize("path", ["/", "/tenant", "/tenant/"])
@pytest.mark.parametrize("openid", [(404, {}), (200, "no JSON"), (200, "[" * 100_000)])
def test_rfc_8414_metadata_is_fetched_second(
    server: ScriptedServer, http: requests.Session, path: str, openid: Any
) -> None:
    identifier = server.address + path
    tail = path.rstrip("/")
    server.on(f"GET {tail}/.well-known/openid-configuration", openid)
    server.on(
        f"GET /.well-known/oauth-authorization-server{tail}",
        (200, {"issuer": identifier, "token_endpoint": server.address + "/token"}),
    )
    issuer = discover(identifier, http)
    assert issuer.identifier == identifier
    assert issuer.revocation_endpoint is None
    assert issuer.device_authorization_endpoint is None


@pytest.mark.parametrize("announced", ["{address}", "{address}//", "https://evil.example/", None, 7])
def test_the_issuer_must_be_identical_including_the_slash(
    server: ScriptedServer, http: requests.Session, announced: Any
) -> None:
    if isinstance(announced, str):
        announced = announced.format(address=server.address)
    server.announce(issuer=announced)
    with pytest.raises(DeviceAppError, match="names another issuer"):
        discover(server.issuer, http)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"token_endpoint": None}, "no token endpoint"),
        ({"token_endpoint": "http://far.example/token"}, "only https"),
        ({"revocation_endpoint": "ftp://127.0.0.1/"}, "only https"),
        ({"device_authorization_endpoint": ["x"]}, "only https"),
    ],
)
def test_endpoints_that_are_not_used(
    server: ScriptedServer, http: requests.Session, changes: dict[str, Any], sentence: str
) -> None:
    server.announce(**changes)
    with pytest.raises(DeviceAppError, match=sentence):
        discover(server.issuer, http)


@pytest.mark.parametrize("answer", [(0, ""), (500, ""), (429, {}), (301, "", {"Location": "/x"})])
def test_an_issuer_that_cannot_answer(server: ScriptedServer, http: requests.Session, answer: Any) -> None:
    server.on("GET /.well-known/openid-configuration", answer)
    with pytest.raises(UnavailableError):
        discover(server.issuer, http)


def test_a_server_that_is_not_an_issuer(server: ScriptedServer, http: requests.Session) -> None:
    server.scripts.clear()
    with pytest.raises(DeviceAppError, match="publishes no issuer metadata"):
        discover(server.issuer, http)
