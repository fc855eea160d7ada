"""A live issuer for each test, and the device's side of the flow."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urljoin

import jwt
import pytest
import requests

from mock_issuer import Config, Server
from tests.kit.person import Person

AUDIENCE = "https://device-api.example"
DEVICE_CODE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class Clock:
    """Moves only when it is told to. It starts an hour ago: PyJWT goes by the real one, and wants no future `iat`."""

    def __init__(self) -> None:
        self.now = float(int(time.time()) - 3600)

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class LiveIssuer:
    """A live issuer, seen from a device."""

    def __init__(self, config: Config | None, stack: ExitStack) -> None:
        self.clock = Clock()
        self.server = stack.enter_context(Server(config, clock=self.clock))
        self.url = self.server.url
        self._stack = stack

    def person(self) -> Person:
        return self._stack.enter_context(Person(self.url))

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        return requests.request(method, urljoin(self.url, path), timeout=10, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, form: dict[str, str], **options: Any) -> requests.Response:
        return self.request("POST", path, data=form, **options)

    def request_device(self, **form: str) -> requests.Response:
        defaults = {"client_id": "device-app", "audience": AUDIENCE, "scope": "read:devices"}
        filled = {name: value for name, value in (defaults | form).items() if value}
        return self.post("/oauth/device/code", filled)

    def device(self, **form: str) -> dict[str, Any]:
        response = self.request_device(**form)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    def token(self, **form: str) -> requests.Response:
        return self.post("/oauth/token", {"client_id": "device-app", **form})

    def poll(self, device: dict[str, Any], **form: str) -> requests.Response:
        return self.token(grant_type=DEVICE_CODE_GRANT, device_code=device["device_code"], **form)

    def refresh(self, refresh_token: str, **form: str) -> requests.Response:
        return self.token(grant_type="refresh_token", refresh_token=refresh_token, **form)

    def machine_token(self, **form: str) -> requests.Response:
        defaults = {
            "grant_type": "client_credentials",
            "client_id": "device-gateway",
            "client_secret": "public-test-secret",
            "audience": AUDIENCE,
        }
        return self.post("/oauth/token", {name: value for name, value in (defaults | form).items() if value})

    def linked(self, scope: str = "read:devices offline_access", name: str = "alice", **form: str) -> dict[str, Any]:
        """Walk the whole flow and return the token response."""
        device = self.device(scope=scope, **form)
        self.person().approve(device["user_code"], name)
        response = self.poll(device)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    def verify(self, token: str, audience: str = AUDIENCE) -> tuple[dict[str, Any], dict[str, Any]]:
        """Verify a token as a stranger would, with PyJWT and the published keys; return header and claims."""
        keys = jwt.PyJWKSet.from_dict(self.get("/.well-known/jwks.json").json())
        header = jwt.get_unverified_header(token)
        options: Any = {"require": ["exp", "iat", "iss", "aud", "sub"]}
        claims = jwt.decode(
            token, keys[header["kid"]], algorithms=["RS256"], audience=audience, issuer=self.url, options=options
        )
        return header, claims

    @staticmethod
    def refused(response: requests.Response) -> tuple[int, str]:
        """Check the shape of an OAuth error and return its status and code."""
        assert response.headers["Content-Type"] == "application/json"
        body = response.json()
        assert set(body) == {"error", "error_description"}
        assert body["error_description"]
        assert body["error_description"].isascii()
        return response.status_code, body["error"]


@pytest.fixture
def make_issuer() -> Iterator[Callable[[Config], LiveIssuer]]:
    with ExitStack() as stack:
        yield lambda config: LiveIssuer(config, stack)


@pytest.fixture
def issuer() -> Iterator[LiveIssuer]:
    with ExitStack() as stack:
        yield LiveIssuer(None, stack)


@pytest.fixture(scope="module")
def shared_issuer() -> Iterator[LiveIssuer]:
    """One for tests that leave nothing behind which another would notice."""
    with ExitStack() as stack:
        yield LiveIssuer(None, stack)


@pytest.fixture(params=["auth0", "rfc"])
def either_issuer(request: pytest.FixtureRequest) -> Iterator[LiveIssuer]:
    """One of each profile: what a test says here holds in both."""
    with ExitStack() as stack:
        yield LiveIssuer(Config(profile=request.param), stack)
