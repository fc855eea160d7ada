"""Revoked tokens: known to this process, and with Redis to all processes within a few seconds."""

import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal, Protocol, cast
from uuid import uuid4

from redis import RedisError

from api.auth import AccessToken
from api.auth.strict_json import parse_object

from .redis import SharedRedis

# The life of the longest-lived token (as DEFAULT_STALE_SECONDS of the keys): after that it has expired by itself.
DEFAULT_KEPT_SECONDS = 86_400
# Every process has seen a revocation after this long and the time that Redis takes; 5 s are promised.
REFRESH_SECONDS = 2.0
# The first request of a process waits this long for the first look into Redis, and no other request ever waits.
_FIRST_LOOK_SECONDS = 1.0
# A sorted set: each revocation as JSON, by the time that it is kept until.
_KEY = "device-api:revocations"
# Another value after each change, so that who knows the set need not read it again.
_VERSION_KEY = "device-api:revocations:version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A token (`by` its `jti`), or all tokens of a subject (`by` their `sub`) issued up to a time.

    Times are seconds since 1970. It is kept until `kept_until`, when what it revokes has expired.
    """

    issuer: str
    by: Literal["jti", "sub"]
    value: str
    revoked_at: float
    kept_until: float


class RevokedTokens(Protocol):
    """What the verifier asks, and what the command line tells."""

    def add(self, revocation: Revocation) -> None:
        """Revoke."""

    def is_revoked(self, token: AccessToken) -> bool:
        """Say whether a verified token has been revoked."""

    def close(self) -> None:
        """Let go of threads and connections."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A set of revocations as look-ups need it; swapped whole, never changed."""

    revocations: frozenset[Revocation]
    # Issuer and `jti` of each.
    tokens: frozenset[tuple[str, str]]
    # By issuer and `sub`, the time of the latest.
    subjects: Mapping[tuple[str, str], float]

    @classmethod
    def of(cls, revocations: Iterable[Revocation], now: float) -> "_Known":
        kept = frozenset(one for one in revocations if one.kept_until > now)
        subjects: dict[tuple[str, str], float] = {}
        for one in kept:
            if one.by == "sub":
                name = (one.issuer, one.value)
                subjects[name] = max(one.revoked_at, subjects.get(name, -math.inf))
        return cls(kept, frozenset((one.issuer, one.value) for one in kept if one.by == "jti"), subjects)

    def holds(self, token: AccessToken) -> bool:
        if token.token_id is not None and (token.issuer, token.token_id) in self.tokens:
            return True
        if not self.subjects:
            return False
        revoked_at = self.subjects.get((token.issuer, token.subject))
        # A token that does not say when it was issued may be one of those that are meant.
        return revoked_at is not None and (token.issued_at is None or token.issued_at <= revoked_at)


class LocalRevocations:
    """Revocations of this process alone. `now` is a clock in seconds since 1970."""

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._known: _Known | None = None
        self._lock = threading.Lock()

    def add(self, revocation: Revocation) -> None:
        """Revoke, in this process."""
        with self._lock:
            known = self._known.revocations if self._known else frozenset()
            self._known = _Known.of({*known, revocation}, self._now())

    def is_revoked(self, token: AccessToken) -> bool:
        """Say whether a verified token has been revoked."""
        known = self._known
        return known is not None and known.holds(token)

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


class SharedRevocations:
    """Revocations of all processes on one Redis.

    A thread, started by the first request, looks into Redis every 2 s; requests ask what it found last and do not wait.
    Through an outage what is known stays known, and a Redis that comes back empty is told it again. A forked process
    starts a thread of its own. `now` is a clock in seconds since 1970.
    """

    def __init__(
        self,
        redis: SharedRedis,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._redis = redis
        self._now = now
        self._known: _Known | None = None
        self._version: bytes | None = None
        # Held while the thread is started, in the first request of a process.
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._looked = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, revocation: Revocation) -> None:
        """Revoke, in all processes. Raises RedisError where Redis cannot be told."""
        self._tell({revocation})

    def is_revoked(self, token: AccessToken) -> bool:
        """Say whether a verified token has been revoked, as far as Redis was last seen to know."""
        # In a forked process the parent's thread is not alive.
        if self._thread is None or not self._thread.is_alive() or not self._looked.is_set():
            self._watch()
        known = self._known
        return known is not None and known.holds(token)

    def refresh(self) -> None:
        """Look into Redis; where it cannot be reached, what is known stays."""
        try:
            self._catch_up()
        except RedisError as exc:
            self._redis.lost("revocations", exc)
        else:
            self._redis.found()
        finally:
            self._looked.set()

    def close(self) -> None:
        """End the thread, and close the connections to Redis."""
        self._ended.set()
        thread = self._thread
        if thread is not None:
            thread.join()
        self._redis.close()

    def _watch(self) -> None:
        """Have the thread running, and the first look done if Redis lets it be."""
        with self._lock:
            if self._ended.is_set():
                return
            if self._thread is None or not self._thread.is_alive():
                # A look of the parent process, or of a thread that died, is not this thread's first look.
                self._looked = threading.Event()
                self._thread = threading.Thread(target=self._keep_looking, name="revocations", daemon=True)
                self._thread.start()
        self._looked.wait(_FIRST_LOOK_SECONDS)

    def _keep_looking(self) -> None:
        ended = self._ended
        while True:
            self.refresh()
            if ended.wait(REFRESH_SECONDS):
                return

    def _catch_up(self) -> None:
        # Read before the set: a change between the two is found the next time.
        version = cast("bytes | None", self._redis.client.get(_VERSION_KEY))
        known = self._known.revocations if self._known else frozenset()
        if version == self._version and (version is not None or not known):
            return
        now = self._now()
        entries = cast("list[bytes]", self._redis.client.zrangebyscore(_KEY, now, "+inf"))
        told = frozenset(found for entry in entries if (found := _read(entry)) is not None)
        if known or told:
            self._known = _Known.of(known | told, now)
        self._version = version
        lacking = [one for one in known - told if one.kept_until > now]
        if lacking:
            self._tell(lacking)

    def _tell(self, revocations: Iterable[Revocation]) -> None:
        entries = {json.dumps(asdict(one)): one.kept_until for one in revocations}
        with self._redis.client.pipeline(transaction=True) as pipeline:
            pipeline.zadd(_KEY, entries)
            pipeline.zremrangebyscore(_KEY, "-inf", self._now())
            pipeline.set(_VERSION_KEY, uuid4().hex)
            pipeline.execute()


def _read(entry: bytes) -> Revocation | None:
    """Return the revocation of an entry; None for what was not written by this module."""
    try:
        one = Revocation(**parse_object(entry))
    except (ValueError, TypeError):
        return None
    texts, times = (one.issuer, one.by, one.value), (one.revoked_at, one.kept_until)
    is_ours = all(type(text) is str for text in texts) and all(type(time) in {int, float} for time in times)
    return one if is_ours and one.by in {"jti", "sub"} else None
