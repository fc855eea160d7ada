"""The connection to Redis, and whether Redis is up."""

import threading
from typing import Literal

import structlog
from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from api.operations.metrics import REDIS_MISSED, REDIS_UP

# A healthy Redis nearby answers within 1 ms. After one timeout it counts as down, and no request waits for it again.
TIMEOUT_SECONDS = 0.25

Use = Literal["limits", "replays", "revocations"]

_log = structlog.stdlib.get_logger()


class SharedRedis:
    """A Redis server. Thread-safe, and usable after a fork.

    `is_up` is false from `mark_down`, which a failed use calls, to `mark_up`, which the background refresh of the
    revocations calls when Redis answers again. While it is false, requests skip Redis.
    """

    def __init__(self, url: str) -> None:
        self.pool = ConnectionPool.from_url(
            url,
            socket_connect_timeout=TIMEOUT_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            # Retry once on a connection that a restart of Redis has closed, but not after a timeout.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
        # The URL can ask for texts, but the callers expect bytes.
        self.pool.connection_kwargs["decode_responses"] = False
        self.client = Redis(connection_pool=self.pool)
        self.is_up = True
        # Never held during I/O. In a forked process, the connection pool opens its own connections.
        self._lock = threading.Lock()

    def mark_down(self, use: Use, error: Exception) -> None:
        """Count a failed use, and log the first failure of an outage."""
        self.count_skipped(use)
        REDIS_UP.set(0)
        with self._lock:
            was_up, self.is_up = self.is_up, False
        if was_up:
            # Only the type: the text may contain the address.
            _log.error("redis_lost", cause=type(error).__name__)

    def count_skipped(self, use: Use) -> None:
        """Count a use that did not happen because Redis is down."""
        REDIS_MISSED.labels(use).inc()

    def mark_up(self) -> None:
        """Let requests use Redis again, and log the end of an outage."""
        REDIS_UP.set(1)
        with self._lock:
            was_up, self.is_up = self.is_up, True
        if not was_up:
            _log.warning("redis_found")

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        self.pool.disconnect()
