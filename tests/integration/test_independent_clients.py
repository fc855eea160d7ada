"""OAuth client libraries, unmodified, complete the flow over https with both profiles.

Their own loops sleep for the interval; here, the tests send each poll and advance the issuer's clock.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import pytest
import requests
import requests_oauth2client as roc
from auth0.authentication import GetToken, RevokeToken, Users
from auth0.authentication.exceptions import Auth0Error, RateLimitError
from auth0.authentication.token_verifier import AsymmetricSignatureVerifier, TokenVerifier
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import DeviceClient
from oauthlib.oauth2.rfc6749.errors import InvalidGrantError, OAuth2Error
from requests.adapters import HTTPAdapter
from requests_oauthlib import OAuth2Session as OauthlibSession

from mock_issuer import Config, Server
from mock_issuer.config import Profile
from tests.kit.person import Person
from tests.kit.verification import verified

AUDIENCE = "https://device-api.example"
SCOPE = "openid read:devices offline_access"
GRANT = "urn:ietf:params:oauth:grant-type:device_code"
PENDING, SLOW, DENIED, EXPIRED = "authorization_pending", "slow_down", "access_denied", "expired_token"


@pytest.fixture(params=["auth0", "rfc"])
def issuer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An issuer whose CA is trusted through REQUESTS_CA_BUNDLE, which all clients based on requests read."""
    profile: Profile = request.param
    with Server(Config(profile=profile), tls=True) as server:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.ca_file))
        yield server


@pytest.fixture
def web() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


def approve(issuer: Server, user_code: str) -> None:
    """Approve on the activation pages."""
    with Person(issuer.url) as person:
        person.approve(user_code)


def userinfo(issuer: Server, web: requests.Session, access_token: str) -> Any:
    return web.get(f"{issuer.url}userinfo", headers={"Authorization": f"Bearer {access_token}"}, timeout=10).json()


# requests_oauth2client


@pytest.fixture
def client(issuer: Server, web: requests.Session) -> roc.OAuth2Client:
    metadata = web.get(f"{issuer.url}.well-known/openid-configuration", timeout=10).json()
    return roc.OAuth2Client.from_discovery_document(
        metadata,
        issuer=issuer.url,
        client_id="device-app",
        session=web,
        # The library takes every other endpoint from the document.
        device_authorization_endpoint=metadata["device_authorization_endpoint"],
    )


def start(client: roc.OAuth2Client) -> tuple[Any, roc.DeviceAuthorizationPollingJob]:
    answer = client.authorize_device(audience=AUDIENCE, scope=SCOPE)
    job = roc.DeviceAuthorizationPollingJob(client, answer)
    assert job.interval == answer.interval == 5
    job.interval = 0  # the seconds that it sleeps before each poll
    return answer, job


def test_requests_oauth2client_connects_refreshes_and_revokes(
    issuer: Server, web: requests.Session, client: roc.OAuth2Client
) -> None:
    answer, job = start(client)
    assert answer.verification_uri_complete.endswith(answer.user_code)
    assert job() is None  # pending
    assert job() is None  # too fast, and the client slows down by itself
    assert job.interval == 5
    job.interval = 0
    approve(issuer, answer.user_code)
    token = job()
    assert token is not None
    assert (token.token_type, token.scope) == ("Bearer", SCOPE)
    assert token.id_token is not None
    assert userinfo(issuer, web, token.access_token) == {"sub": "mock|alice"}
    renewed = client.refresh_token(token)
    assert renewed.refresh_token != token.refresh_token
    assert client.revoke_refresh_token(renewed) is True
    assert verified(issuer, renewed.access_token).subject_or_none == "mock|alice"
    with pytest.raises(roc.InvalidGrant):
        client.refresh_token(renewed)


@pytest.mark.parametrize(("outcome", "error"), [("deny", roc.AccessDenied), ("expire", roc.ExpiredToken)])
def test_requests_oauth2client_understands_denied_and_expired(
    issuer: Server, client: roc.OAuth2Client, outcome: Any, error: type[Exception]
) -> None:
    issuer.script(after_polls=1, outcome=outcome)
    _, job = start(client)
    assert job() is None
    issuer.clock.advance(5)
    with pytest.raises(error):
        job()


# oauthlib's device client


@dataclass
class Oauthlib:
    issuer: Server
    device: DeviceClient
    session: OauthlibSession

    def start(self) -> Any:
        # It builds a URL with a query, but the issuer reads the body only: the parameters are moved there.
        uri = self.device.prepare_request_uri(
            f"{self.issuer.url}oauth/device/code", scope=[*SCOPE.split(" ")], audience=AUDIENCE
        )
        address, _, body = uri.partition("?")
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.session.request("POST", address, data=body, headers=headers, withhold_token=True).json()

    def poll(self, codes: Any) -> Any:
        return self.session.fetch_token(
            f"{self.issuer.url}oauth/token", device_code=codes["device_code"], include_client_id=True, timeout=10
        )

    def error_of(self, codes: Any) -> str:
        with pytest.raises(OAuth2Error) as caught:
            self.poll(codes)
        return str(caught.value.error)


@pytest.fixture
def oauthlib(issuer: Server) -> Iterator[Oauthlib]:
    device = DeviceClient("device-app", scope=[*SCOPE.split(" ")])
    with OauthlibSession(client=device) as session:
        yield Oauthlib(issuer, device, session)


def test_oauthlib_connects_and_refreshes(issuer: Server, web: requests.Session, oauthlib: Oauthlib) -> None:
    codes = oauthlib.start()
    assert oauthlib.error_of(codes) == PENDING
    assert oauthlib.error_of(codes) == SLOW
    approve(issuer, codes["user_code"])
    token = oauthlib.poll(codes)
    assert token["scope"] == SCOPE.split(" ")
    assert userinfo(issuer, web, token["access_token"]) == {"sub": "mock|alice"}
    renewed = oauthlib.session.refresh_token(f"{issuer.url}oauth/token", client_id="device-app", timeout=10)
    assert verified(issuer, renewed["access_token"]).subject_or_none == "mock|alice"
    assert renewed["refresh_token"] != token["refresh_token"]
    with pytest.raises(InvalidGrantError):
        oauthlib.session.refresh_token(
            f"{issuer.url}oauth/token", refresh_token=token["refresh_token"], client_id="device-app", timeout=10
        )


@pytest.mark.parametrize(("outcome", "error"), [("deny", DENIED), ("expire", EXPIRED)])
def test_oauthlib_understands_denied_and_expired(issuer: Server, oauthlib: Oauthlib, outcome: Any, error: str) -> None:
    issuer.script(after_polls=1, outcome=outcome)
    codes = oauthlib.start()
    assert oauthlib.error_of(codes) == PENDING
    issuer.clock.advance(5)
    assert oauthlib.error_of(codes) == error


# Authlib's session


@pytest.fixture
def authlib(issuer: Server) -> Iterator[AuthlibSession]:
    with AuthlibSession("device-app", token_endpoint_auth_method="none", scope=SCOPE) as session:
        yield session


def authlib_poll(issuer: Server, authlib: AuthlibSession, codes: Any) -> Any:
    return authlib.fetch_token(f"{issuer.url}oauth/token", grant_type=GRANT, device_code=codes["device_code"])


def authlib_start(issuer: Server, authlib: AuthlibSession) -> Any:
    form = {"client_id": "device-app", "scope": SCOPE, "audience": AUDIENCE}
    return authlib.request("POST", f"{issuer.url}oauth/device/code", data=form, withhold_token=True).json()


def test_authlib_connects_and_refreshes(issuer: Server, web: requests.Session, authlib: AuthlibSession) -> None:
    codes = authlib_start(issuer, authlib)
    for error in (PENDING, SLOW):
        with pytest.raises(OAuthError, match=error):
            authlib_poll(issuer, authlib, codes)
    approve(issuer, codes["user_code"])
    token = authlib_poll(issuer, authlib, codes)
    assert userinfo(issuer, web, token["access_token"]) == {"sub": "mock|alice"}
    renewed = authlib.refresh_token(f"{issuer.url}oauth/token", refresh_token=token["refresh_token"])
    assert verified(issuer, renewed["access_token"]).subject_or_none == "mock|alice"
    assert renewed["refresh_token"] != token["refresh_token"]


@pytest.mark.parametrize(("outcome", "error"), [("deny", DENIED), ("expire", EXPIRED)])
def test_authlib_understands_denied_and_expired(
    issuer: Server, authlib: AuthlibSession, outcome: Any, error: str
) -> None:
    issuer.script(outcome=outcome)
    with pytest.raises(OAuthError, match=error):
        authlib_poll(issuer, authlib, authlib_start(issuer, authlib))


# JSON bodies, which Auth0's own libraries send


class JsonAdapter(HTTPAdapter):
    """Sends the forms of a library as JSON objects, and counts them."""

    converted = 0

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        if request.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
            body = request.body.decode() if isinstance(request.body, bytes) else str(request.body)
            del request.headers["Content-Type"]
            request.prepare_body(data=None, files=None, json=dict(parse_qsl(body)))
            assert request.headers["Content-Type"] == "application/json"
            self.converted += 1
        return super().send(request, *args, **options)


@pytest.fixture
def auth0_issuer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(tls=True) as server:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.ca_file))
        yield server


def test_requests_oauth2client_works_with_json(auth0_issuer: Server, web: requests.Session) -> None:
    metadata = web.get(f"{auth0_issuer.url}.well-known/oauth-authorization-server", timeout=10).json()
    web.mount(auth0_issuer.url, adapter := JsonAdapter())
    client = roc.OAuth2Client.from_discovery_document(
        metadata,
        issuer=auth0_issuer.url,
        client_id="device-app",
        session=web,
        device_authorization_endpoint=metadata["device_authorization_endpoint"],
    )
    answer, job = start(client)
    assert job() is None
    approve(auth0_issuer, answer.user_code)
    token = job()
    assert token is not None
    assert userinfo(auth0_issuer, web, token.access_token) == {"sub": "mock|alice"}
    renewed = client.refresh_token(token)
    assert client.revoke_refresh_token(renewed) is True
    with pytest.raises(roc.InvalidGrant):
        client.refresh_token(renewed)
    assert adapter.converted == 6


def test_oauthlib_works_with_json(auth0_issuer: Server) -> None:
    device = DeviceClient("device-app", scope=[*SCOPE.split(" ")])
    with OauthlibSession(client=device) as session:
        session.mount(auth0_issuer.url, adapter := JsonAdapter())
        oauthlib = Oauthlib(auth0_issuer, device, session)
        codes = oauthlib.start()
        assert oauthlib.error_of(codes) == PENDING
        approve(auth0_issuer, codes["user_code"])
        assert oauthlib.poll(codes)["scope"] == SCOPE.split(" ")
        assert session.refresh_token(f"{auth0_issuer.url}oauth/token", client_id="device-app", timeout=10)["id_token"]
        assert adapter.converted == 4


def test_authlib_works_with_json(auth0_issuer: Server) -> None:
    with AuthlibSession("device-app", token_endpoint_auth_method="none", scope=SCOPE) as authlib:
        authlib.mount(auth0_issuer.url, adapter := JsonAdapter())
        codes = authlib_start(auth0_issuer, authlib)
        with pytest.raises(OAuthError, match=PENDING):
            authlib_poll(auth0_issuer, authlib, codes)
        approve(auth0_issuer, codes["user_code"])
        token = authlib_poll(auth0_issuer, authlib, codes)
        assert authlib.refresh_token(f"{auth0_issuer.url}oauth/token", refresh_token=token["refresh_token"])
        assert adapter.converted == 4
    with AuthlibSession("device-gateway", "public-test-secret") as gateway:
        # Authlib introspects with HTTP Basic.
        url = f"{auth0_issuer.url}oauth/introspect"
        answer = gateway.introspect_token(url, token=token["access_token"], token_type_hint="access_token").json()
        assert (answer["active"], answer["client_id"]) == (True, "device-app")


# auth0-python


@dataclass
class Auth0Python:
    """GetToken has no method for the device flow: its own `post` sends the device request and the polls, as JSON."""

    issuer: Server
    get_token: GetToken

    def post(self, path: str, **members: str) -> Any:
        return self.get_token.post(f"{self.issuer.url}oauth/{path}", data={"client_id": "device-app", **members})

    def start(self) -> Any:
        return self.post("device/code", audience=AUDIENCE, scope=SCOPE)

    def poll(self, codes: Any) -> Any:
        return self.post("token", grant_type=GRANT, device_code=codes["device_code"])


@pytest.fixture
def auth0_python(auth0_issuer: Server) -> Auth0Python:
    return Auth0Python(auth0_issuer, GetToken(auth0_issuer.url.split("/")[2], "device-app"))


def test_auth0_python_connects_refreshes_and_revokes(auth0_issuer: Server, auth0_python: Auth0Python) -> None:
    codes = auth0_python.start()
    with pytest.raises(Auth0Error) as pending:
        auth0_python.poll(codes)
    assert (pending.value.status_code, pending.value.error_code) == (403, PENDING)
    with pytest.raises(RateLimitError) as slow:
        auth0_python.poll(codes)
    assert (slow.value.status_code, slow.value.error_code) == (429, SLOW)
    approve(auth0_issuer, codes["user_code"])
    tokens = auth0_python.poll(codes)
    assert verified(auth0_issuer, tokens["access_token"]).subject_or_none == "mock|alice"
    keys = AsymmetricSignatureVerifier(f"{auth0_issuer.url}.well-known/jwks.json")
    claims = TokenVerifier(keys, auth0_issuer.url, "device-app").verify(tokens["id_token"])
    assert claims["sub"] == "mock|alice"
    domain = auth0_python.get_token.domain
    assert Users(domain).userinfo(tokens["access_token"]) == {"sub": "mock|alice"}
    renewed = auth0_python.get_token.refresh_token(tokens["refresh_token"])
    assert verified(auth0_issuer, renewed["access_token"]).subject_or_none == "mock|alice"
    RevokeToken(domain, "device-app").revoke_refresh_token(renewed["refresh_token"])
    with pytest.raises(Auth0Error) as revoked:
        auth0_python.get_token.refresh_token(renewed["refresh_token"])
    assert revoked.value.error_code == "invalid_grant"


@pytest.mark.parametrize(("outcome", "error"), [("deny", DENIED), ("expire", EXPIRED)])
def test_auth0_python_understands_denied_and_expired(
    auth0_issuer: Server, auth0_python: Auth0Python, outcome: Any, error: str
) -> None:
    auth0_issuer.script(outcome=outcome)
    codes = auth0_python.start()
    with pytest.raises(Auth0Error) as refused:
        auth0_python.poll(codes)
    assert refused.value.error_code == error


def test_auth0_python_cannot_connect_to_the_profile_rfc() -> None:
    with Server(Config(profile="rfc")) as issuer:
        client = GetToken(issuer.url.split("/")[2], "device-app", protocol="http")
        with pytest.raises(Auth0Error) as refused:
            Auth0Python(issuer, client).start()
    assert (refused.value.status_code, refused.value.error_code) == (400, "invalid_request")


def test_what_auth0s_libraries_send_is_understood(auth0_issuer: Server, web: requests.Session) -> None:
    def post(path: str, **members: Any) -> requests.Response:
        return web.post(f"{auth0_issuer.url}oauth/{path}", json=members, timeout=10)

    machine = {"client_id": "device-gateway", "client_secret": "public-test-secret"}
    # auth0-python: GetToken.client_credentials(audience).
    answer = post("token", **machine, audience=AUDIENCE, grant_type="client_credentials", organization=None)
    assert answer.json()["token_type"] == "Bearer"
    auth0_issuer.script(outcome="approve")
    codes = post("device/code", client_id="device-app", audience=AUDIENCE, scope=SCOPE).json()
    tokens = post("token", client_id="device-app", grant_type=GRANT, device_code=codes["device_code"]).json()
    # auth0-python: GetToken.refresh_token(refresh_token).
    refresh = {"client_id": "device-app", "refresh_token": tokens["refresh_token"], "scope": ""}
    renewed = post("token", **refresh, grant_type="refresh_token").json()
    # node-auth0: oauth.revokeRefreshToken({token}); auth0-python: RevokeToken.revoke_refresh_token(token).
    assert post("revoke", client_id="device-app", token=renewed["refresh_token"]).status_code == 200
    answer = post("token", **refresh | {"refresh_token": renewed["refresh_token"]}, grant_type="refresh_token")
    assert answer.json()["error"] == "invalid_grant"


def test_a_client_that_cannot_name_an_audience_gets_the_default(web: requests.Session) -> None:
    # oidc-agent and Go's cli/oauth send client_id and scope alone; MSAL Node adds a query parameter.
    with Server(Config(default_audience=AUDIENCE)) as issuer:
        issuer.script(outcome="approve")
        form = {"client_id": "device-app", "scope": "read:devices"}
        codes = web.post(f"{issuer.url}oauth/device/code?client-request-id=1", data=form, timeout=10).json()
        poll = {"client_id": "device-app", "grant_type": GRANT, "device_code": codes["device_code"]}
        tokens = web.post(f"{issuer.url}oauth/token?client-request-id=1", data=poll, timeout=10).json()
        assert tokens["scope"] == "read:devices"


# Habits of published samples


@pytest.mark.parametrize("habit", ["secret in the body", "basic with an empty secret", "basic with a secret"])
def test_a_public_client_may_send_a_secret(issuer: Server, web: requests.Session, habit: str) -> None:
    def credentials(form: dict[str, str]) -> dict[str, Any]:
        if habit == "secret in the body":
            return {"data": form | {"client_id": "device-app", "client_secret": "made-up"}}
        secret = "" if habit == "basic with an empty secret" else "made-up"
        basic = base64.b64encode(f"device-app:{secret}".encode()).decode()
        return {"data": form, "headers": {"Authorization": f"Basic {basic}"}}

    issuer.script(outcome="approve")
    device = {"audience": AUDIENCE, "scope": SCOPE}
    codes = web.post(f"{issuer.url}oauth/device/code", timeout=10, **credentials(device)).json()
    poll = {"grant_type": GRANT, "device_code": codes["device_code"]}
    tokens = web.post(f"{issuer.url}oauth/token", timeout=10, **credentials(poll)).json()
    refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    renewed = web.post(f"{issuer.url}oauth/token", timeout=10, **credentials(refresh))
    assert renewed.status_code == 200
    revoke = {"token": renewed.json()["refresh_token"]}
    assert web.post(f"{issuer.url}oauth/revoke", timeout=10, **credentials(revoke)).status_code == 200


def test_without_the_ca_tls_fails(issuer: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(requests.exceptions.SSLError):
        roc.OAuth2Client.from_discovery_endpoint(issuer=issuer.url, client_id="device-app")
