"""The keys of one issuer: fetched by a background thread ahead of expiry, and kept through an outage of the issuer.

No request fetches keys itself: a slow issuer would then block requests whose keys are cached.
"""

import math
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..config import AuthConfig, TrustedIssuer
from ..errors import InvalidToken, KeysUnavailable, Reason
from ..events import AuthEvents
from .discovery import DiscoveryError, metadata_urls, read_jwks_url
from .fetch import Fetch, FetchError, fetch
from .key_set import KeySet, KeySetError, VerificationKey, parse_key_set

# How long a key set stays fresh, where the server's max-age says nothing, and the least and the most that it may say.
DEFAULT_FRESH_SECONDS = 600
MIN_FRESH_SECONDS = 60
MAX_FRESH_SECONDS = 3_600
# A refresh is due after 75 to 85 % of the freshness, at random, so that processes do not all fetch at once.
_REFRESH_AFTER = 0.75
_REFRESH_SPREAD = 0.1
# Key ids are the client's choice, so unknown ones cause one fetch in this time and no more.
UNKNOWN_KEY_COOL_DOWN_SECONDS = 10.0
# For metadata and keys together; also the longest that a request waits for them.
FETCH_SECONDS = 3.0
MIN_BACK_OFF_SECONDS = 1.0
MAX_BACK_OFF_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """A key set and its times, in seconds of the monotonic clock; replaced as a whole, never changed."""

    keys: KeySet
    refresh_at: float
    fresh_until: float
    usable_until: float


@dataclass(frozen=True, slots=True)
class _RunningFetch:
    """A fetch in a thread of the process `process_id`; the thread sets `finished` at its end."""

    process_id: int
    finished: threading.Event


class KeyCache:
    """The keys of one trusted issuer. Thread-safe; usable in a process that was forked during a fetch.

    The first use starts the first fetch. Each fetch runs in a thread of its own, one at a time. A request whose key is
    cached does not wait for it; a request whose key is missing waits 3 s at most. `monotonic` is a clock in seconds
    that never goes back.
    """

    def __init__(
        self,
        issuer: TrustedIssuer,
        config: AuthConfig,
        *,
        events: AuthEvents,
        fetch: Fetch = fetch,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._algorithms = config.algorithms
        self._stale_seconds = config.stale_seconds
        self._events = events
        self._fetch = fetch
        self._monotonic = monotonic
        # Held for microseconds, never during I/O, a wait or a callback.
        self._lock = threading.Lock()
        self._running_fetch: _RunningFetch | None = None
        self._snapshot: _Snapshot | None = None
        self._failures = 0
        self._retry_at = -math.inf
        self._next_unknown_key_fetch_at = -math.inf

    def usable_keys(self) -> KeySet | None:
        """Return the keys to verify with now, or None; never wait.

        Starts a fetch in the background if a refresh is due.
        """
        snapshot = self._snapshot
        if snapshot is None:
            return None
        now = self._monotonic()
        if now >= snapshot.refresh_at:
            self._start_fetch(now)
            if now >= snapshot.usable_until:
                return None
            if now >= snapshot.fresh_until:
                self._events.stale_keys_used(self._issuer.identifier)
        return snapshot.keys

    def find(self, algorithm_and_kid: tuple[str, str | None]) -> tuple[VerificationKey, KeySet]:
        """Return the key for an (alg, kid), and the set that holds it (RFC 7515 §4.1.4).

        Waits for a fetch, 3 s at most, if the key is not cached. Unknown key ids cause one fetch in 10 s and no more.

        Raises InvalidToken if the issuer publishes no such key, KeysUnavailable if the keys cannot be fetched.
        """
        keys = self.usable_keys()
        if keys is not None:
            key = keys.find(algorithm_and_kid)
            if key is not None:
                return key, keys
        return self._fetch_and_find(algorithm_and_kid, keys)

    def is_ready(self) -> bool:
        """Return whether there are keys to verify with, after waiting 3 s at most for a first fetch."""
        if self.usable_keys() is None:
            finished = self._start_fetch(self._monotonic())
            if finished is not None:
                finished.wait(FETCH_SECONDS)
        return self.usable_keys() is not None

    def _fetch_and_find(
        self, algorithm_and_kid: tuple[str, str | None], keys: KeySet | None
    ) -> tuple[VerificationKey, KeySet]:
        deadline = time.monotonic() + FETCH_SECONDS
        while True:
            finished = self._start_fetch(self._monotonic(), for_unknown_key=keys is not None)
            if finished is None:
                break
            if not finished.wait(max(deadline - time.monotonic(), 0)):
                raise KeysUnavailable(self._retry_after_seconds())
            # The fetch may have begun before the issuer published the key: if the key is missing still, try once more.
            keys = self.usable_keys()
            key = keys and keys.find(algorithm_and_kid)
            if keys and key:
                return key, keys
        if keys is None or self._failures:
            # While the issuer cannot be reached, an unknown key id proves nothing about the token.
            raise KeysUnavailable(self._retry_after_seconds())
        raise InvalidToken(Reason.KEY_UNKNOWN)

    def _retry_after_seconds(self) -> int:
        return math.ceil(max(1.0, self._retry_at - self._monotonic()))

    def _start_fetch(self, now: float, *, for_unknown_key: bool = False) -> threading.Event | None:
        """Return the end of the running fetch, or of a new one if none runs; None if it is too early for a new one."""
        with self._lock:
            running = self._running_fetch
            # A forked child has a copy of its parent's running fetch, but not the thread that would finish it.
            if running is not None and running.process_id == os.getpid():
                return running.finished
            if now < self._retry_at or (for_unknown_key and now < self._next_unknown_key_fetch_at):
                return None
            if for_unknown_key:
                self._next_unknown_key_fetch_at = now + UNKNOWN_KEY_COOL_DOWN_SECONDS
            finished = threading.Event()
            self._running_fetch = _RunningFetch(os.getpid(), finished)
        try:
            threading.Thread(target=self._run_fetch, args=(finished, now), name="jwks-fetch", daemon=True).start()
        except RuntimeError:  # the operating system refuses another thread
            self._finish_fetch(finished, now, None, "no thread could be started")
        return finished

    def _run_fetch(self, finished: threading.Event, now: float) -> None:
        fetched: tuple[KeySet, int | None] | None = None
        cause = "an unexpected error"
        try:
            fetched = self._fetch_key_set()
        except (FetchError, DiscoveryError, KeySetError) as exc:
            cause = str(exc)
        finally:
            self._finish_fetch(finished, now, fetched, cause)

    def _finish_fetch(
        self, finished: threading.Event, now: float, fetched: tuple[KeySet, int | None] | None, cause: str
    ) -> None:
        with self._lock:
            if fetched is None:
                self._failures += 1
                longest = min(MAX_BACK_OFF_SECONDS, MIN_BACK_OFF_SECONDS * 2.0 ** min(self._failures - 1, 10))
                jitter = random.uniform(0.5, 1)  # noqa: S311  # spreads load, protects nothing
                self._retry_at = self._monotonic() + max(MIN_BACK_OFF_SECONDS, longest * jitter)
            else:
                self._failures = 0
                self._retry_at = -math.inf
                self._snapshot = self._make_snapshot(now, *fetched)
            self._running_fetch = None
        finished.set()
        if fetched is None:
            self._events.keys_fetch_failed(self._issuer.identifier, cause)
        else:
            self._events.keys_fetched(self._issuer.identifier, len(fetched[0]))

    def _make_snapshot(self, now: float, keys: KeySet, max_age_seconds: int | None) -> _Snapshot:
        # Cached tokens are bound to their KeySet object: an unchanged document keeps the object, and so the tokens.
        if self._snapshot is not None and self._snapshot.keys.fingerprint == keys.fingerprint:
            keys = self._snapshot.keys
        fresh_seconds = DEFAULT_FRESH_SECONDS
        if max_age_seconds is not None:
            fresh_seconds = min(max(max_age_seconds, MIN_FRESH_SECONDS), MAX_FRESH_SECONDS)
        refresh_after = _REFRESH_AFTER + _REFRESH_SPREAD * random.random()  # noqa: S311  # spreads load, protects nothing
        fresh_until = now + fresh_seconds
        return _Snapshot(keys, now + fresh_seconds * refresh_after, fresh_until, fresh_until + self._stale_seconds)

    def _fetch_key_set(self) -> tuple[KeySet, int | None]:
        """Return the published keys and the document's max-age in seconds."""
        deadline = time.monotonic() + FETCH_SECONDS
        url = self._issuer.jwks_url or self._discover_jwks_url(deadline)
        document = self._fetch(url, _seconds_until(deadline))
        return parse_key_set(document.body, self._algorithms), document.max_age_seconds

    def _discover_jwks_url(self, deadline: float) -> str:
        """Return the key set's address from the issuer's metadata, read again with each fetch of the keys."""
        failure: Exception = DiscoveryError("no metadata")
        for url in metadata_urls(self._issuer.identifier):
            try:
                metadata = self._fetch(url, _seconds_until(deadline))
                return read_jwks_url(metadata, self._issuer.identifier)
            except (FetchError, DiscoveryError) as exc:
                failure = exc
        raise DiscoveryError(f"discovery: {failure}") from failure


def _seconds_until(deadline: float) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise FetchError("timed out")
    return remaining
