"""Revoked tokens, shared by all processes through Redis. Each process holds a copy that it refreshes every 2 s."""

import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal, cast
from uuid import uuid4

from redis import RedisError

from api.auth import AccessToken
from api.auth.strict_json import parse_object
from api.operations.auth_events import record_refusal
from api.problems.problem import Problem

from .redis import SharedRedis

# The lifetime of the longest-lived tokens; after that they have expired.
DEFAULT_KEPT_SECONDS = 86_400
# The time between two refreshes. The documentation promises that a revocation takes effect within 5 s.
REFRESH_SECONDS = 2.0
# Requests wait for the first refresh of a process, until this long after it began. Later requests never wait.
_FIRST_REFRESH_SECONDS = 1.0
# What redis-py raises for the answers of a server that is no Redis, besides RedisError.
_MALFORMED_ANSWER = (AttributeError, TypeError, ValueError)
# A sorted set: each revocation as JSON, with `kept_until` as its score.
_KEY = "device-api:revocations"
# A random value that every change replaces: while it stays the same, a refresh need not read the set.
_VERSION_KEY = "device-api:revocations:version"
# KEYS: the set and the version. ARGV: the present time, a new version, then `kept_until` and JSON of each revocation.
# Redis deletes both keys when the last revocation has expired, or after 68 years: it refuses far larger numbers. In a
# script, because another process may revoke between the look for the last one and EXPIRE. The time left is a
# difference on the clock of this process; Redis may have another clock.
_WRITE_SCRIPT = """
for index = 3, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], ARGV[index], ARGV[index + 1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
redis.call('SET', KEYS[2], ARGV[2])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
if last then
  local seconds = math.min(math.ceil(tonumber(last) - tonumber(ARGV[1])), 2147483647)
  redis.call('EXPIRE', KEYS[1], seconds)
  redis.call('EXPIRE', KEYS[2], seconds)
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A revoked token (`by` "jti"), or all tokens of a subject (`by` "sub") issued until `revoked_at`.

    Times are in seconds since 1970. At `kept_until` the revoked tokens have expired, and the revocation is deleted.
    """

    issuer: str
    by: Literal["jti", "sub"]
    value: str
    revoked_at: float
    kept_until: float


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """An immutable set of revocations, indexed for lookups."""

    revocations: frozenset[Revocation]
    # (issuer, jti).
    tokens: frozenset[tuple[str, str]]
    # (issuer, sub) → the latest `revoked_at`.
    subjects: Mapping[tuple[str, str], float]

    @classmethod
    def of(cls, revocations: Iterable[Revocation], now: float) -> "_Snapshot":
        kept = frozenset(one for one in revocations if one.kept_until > now)
        subjects: dict[tuple[str, str], float] = {}
        for one in kept:
            if one.by == "sub":
                name = (one.issuer, one.value)
                subjects[name] = max(one.revoked_at, subjects.get(name, -math.inf))
        return cls(kept, frozenset((one.issuer, one.value) for one in kept if one.by == "jti"), subjects)

    def is_revoked(self, token: AccessToken) -> bool:
        if token.token_id is not None and (token.issuer, token.token_id) in self.tokens:
            return True
        if not self.subjects:
            return False
        subject = token.subject_or_none
        revoked_at = None if subject is None else self.subjects.get((token.issuer, subject))
        # A token without `iat` may have been issued before the revocation.
        return revoked_at is not None and (token.issued_at is None or token.issued_at <= revoked_at)


class SharedRevocations:
    """The revocations of all processes that share a Redis.

    The first `is_revoked` or `is_ready` starts a thread that refreshes this process's snapshot every 2 s; requests use
    the snapshot and do not wait for Redis. Before the snapshot was read once, no token is judged. It is kept through an
    outage, and written back to a Redis that lost its data. A forked process reads its own. `now` returns seconds since
    1970.
    """

    def __init__(
        self,
        redis: SharedRedis,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._redis = redis
        self._now = now
        self._snapshot: _Snapshot | None = None
        self._version: bytes | None = None
        # The process that the snapshot belongs to.
        self._process_id = os.getpid()
        # Held while the thread is started, by the first request of a process.
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        # Set by the first refresh of a thread, whether or not it succeeded.
        self._refreshed = threading.Event()
        # When requests stop waiting for that, on the monotonic clock.
        self._wait_until = 0.0
        self._thread: threading.Thread | None = None

    def add(self, revocation: Revocation) -> None:
        """Revoke in all processes. Raises RedisError if Redis cannot be reached."""
        self._write({revocation})

    def is_revoked(self, token: AccessToken) -> bool:
        """Return whether a verified token was revoked, as of the last successful refresh.

        Raises Problem (503 with Retry-After) if this process has not read the revocations yet.
        """
        snapshot = self._current_snapshot()
        if snapshot is None:
            record_refusal("revocations_unread")
            raise Problem(
                503,
                "temporarily_unavailable",
                "The list of revoked tokens could not be read yet.",
                headers={"Retry-After": str(math.ceil(REFRESH_SECONDS)), "Cache-Control": "no-store"},
            )
        return snapshot.is_revoked(token)

    def is_ready(self) -> bool:
        """Return whether this process has read the revocations; start reading them if it has not."""
        return self._current_snapshot() is not None

    def refresh(self) -> None:
        """Update the snapshot from Redis; keep it if Redis cannot be reached, or does not answer as Redis does."""
        try:
            self._update_snapshot()
        except (RedisError, *_MALFORMED_ANSWER) as exc:
            self._redis.mark_down("revocations", exc)
        else:
            self._redis.mark_up()
        finally:
            self._refreshed.set()

    def close(self) -> None:
        """Stop the thread, and close the connections to Redis."""
        self._stopped.set()
        thread = self._thread
        if thread is not None:
            thread.join()
        self._redis.close()

    def _current_snapshot(self) -> _Snapshot | None:
        """Return the snapshot of this process, None before its first successful refresh."""
        # In a forked process, the parent's thread is not alive.
        if self._thread is None or not self._thread.is_alive() or not self._refreshed.is_set():
            self._ensure_thread()
        return self._snapshot

    def _ensure_thread(self) -> None:
        """Start the thread unless it is running, and wait for its first refresh."""
        with self._lock:
            if self._process_id != os.getpid():
                # The parent's snapshot may be old, and Redis may be down for this process alone.
                self._snapshot = self._version = None
                self._process_id = os.getpid()
            if self._stopped.is_set():
                return
            if self._thread is None or not self._thread.is_alive():
                # The event may be set by the parent process, or by a thread that died.
                self._refreshed = threading.Event()
                self._wait_until = time.monotonic() + _FIRST_REFRESH_SECONDS
                self._thread = threading.Thread(target=self._refresh_repeatedly, name="revocations", daemon=True)
                self._thread.start()
        self._refreshed.wait(max(0.0, self._wait_until - time.monotonic()))

    def _refresh_repeatedly(self) -> None:
        stopped = self._stopped
        while True:
            self.refresh()
            if stopped.wait(REFRESH_SECONDS):
                return

    def _update_snapshot(self) -> None:
        # Read before the set: a change between the two reads is found by the next refresh.
        version = cast("bytes | None", self._redis.client.get(_VERSION_KEY))
        known = self._snapshot.revocations if self._snapshot else frozenset()
        is_unchanged = version == self._version and (version is not None or not known)
        if self._snapshot is not None and is_unchanged:
            return
        now = self._now()
        entries = cast("list[bytes]", self._redis.client.zrangebyscore(_KEY, now, "+inf"))
        stored = frozenset(revocation for entry in entries if (revocation := _parse_entry(entry)) is not None)
        self._snapshot = _Snapshot.of(known | stored, now)
        self._version = version
        missing = [one for one in known - stored if one.kept_until > now]
        if missing:
            self._write(missing)

    def _write(self, revocations: Iterable[Revocation]) -> None:
        entries = [part for one in revocations for part in (one.kept_until, json.dumps(asdict(one)))]
        self._redis.client.eval(_WRITE_SCRIPT, 2, _KEY, _VERSION_KEY, self._now(), uuid4().hex, *entries)


def _parse_entry(entry: bytes) -> Revocation | None:
    """Return the revocation in an entry of the set; None if the entry is not one."""
    try:
        one = Revocation(**parse_object(entry))
    except (ValueError, TypeError):
        return None
    texts, times = (one.issuer, one.by, one.value), (one.revoked_at, one.kept_until)
    is_valid = all(type(text) is str for text in texts) and all(type(time) in {int, float} for time in times)
    return one if is_valid and one.by in {"jti", "sub"} else None
