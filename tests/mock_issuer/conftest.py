"""A running issuer for each test, and the device's side of the flow."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urljoin

import jwt
import pytest
import requests
from joserfc.jwk import RSAKey

from mock_issuer import Config, Server
from mock_issuer.config import Profile
from mock_issuer.flow import keys
from tests.kit.person import Person

AUDIENCE = "https://device-api.example"
DEVICE_CODE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class Clock:
    """Moves only in `advance`. Starts an hour ago: PyJWT uses the real clock and refuses an `iat` in the future."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.now = float(int(time.time()) - 3600)

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class LiveIssuer:
    """A running issuer, as a device sees it."""

    def __init__(self, config: Config | None, stack: ExitStack) -> None:
        self.clock = Clock()
        self.server = stack.enter_context(Server(config, clock=self.clock))
        self.url = self.server.url
        self._people = stack.enter_context(ExitStack())

    def reset(self) -> None:
        """Restore the initial state."""
        self._people.close()
        self.server.reset()
        self.clock.reset()

    def person(self) -> Person:
        return self._people.enter_context(Person(self.url))

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
        """Run the whole flow and return the token response."""
        device = self.device(scope=scope, **form)
        self.person().approve(device["user_code"], name)
        response = self.poll(device)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    def verify(self, token: str, audience: str = AUDIENCE) -> tuple[dict[str, Any], dict[str, Any]]:
        """Verify a token with PyJWT and the published keys; return header and claims."""
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
        assert response.headers.get("Content-Type") == "application/json"
        body = response.json()
        assert set(body) == {"error", "error_description"}
        assert body["error_description"]
        assert body["error_description"].isascii()
        return response.status_code, body["error"]


@pytest.fixture(scope="session", autouse=True)
def generate_key() -> Iterator[Callable[[], RSAKey]]:
    """Reuse 16 RSA keys for issuers and rotations: generating one takes 70 ms. Return the original function."""
    number, pool, generate = itertools.count(), dict[int, RSAKey](), keys._generate_key

    def reuse() -> RSAKey:
        index = next(number) % 16
        return pool.get(index) or pool.setdefault(index, generate())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "_generate_key", reuse)
        yield generate


@pytest.fixture(scope="session")
def live_issuers(generate_key: Callable[[], RSAKey]) -> Iterator[Callable[[Profile], LiveIssuer]]:
    """One issuer of each profile for the whole run: starting one takes 140 ms."""
    with ExitStack() as stack:
        started: dict[Profile, LiveIssuer] = {}

        def find(profile: Profile) -> LiveIssuer:
            if profile not in started:
                with pytest.MonkeyPatch.context() as patch:
                    # It makes its own key: the pool repeats keys, and no rotation may repeat its first one.
                    patch.setattr(keys, "_generate_key", generate_key)
                    started[profile] = LiveIssuer(Config(profile=profile), stack)
            return started[profile]

        yield find


@pytest.fixture
def make_issuer() -> Iterator[Callable[[Config], LiveIssuer]]:
    with ExitStack() as stack:
        yield lambda config: LiveIssuer(config, stack)


@pytest.fixture
def issuer(live_issuers: Callable[[Profile], LiveIssuer]) -> Iterator[LiveIssuer]:
    """An issuer with the default configuration, in its initial state."""
    issuer = live_issuers("auth0")
    issuer.reset()
    yield issuer
    issuer.reset()


@pytest.fixture(scope="session")
def shared_issuer(live_issuers: Callable[[Profile], LiveIssuer]) -> LiveIssuer:
    """The same issuer without a reset, for tests that do not depend on its state, and for Hypothesis."""
    return live_issuers("auth0")


@pytest.fixture(params=["auth0", "rfc"])
def either_issuer(
    request: pytest.FixtureRequest, live_issuers: Callable[[Profile], LiveIssuer]
) -> Iterator[LiveIssuer]:
    """An issuer of each profile, in its initial state: the test runs with both."""
    issuer = live_issuers(request.param)
    issuer.reset()
    yield issuer
    issuer.reset()
