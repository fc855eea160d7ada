"""OAuth client libraries, unmodified, complete the authorization code flow with PKCE over https."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import jwt
import msal  # type: ignore[import-untyped]
import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from mock_issuer import Client, Config, Server
from mock_issuer.config import Profile
from tests.kit.callback import answer_in, callback_server
from tests.kit.person import Person
from tests.kit.verification import verified

AUDIENCE = "https://device-api.example"
SCOPE = "openid read:devices offline_access"
WEB = {
    "client_id": "web",
    "secret": "s3cret",
    "application_type": "web",
    "grant_types": frozenset({"authorization_code", "refresh_token"}),
}


@pytest.fixture
def port() -> Iterator[int]:
    with callback_server() as port:
        yield port


@pytest.fixture(params=["auth0", "rfc"])
def issuer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, port: int) -> Iterator[Server]:
    """An issuer whose CA is trusted through REQUESTS_CA_BUNDLE, with a path in its identifier, as MSAL demands."""
    profile: Profile = request.param
    web = Client(**WEB, redirect_uris=frozenset({f"http://127.0.0.1:{port}/signin"}))  # type: ignore[arg-type]
    config = Config(profile=profile, default_audience=AUDIENCE, clients=(*Config().clients, web))
    with Server(config, tls=True) as free:
        url = free.url
    with Server(config, tls=True, port=int(url.split(":")[2].strip("/")), issuer=f"{url}tenant") as server:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.ca_file))
        yield server


@contextmanager
def signed_in(url: str) -> Iterator[Person]:
    """Log in and consent in a browser that opens `url`."""
    with Person(url) as person:
        person.open(url)
        person.log_in()
        person.send(answer="allow")
        yield person


# Authlib


def authlib_session(client_id: str, redirect_uri: str) -> OAuth2Session:
    secret = WEB["secret"] if client_id == "web" else None
    method = "client_secret_basic" if secret else "none"
    return OAuth2Session(
        client_id,
        secret,
        scope=SCOPE,
        redirect_uri=redirect_uri,
        token_endpoint_auth_method=method,
        code_challenge_method="S256",
    )


@pytest.mark.parametrize(("client_id", "path"), [("device-app", "callback"), ("web", "signin")])
def test_authlib_logs_in_with_pkce(issuer: Server, port: int, client_id: str, path: str) -> None:
    with authlib_session(client_id, f"http://127.0.0.1:{port}/{path}") as session:
        address = f"{issuer.config.issuer}/.well-known/openid-configuration"
        metadata = session.request("GET", address, withhold_token=True, timeout=10).json()
        verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe()
        url, state = session.create_authorization_url(
            metadata["authorization_endpoint"], code_verifier=verifier, nonce=nonce
        )
        with signed_in(url) as person:
            address = person.page.url
        assert answer_in(address)["iss"] == metadata["issuer"]
        exchange = {"authorization_response": address, "state": state, "code_verifier": verifier}
        token = session.fetch_token(metadata["token_endpoint"], **exchange)
        assert (token["token_type"], token["scope"]) == ("Bearer", SCOPE)
        keys = jwt.PyJWKSet.from_dict(session.get(metadata["jwks_uri"], timeout=10).json())
        claims = jwt.decode(
            token["id_token"],
            keys[jwt.get_unverified_header(token["id_token"])["kid"]],
            algorithms=["RS256"],
            audience=client_id,
            issuer=metadata["issuer"],
        )
        assert (claims["sub"], claims["nonce"]) == ("mock|alice", nonce)
        assert session.get(metadata["userinfo_endpoint"], timeout=10).json() == {"sub": "mock|alice"}
        renewed = session.refresh_token(metadata["token_endpoint"], refresh_token=token["refresh_token"])
        assert renewed["refresh_token"] != token["refresh_token"]
        with pytest.raises(OAuthError, match="invalid_grant"):
            session.fetch_token(metadata["token_endpoint"], **exchange)


# MSAL


def msal_application(issuer: Server, client_id: str) -> Any:
    options = {"oidc_authority": issuer.config.issuer, "instance_discovery": False, "verify": str(issuer.ca_file)}
    if client_id == "web":
        return msal.ConfidentialClientApplication("web", client_credential=WEB["secret"], **options)
    return msal.PublicClientApplication(client_id, **options)


@pytest.mark.parametrize(("client_id", "path"), [("device-app", ""), ("web", "/signin")])
def test_msal_logs_in_with_a_code_and_refreshes(issuer: Server, port: int, client_id: str, path: str) -> None:
    app = msal_application(issuer, client_id)
    host = "localhost" if client_id == "device-app" else "127.0.0.1"
    flow = app.initiate_auth_code_flow(
        ["read:devices"], redirect_uri=f"http://{host}:{port}{path}", response_mode="form_post", prompt="login"
    )
    with signed_in(flow["auth_uri"]) as person:
        result = app.acquire_token_by_auth_code_flow(flow, person.hidden_fields())
        assert "Back in the app" in person.send().text
    assert "error" not in result, result
    assert result["id_token_claims"]["sub"] == "mock|alice"
    (account,) = app.get_accounts()
    renewed = app.acquire_token_silent_with_error(["read:devices"], account=account, force_refresh=True)
    assert renewed["access_token"] != result["access_token"]


def test_msal_connects_a_device(issuer: Server) -> None:
    app = msal_application(issuer, "device-app")
    flow = app.initiate_device_flow(["read:devices"])
    assert "error" not in flow, flow
    with Person(issuer.url) as person:
        person.approve(flow["user_code"])
    flow["expires_at"] = 0  # so that it polls once
    result = app.acquire_token_by_device_flow(flow)
    assert "error" not in result, result
    assert verified(issuer, result["access_token"]).subject_or_none == "mock|alice"
    assert result["id_token_claims"]["sub"] == "mock|alice"


def test_msal_opens_a_browser_and_listens_on_loopback(issuer: Server) -> None:
    app = msal_application(issuer, "device-app")

    def browse(url: str) -> str:
        with signed_in(url) as person:
            return person.send().text

    with ThreadPoolExecutor(1) as pool:
        # MSAL listens once the callback has returned.
        pages: list[Future[str]] = []
        result = app.acquire_token_interactive(
            ["read:devices"],
            auth_uri_callback=lambda url: pages.append(pool.submit(browse, url)),
            timeout=20,
            prompt="consent",
            login_hint="alice",
        )
        assert "Authentication complete" in pages[0].result(20)
    assert "error" not in result, result
    assert result["id_token_claims"]["sub"] == "mock|alice"
