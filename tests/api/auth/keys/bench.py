"""A KeyCache with a live key server, an injected clock and recorded events."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from api.auth.config import AuthConfig, TrustedIssuer
from api.auth.errors import InvalidToken, KeysUnavailable
from api.auth.events import AuthEvents
from api.auth.keys.key_cache import KeyCache
from api.auth.reasons import Reason
from tests.kit.key_server import KeyServer
from tests.kit.signing import rsa_key

OLD, NEW = rsa_key(0, "old"), rsa_key(1, "new")


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


class Events(AuthEvents):
    """Records the callbacks; `finished` is released at the end of each fetch."""

    def __init__(self) -> None:
        self.recorded: list[str] = []
        self.from_cache: list[bool] = []
        self.finished = threading.Semaphore(0)

    def token_accepted(self, *, from_cache: bool) -> None:
        self.from_cache.append(from_cache)

    def keys_fetched(self, issuer: str, key_count: int) -> None:
        self.recorded.append(f"fetched {key_count}")
        self.finished.release()

    def keys_fetch_failed(self, issuer: str, cause: str) -> None:
        self.recorded.append(f"failed: {cause}")
        self.finished.release()

    def key_set_unusable(self, issuer: str, *, confirmed: bool) -> None:
        self.recorded.append("confirmed" if confirmed else "unconfirmed")

    def private_key_published(self, issuer: str) -> None:
        self.recorded.append("private key")

    def stale_keys_used(self, issuer: str) -> None:
        self.recorded.append("stale")

    def wait(self) -> None:
        assert self.finished.acquire(timeout=10), "no fetch finished"


class Bench:
    """A KeyCache that fetches from a live server, with a clock and recorded callbacks."""

    def __init__(self, server: KeyServer, *, discovery: bool = False, **config: Any) -> None:
        self.server = server
        self.clock = Clock()
        self.events = Events()
        issuer = TrustedIssuer(
            identifier=server.issuer, audiences=("a",), jwks_url=None if discovery else server.jwks_url
        )
        self.cache = KeyCache(issuer, AuthConfig(issuers=(issuer,), **config), events=self.events, monotonic=self.clock)

    def find(self, kid: str) -> str | None:
        return self.cache.find(("RS256", kid))[0].kid

    def warm(self) -> None:
        assert self.find("old") == "old"
        self.events.wait()


def unavailable(find: Callable[[], object]) -> int:
    with pytest.raises(KeysUnavailable) as caught:
        find()
    assert caught.value.retry_after_seconds is not None
    return caught.value.retry_after_seconds


def unknown(find: Callable[[], object]) -> int | None:
    """Check that the token is refused; return `retry_after_seconds`."""
    with pytest.raises(InvalidToken) as caught:
        find()
    assert caught.value.reason is Reason.KEY_UNKNOWN
    return caught.value.retry_after_seconds
