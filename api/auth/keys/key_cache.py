"""The keys of one issuer: fetched by a background thread ahead of expiry, and kept through an outage of the issuer.

No request fetches keys itself: a slow issuer would then block requests whose keys are cached.
"""

import math
import os
import threading
import time
from collections.abc import Callable

from ..config import AuthConfig, TrustedIssuer
from ..errors import InvalidToken, KeysUnavailable
from ..events import AuthEvents
from ..reasons import Reason
from .back_off import BackOff
from .discovery import DiscoveryError
from .fetch import Fetch, FetchError, fetch
from .key_set import KeySet, KeySetError, VerificationKey
from .key_source import KeySource
from .running_fetch import RunningFetch
from .snapshot import Snapshot

# Key ids are the client's choice, so unknown ones cause one fetch in this time and no more. As long as it runs after a
# successful fetch, no other fetch is due: key ids that were just found missing need not be remembered.
UNKNOWN_KEY_COOL_DOWN_SECONDS = 10.0
# How many requests of a process may wait for one fetch because their key id is unknown. The others are answered at
# once: a slow issuer would otherwise occupy all threads of the server.
_MAX_WAITING_FOR_UNKNOWN_KEYS = 2
# A set without any usable key ends every session of the issuer's users, so a second fetch has to say the same.
CONFIRM_EMPTY_SET_SECONDS = 30.0
# For metadata and keys together; also the longest that a request waits for them.
FETCH_SECONDS = 3.0


class KeyCache:
    """The keys of one trusted issuer. Thread-safe; usable in a process that was forked during a fetch.

    The first use starts the first fetch. Each fetch runs in a thread of its own, one at a time. A request whose key is
    cached and fresh does not wait for it. Others wait 3 s at most. `monotonic` is a clock in seconds that never goes
    back. Does not notice before the next fetch that a key was withdrawn.
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
        self._source = KeySource(issuer, config.algorithms, fetch)
        self._stale_seconds = config.stale_seconds
        self._events = events
        self._monotonic = monotonic
        # Held for microseconds, never during I/O, a wait or a callback.
        self._lock = threading.Lock()
        self._running_fetch: RunningFetch | None = None
        self._snapshot: Snapshot | None = None
        self._back_off = BackOff()
        self._empty_since: float | None = None
        self._next_unknown_key_fetch_at = -math.inf

    def current_keys(self) -> KeySet | None:
        """Return the keys, perhaps a set without any; None if a refresh is due. Starts no fetch."""
        snapshot = self._snapshot
        return snapshot.keys if snapshot is not None and self._monotonic() < snapshot.refresh_at else None

    def find(self, algorithm_and_kid: tuple[str, str | None]) -> tuple[VerificationKey, KeySet]:
        """Return the key for an (alg, kid), and the set that holds it (RFC 7515 §4.1.4).

        Starts a fetch in the background if a refresh is due. Waits for it, 3 s at most, if the keys are no longer fresh
        and the issuer is not known to fail: stale keys are for outages, not for a process that had no requests. Without
        any keys, the call that started the fetch waits then too; the others do not, so that one issuer's outage does
        not occupy all threads of the server.

        While there are keys, at most two requests wait for a fetch because their key id is unknown; unknown key ids
        cause one fetch in 10 s.

        Raises InvalidToken if there is no such key, with `retry_after_seconds` unless a fetch for this call just said
        so; KeysUnavailable if there are no keys at all.
        """
        snapshot = self._snapshot
        if snapshot is not None and self._monotonic() < snapshot.refresh_at:
            key = snapshot.keys.find(algorithm_and_kid)
            if key is not None:
                return key, snapshot.keys
        deadline = time.monotonic() + FETCH_SECONDS
        keys = self._keys_now()
        if keys is None or keys.find(algorithm_and_kid) is not None:
            keys, is_new = self._refresh(deadline)
            if keys is None:
                raise KeysUnavailable(self._seconds_until_fetch())
            key = keys.find(algorithm_and_kid)
            if key is not None:
                return key, keys
            if is_new:
                raise InvalidToken(Reason.KEY_UNKNOWN)
        return self._find_unknown(algorithm_and_kid, deadline)

    def renew_lock(self) -> None:
        """Replace the lock, in a forked child: a thread of the parent may hold it, and is not there to release it."""
        self._lock = threading.Lock()

    def start_due_fetch(self) -> None:
        """Start a fetch if one is due; do not wait for it."""
        self._join_fetch(self._monotonic())

    def is_ready(self) -> bool:
        """Return whether tokens can be judged, after waiting 3 s at most for a fetch if there are no keys."""
        running, _ = self._join_fetch(self._monotonic())
        if running is not None and self._keys_now() is None:
            running.wait(running.overdue_at)
        return self._keys_now() is not None

    def _keys_now(self) -> KeySet | None:
        snapshot = self._snapshot
        return snapshot.keys if snapshot is not None and self._monotonic() < snapshot.usable_until else None

    def _refresh(self, deadline: float) -> tuple[KeySet | None, bool]:
        """Return the keys to verify with now, or None; and whether a fetch that this call started brought them."""
        snapshot, now = self._snapshot, self._monotonic()
        running, is_own = self._join_fetch(now)
        if snapshot is not None and now < snapshot.fresh_until:
            return snapshot.keys, False
        is_usable = snapshot is not None and now < snapshot.usable_until
        # While the issuer is known to fail, a request without usable keys waits only if it started the fetch itself.
        is_failing = now < self._back_off.failure_known_until
        if running is not None and not (is_failing and (is_usable or not is_own)):
            running.wait(deadline)
        # Read again, whether or not there was a fetch to wait for: one may have ended meanwhile.
        snapshot, now = self._snapshot, self._monotonic()
        if snapshot is None or now >= snapshot.usable_until:
            return None, False
        if now >= snapshot.fresh_until:
            self._events.stale_keys_used(self._issuer.identifier)
        return snapshot.keys, is_own and running is not None and running.succeeded

    def _find_unknown(
        self, algorithm_and_kid: tuple[str, str | None], deadline: float
    ) -> tuple[VerificationKey, KeySet]:
        while True:
            running, is_own = self._join_fetch(self._monotonic(), for_unknown_key=True)
            if running is not None:
                running.wait(deadline)
            # Looked up again right before the token is refused: a fetch may have ended since the last look.
            keys = self._keys_now()
            if keys is None:
                raise KeysUnavailable(self._seconds_until_fetch())
            key = keys.find(algorithm_and_kid)
            if key is not None:
                return key, keys
            if running is None or not running.succeeded:
                raise InvalidToken(
                    Reason.KEY_UNKNOWN, retry_after_seconds=self._seconds_until_fetch(for_unknown_key=True)
                )
            if is_own:
                raise InvalidToken(Reason.KEY_UNKNOWN)
            # Somebody else's fetch may have begun before the issuer published the key: try once more.

    def _seconds_until_fetch(self, *, for_unknown_key: bool = False) -> int:
        """Return the whole seconds until the next fetch may start, at least 1; 1 while a fetch runs."""
        snapshot, earliest = self._snapshot, self._back_off.retry_at
        if self._running_fetch is not None:
            return 1
        if for_unknown_key and snapshot is not None:
            earliest = max(earliest, min(self._next_unknown_key_fetch_at, snapshot.refresh_at))
        return math.ceil(max(1.0, earliest - self._monotonic()))

    def _join_fetch(self, now: float, *, for_unknown_key: bool = False) -> tuple[RunningFetch | None, bool]:
        """Return the running fetch or, if one is due, a new one; and whether it is new.

        With `for_unknown_key`, a fetch is due 10 s after the last such fetch, and the result is also None if two such
        callers wait for the running one.
        """
        with self._lock:
            running = self._running_fetch
            # A forked child has a copy of its parent's running fetch, but not the thread that would finish it.
            if running is not None and running.process_id == os.getpid():
                if for_unknown_key:
                    if running.waiting >= _MAX_WAITING_FOR_UNKNOWN_KEYS:
                        return None, False
                    running.waiting += 1
                return running, False
            is_due = self._snapshot is None or now >= self._snapshot.refresh_at
            is_due = is_due or (for_unknown_key and now >= self._next_unknown_key_fetch_at)
            if now < self._back_off.retry_at or not is_due:
                return None, False
            if for_unknown_key:
                self._next_unknown_key_fetch_at = now + UNKNOWN_KEY_COOL_DOWN_SECONDS
            running = RunningFetch(os.getpid(), time.monotonic() + FETCH_SECONDS, waiting=int(for_unknown_key))
            self._running_fetch = running
        try:
            threading.Thread(target=self._run_fetch, args=(running, now), name="jwks-fetch", daemon=True).start()
        except RuntimeError:  # the operating system refuses another thread
            self._finish_fetch(running, now, None, "no thread could be started")
        return running, True

    def _run_fetch(self, running: RunningFetch, now: float) -> None:
        fetched: tuple[KeySet, int | None] | None = None
        cause = "an unexpected error"
        try:
            fetched = self._source.fetch_key_set(running.overdue_at)
        except (FetchError, DiscoveryError, KeySetError) as exc:
            cause = str(exc)
        finally:
            self._finish_fetch(running, now, fetched, cause)

    def _finish_fetch(
        self, running: RunningFetch, now: float, fetched: tuple[KeySet, int | None] | None, cause: str
    ) -> None:
        finished_at = self._monotonic()
        with self._lock:
            if fetched is None:
                self._back_off.fail(finished_at)
            else:
                running.succeeded = self._take(now, finished_at, *fetched)
            self._running_fetch = None
        try:
            # First, so that the log and the metrics have it when a request goes on.
            self._report(running, fetched, cause)
        finally:
            running.finished.set()

    def _report(self, running: RunningFetch, fetched: tuple[KeySet, int | None] | None, cause: str) -> None:
        issuer = self._issuer.identifier
        if fetched is None:
            self._events.keys_fetch_failed(issuer, cause)
            return
        keys, _ = fetched
        if not len(keys):
            self._events.key_set_unusable(issuer, confirmed=running.succeeded)
        if keys.has_private_key:
            self._events.private_key_published(issuer)
        self._events.keys_fetched(issuer, len(keys))

    def _take(self, now: float, finished_at: float, keys: KeySet, max_age_seconds: int | None) -> bool:
        """Use a key set that was asked for at `now`; return False if it is empty and not confirmed yet."""
        snapshot = self._snapshot
        if len(keys):
            self._empty_since = None
        else:
            self._empty_since = now if self._empty_since is None else self._empty_since
            confirm_at = self._empty_since + CONFIRM_EMPTY_SET_SECONDS
            if now < confirm_at:
                if snapshot is None or now >= snapshot.usable_until:
                    # As after a failure, since there are no keys to be had.
                    self._back_off.fail(finished_at)
                    self._back_off.retry_at = min(self._back_off.retry_at, confirm_at)
                else:
                    self._back_off.reset()
                    self._snapshot = snapshot.until(confirm_at)
                return False
        self._back_off.reset()
        # Cached tokens are bound to their KeySet object: an unchanged document keeps the object, and so the tokens.
        if snapshot is not None and snapshot.keys.fingerprint == keys.fingerprint:
            keys = snapshot.keys
        self._snapshot = Snapshot.of(keys, now, max_age_seconds, self._stale_seconds)
        return True
