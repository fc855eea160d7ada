"""What changes of an issuer's keys do to cached tokens, and to readiness."""

import threading
import time
from collections.abc import Iterator

import pytest

from api.auth.config import AuthConfig, TrustedIssuer
from api.auth.errors import InvalidToken
from api.auth.keys.fetch import Fetched, FetchError
from api.auth.reasons import Reason
from api.auth.verifier import TokenVerifier
from tests.api.auth.keys.bench import NEW, OLD, Clock, Events
from tests.kit.key_server import KeyServer
from tests.kit.signing import AUDIENCE, claims, jwks


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with KeyServer() as server:
        server.publish(jwks(OLD))
        yield server


class Verifier:
    """A TokenVerifier that has a token of `OLD` in its cache."""

    def __init__(self, server: KeyServer) -> None:
        issuer = TrustedIssuer(identifier=server.issuer, audiences=(AUDIENCE,))
        self.clock, self.events = Clock(), Events()
        self._verifier = TokenVerifier(AuthConfig(issuers=(issuer,)), events=self.events, monotonic=self.clock)
        self._token = OLD.sign(claims(iss=server.issuer))
        self.verify()
        self.verify()
        self.events.wait()

    def verify(self) -> Reason | None:
        try:
            self._verifier.verify(self._token)
        except InvalidToken as refusal:
            return refusal.reason
        return None


def test_after_idleness_a_withdrawn_key_opens_nothing_with_a_cached_token(server: KeyServer) -> None:
    verifier = Verifier(server)
    server.publish(jwks(NEW))
    verifier.clock.advance(601)
    assert verifier.verify() is Reason.KEY_UNKNOWN


def test_after_idleness_one_fetch_is_enough_to_refuse_a_cached_token(server: KeyServer) -> None:
    verifier = Verifier(server)
    server.publish(jwks(NEW))
    verifier.clock.advance(601)
    requests = server.key_requests
    assert verifier.verify() is Reason.KEY_UNKNOWN
    assert server.key_requests == requests + 1


def test_cached_tokens_are_refused_once_a_set_without_any_key_is_confirmed(server: KeyServer) -> None:
    verifier = Verifier(server)
    server.publish(b'{"keys":[]}')
    verifier.clock.advance(601)
    assert verifier.verify() is None
    verifier.clock.advance(30)
    assert verifier.verify() is Reason.KEY_UNKNOWN


def test_in_an_outage_cached_tokens_are_accepted_without_a_wait(server: KeyServer) -> None:
    verifier = Verifier(server)
    server.answers.clear()
    verifier.clock.advance(601)
    assert verifier.verify() is None
    verifier.events.wait()
    requests = server.requests.total()
    assert verifier.verify() is None
    assert server.requests.total() == requests
    # From the cache: an outage must not cost a signature for each request.
    assert verifier.events.from_cache == [False, True, True, True]


def test_readiness_waits_once_for_all_issuers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.auth.keys.key_cache.FETCH_SECONDS", 0.5)
    release = threading.Event()

    def fetch(url: str, _seconds: float) -> Fetched:
        if url.startswith("https://good."):
            return Fetched(jwks(OLD), None)
        release.wait()
        raise FetchError("no answer")

    hosts = ["good.example", *(f"hanging-{number}.example" for number in range(5))]
    issuers = tuple(
        TrustedIssuer(identifier=f"https://{host}/", audiences=("a",), jwks_url=f"https://{host}/jwks")
        for host in hosts
    )
    verifier = TokenVerifier(AuthConfig(issuers=issuers), fetch=fetch)
    started = time.monotonic()
    ready = verifier.readiness()
    assert 0.45 < time.monotonic() - started < 2
    assert ready == {f"https://{host}/": host == "good.example" for host in hosts}
    started = time.monotonic()
    assert verifier.readiness() == ready
    assert time.monotonic() - started < 0.4
    release.set()
