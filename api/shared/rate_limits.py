"""Rate limits per caller. Only requests with a verified token count, so nobody can use up another caller's limit."""

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
from api.auth.possession import CertificateProof, KeyProof
from api.operations.metrics import RATE_LIMITED
from api.problems.problem import Problem

from .redis import SharedRedis

_KEY_PREFIX = "device-api:limits"
# Marks a counted request in its WSGI environment: a blueprint and its view may both require a token.
_COUNTED = "device-api.counted"


class RateLimits:
    """Count requests per caller in fixed windows that start with the caller's first request.

    With `redis`, all processes share the counts; while Redis is down, no request is counted or refused. Without
    `redis`, each process counts its own requests.
    """

    def __init__(self, limit: RateLimitItem, redis: SharedRedis | None) -> None:
        self._limit = limit
        self._redis = redis
        self._lock = threading.Lock()
        self._limiter: FixedWindowRateLimiter | None = None

    def count(self, token: AccessToken) -> None:
        """Count a request of the token's issuer, subject and client.

        Raises Problem (429 with Retry-After, RFC 6585 §4) if it exceeds the caller's limit.
        """
        limiter = self._limiter or self._make_limiter()
        if self._redis is None:
            self._hit(limiter, token)
            return
        if not self._redis.is_up:
            self._redis.count_skipped("limits")
            return
        try:
            self._hit(limiter, token)
        except RedisError as exc:
            self._redis.mark_down("limits", exc)

    def _hit(self, limiter: FixedWindowRateLimiter, token: AccessToken) -> None:
        # Hashed, so that Redis holds no subjects.
        caller = json.dumps((token.issuer, token.subject_or_none, token.client_id)).encode()
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
        # Created on first use: MemoryStorage starts a thread, and a server that preloads forks after `__init__`. If a
        # later fork loses the thread, the storage starts it again.
        with self._lock:
            if self._limiter is None:
                if self._redis is None:
                    storage: MemoryStorage | RedisStorage = MemoryStorage()
                else:
                    storage = _PreciseRedisStorage(self._redis)
                self._limiter = FixedWindowRateLimiter(storage)
            return self._limiter


class _PreciseRedisStorage(RedisStorage):
    """Redis storage with window ends in milliseconds: whole seconds make Retry-After up to half a second too short."""

    def __init__(self, redis: SharedRedis) -> None:
        super().__init__("redis://", connection_pool=redis.pool, key_prefix=_KEY_PREFIX)
        self._client = redis.client

    def get_expiry(self, key: str) -> float:
        """Return when the window of `key` ends, in seconds since 1970; now, if it has none."""
        milliseconds = self._client.pttl(self.prefixed_key(key))
        return time.time() + max(milliseconds, 0) / 1000


class RateLimitedAuth(Auth):
    """Auth with a rate limit. Counts each request whose token is valid and sufficient for the route."""

    def __init__(
        self,
        verifier: TokenVerifier,
        limits: RateLimits,
        *,
        realm: str = "api",
        resource_url: str | None = None,
        metadata: bool = False,
        dpop: KeyProof | None = None,
        mtls: CertificateProof | None = None,
    ) -> None:
        super().__init__(verifier, realm=realm, resource_url=resource_url, metadata=metadata, dpop=dpop, mtls=mtls)
        self._limits = limits

    def admit(self, requirement: Requirement) -> AccessToken | None:
        """Do as `Auth.admit`; also raise Problem (429) if the request exceeds the caller's limit."""
        token = super().admit(requirement)
        if token is not None and _COUNTED not in request.environ:
            request.environ[_COUNTED] = True
            self._limits.count(token)
        return token
