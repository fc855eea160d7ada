"""The keys of one issuer: fetched, kept fresh in the background, and kept through an outage."""

import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from .config import AuthConfig, TrustedIssuer
from .errors import AuthEvents, InvalidToken, KeysUnavailable, Reason
from .fetch import DiscoveryError, Fetch, Fetched, FetchError, fetch, metadata_urls, read_jwks_url
from .forks import renew_in_child
from .keys import KeySet, KeySetError, VerificationKey, parse_key_set

DEFAULT_FRESH_SECONDS = 600
MIN_FRESH_SECONDS = 60
MAX_FRESH_SECONDS = 3_600
# Refreshed after three quarters of the freshness and a bit of chance, so that processes do not all ask at once.
_REFRESH_AFTER = 0.75
_REFRESH_SPREAD = 0.1
# An attacker can make up key ids; the issuer is asked about them this often and no more.
MISS_COOL_DOWN_SECONDS = 10.0
# Metadata and keys together; also the longest that a request waits for them.
FETCH_SECONDS = 3.0
MIN_BACK_OFF_SECONDS = 1.0
MAX_BACK_OFF_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """A key set and its times, in seconds of the monotonic clock; swapped whole, never changed."""

    keys: KeySet
    refresh_at: float
    fresh_until: float
    usable_until: float


class KeyCache:
    """The keys of one trusted issuer.

    Fetches on first use, in a thread of its own: whoever holds a known key id never waits for the network, and whoever
    must wait does so for 3 s at most. One fetch is under way at a time, shared by all who wait for it; no lock is held
    meanwhile. `monotonic` is a clock in seconds that never goes back.
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
        self._snapshot: _Snapshot | None = None
        self._failures = 0
        self._retry_at = -math.inf
        self._next_miss_at = -math.inf
        self._renew()
        renew_in_child(self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._flight: threading.Event | None = None

    def usable_keys(self) -> KeySet | None:
        """Return the keys to judge tokens with at this moment, or None; never waits.

        Starts a refresh in the background where one is due.
        """
        snapshot = self._snapshot
        if snapshot is None:
            return None
        now = self._monotonic()
        if now >= snapshot.refresh_at:
            self._take_off(now)
            if now >= snapshot.usable_until:
                return None
            if now >= snapshot.fresh_until:
                self._events.stale_keys_used(self._issuer.identifier)
        return snapshot.keys

    def find(self, name: tuple[str, str | None]) -> tuple[VerificationKey, KeySet]:
        """Return the key that an algorithm and a key id name, and the set that it was found in.

        A key id that is not known, and a cache without keys, wait for a fetch: 3 s at most. Unknown key ids cause one
        fetch in 10 s and no more.

        Raises InvalidToken where the issuer publishes no such key, KeysUnavailable where that cannot be told.
        """
        keys = self.usable_keys()
        if keys is not None:
            found = keys.find(name)
            if found is not None:
                return found, keys
        return self._find_anew(name, keys)

    def _find_anew(self, name: tuple[str, str | None], keys: KeySet | None) -> tuple[VerificationKey, KeySet]:
        waited_until = time.monotonic() + FETCH_SECONDS
        while True:
            flight = self._take_off(self._monotonic(), for_miss=keys is not None)
            if flight is None:
                break
            if not flight.wait(max(waited_until - time.monotonic(), 0)):
                raise KeysUnavailable(self._retry_after_seconds())
            keys = self.usable_keys()
            found = keys and keys.find(name)
            if keys and found:
                return found, keys
        if keys is None or self._failures:
            # Our own outage is no verdict on the token.
            raise KeysUnavailable(self._retry_after_seconds())
        raise InvalidToken(Reason.KEY_UNKNOWN)

    def is_ready(self) -> bool:
        """Say whether tokens can be judged, waiting for a first fetch for 3 s at most."""
        if self.usable_keys() is None:
            flight = self._take_off(self._monotonic())
            if flight is not None:
                flight.wait(FETCH_SECONDS)
        return self.usable_keys() is not None

    def _retry_after_seconds(self) -> int:
        return math.ceil(max(1.0, self._retry_at - self._monotonic()))

    def _take_off(self, now: float, *, for_miss: bool = False) -> threading.Event | None:
        """Return the fetch that is under way, started here if need be; None where none is allowed now."""
        with self._lock:
            if self._flight is not None:
                return self._flight
            if now < self._retry_at or (for_miss and now < self._next_miss_at):
                return None
            if for_miss:
                self._next_miss_at = now + MISS_COOL_DOWN_SECONDS
            flight = self._flight = threading.Event()
        try:
            threading.Thread(target=self._fly, args=(flight, now), name="jwks-fetch", daemon=True).start()
        except RuntimeError:  # the system has no thread to give
            self._land(flight, now, None, "no thread could be started")
        return flight

    def _fly(self, flight: threading.Event, now: float) -> None:
        loaded: tuple[KeySet, int | None] | None = None
        cause = "an unexpected error"
        try:
            loaded = self._load()
        except (FetchError, DiscoveryError, KeySetError) as exc:
            cause = str(exc)
        finally:
            self._land(flight, now, loaded, cause)

    def _land(self, flight: threading.Event, now: float, loaded: tuple[KeySet, int | None] | None, cause: str) -> None:
        with self._lock:
            if loaded is None:
                self._failures += 1
                longest = min(MAX_BACK_OFF_SECONDS, MIN_BACK_OFF_SECONDS * 2.0 ** min(self._failures - 1, 10))
                chance = random.uniform(0.5, 1)  # noqa: S311  # spreads load, guards nothing
                self._retry_at = self._monotonic() + max(MIN_BACK_OFF_SECONDS, longest * chance)
            else:
                self._failures = 0
                self._retry_at = -math.inf
                self._snapshot = self._next_snapshot(now, *loaded)
            self._flight = None
        flight.set()
        if loaded is None:
            self._events.keys_fetch_failed(self._issuer.identifier, cause)
        else:
            self._events.keys_fetched(self._issuer.identifier, len(loaded[0]))

    def _next_snapshot(self, now: float, keys: KeySet, max_age_seconds: int | None) -> _Snapshot:
        # The same document is the same set: what was verified under it stays verified.
        if self._snapshot is not None and self._snapshot.keys.fingerprint == keys.fingerprint:
            keys = self._snapshot.keys
        fresh_seconds = DEFAULT_FRESH_SECONDS
        if max_age_seconds is not None:
            fresh_seconds = min(max(max_age_seconds, MIN_FRESH_SECONDS), MAX_FRESH_SECONDS)
        refresh_after = _REFRESH_AFTER + _REFRESH_SPREAD * random.random()  # noqa: S311  # spreads load, guards nothing
        fresh_until = now + fresh_seconds
        return _Snapshot(keys, now + fresh_seconds * refresh_after, fresh_until, fresh_until + self._stale_seconds)

    def _load(self) -> tuple[KeySet, int | None]:
        landing = time.monotonic() + FETCH_SECONDS
        url = self._issuer.jwks_url or self._discover(landing)
        fetched = self._fetch(url, _remaining(landing))
        return parse_key_set(fetched.body, self._algorithms), fetched.max_age_seconds

    def _discover(self, landing: float) -> str:
        """Return the key set's address as the issuer's metadata gives it now (read again with each refresh)."""
        refusal: Exception = DiscoveryError("no metadata")
        for url in metadata_urls(self._issuer.identifier):
            try:
                metadata: Fetched = self._fetch(url, _remaining(landing))
                return read_jwks_url(metadata, self._issuer.identifier)
            except (FetchError, DiscoveryError) as exc:
                refusal = exc
        raise DiscoveryError(f"discovery: {refusal}") from refusal


def _remaining(landing: float) -> float:
    remaining = landing - time.monotonic()
    if remaining <= 0:
        raise FetchError("timed out")
    return remaining
