"""How many requests a caller may send: counted once its token is verified, so that nobody spends another's share."""

import hashlib
import json
import math
import threading
import time

from flask import request
from limits import RateLimitItem
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import FixedWindowRateLimiter
from redis import RedisError

from api.auth import AccessToken, Auth, Requirement, TokenVerifier
from api.operations.metrics import RATE_LIMITED
from api.problems.problem import Problem

from .redis import SharedRedis

_KEY_PREFIX = "device-api:limits"
# In the WSGI environment: a blueprint and its view may both ask for a token, and that is one request.
_COUNTED = "device-api.counted"


class RateLimits:
    """Counts requests by caller in windows that begin with a caller's first request.

    With `redis` all processes count together; while it is gone, nothing is counted and everybody goes on. Without it
    each process counts for itself.
    """

    def __init__(self, limit: RateLimitItem, redis: SharedRedis | None) -> None:
        self._limit = limit
        self._redis = redis
        self._lock = threading.Lock()
        self._limiter: FixedWindowRateLimiter | None = None

    def count(self, token: AccessToken) -> None:
        """Count a request of the token's issuer, subject and client. Raises Problem, a 429, for one too many."""
        limiter = self._limiter or self._make_limiter()
        if self._redis is None:
            self._hit(limiter, token)
            return
        if not self._redis.is_up:
            self._redis.missed("limits")
            return
        try:
            self._hit(limiter, token)
        except RedisError as exc:
            self._redis.lost("limits", exc)

    def _hit(self, limiter: FixedWindowRateLimiter, token: AccessToken) -> None:
        # A digest: no separator that a subject could contain, and no subject in Redis.
        caller = json.dumps((token.issuer, token.subject, token.client_id)).encode()
        key = hashlib.sha256(caller).hexdigest()
        if limiter.hit(self._limit, key):
            return
        RATE_LIMITED.inc()
        reset_at = limiter.get_window_stats(self._limit, key).reset_time
        retry_after = max(1, math.ceil(reset_at - time.time()))
        raise Problem(
            429,
            "rate_limited",
            f"Too many requests: the limit is {self._limit}.",
            headers={"Retry-After": str(retry_after), "Cache-Control": "no-store"},
        )

    def _make_limiter(self) -> FixedWindowRateLimiter:
        # On first use: the storage in memory starts a thread, and a server that preloads forks after `__init__`. A
        # thread that a later fork loses is started again by the storage.
        with self._lock:
            if self._limiter is None:
                if self._redis is None:
                    storage: MemoryStorage | RedisStorage = MemoryStorage()
                else:
                    storage = _PreciseRedisStorage(self._redis)
                self._limiter = FixedWindowRateLimiter(storage)
            return self._limiter


class _PreciseRedisStorage(RedisStorage):
    """Redis as a storage that tells to the millisecond when a window ends, and not up to half a second too early."""

    def __init__(self, redis: SharedRedis) -> None:
        super().__init__("redis://", connection_pool=redis.pool, key_prefix=_KEY_PREFIX)
        self._client = redis.client

    def get_expiry(self, key: str) -> float:
        """Return when the window of `key` ends, in seconds since 1970; now, where there is none."""
        milliseconds = self._client.pttl(self.prefixed_key(key))
        return time.time() + max(milliseconds, 0) / 1000


class LimitedAuth(Auth):
    """Authentication that counts each request whose token was good and sufficient."""

    def __init__(
        self, verifier: TokenVerifier, limits: RateLimits, *, realm: str = "api", resource_url: str | None = None
    ) -> None:
        super().__init__(verifier, realm=realm, resource_url=resource_url)
        self._limits = limits

    def admit(self, requirement: Requirement) -> AccessToken | None:
        """Return as Auth does; raises Problem as well, a 429, where the caller has sent too many requests."""
        token = super().admit(requirement)
        if token is not None and _COUNTED not in request.environ:
            request.environ[_COUNTED] = True
            self._limits.count(token)
        return token
