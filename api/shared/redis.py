"""The Redis that processes share: asked quickly or not at all, and never the reason why a request fails."""

import threading
from typing import Literal

import structlog
from redis import ConnectionPool, Redis, RedisError
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from api.operations.metrics import REDIS_MISSED

# A Redis nearby answers within a millisecond. What takes this long is out of order, and a request waits for it once.
TIMEOUT_SECONDS = 0.25

Use = Literal["limits", "revocations"]

_log = structlog.stdlib.get_logger()


class SharedRedis:
    """A Redis by its address, and whether it answered last. Thread-safe; usable in a forked process.

    `is_up` is what was last seen: whoever finds Redis gone says so with `lost`, and then nobody waits for it until
    somebody in the background finds it again and says `found`.
    """

    def __init__(self, url: str) -> None:
        self.pool = ConnectionPool.from_url(
            url,
            socket_connect_timeout=TIMEOUT_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            # Once more, for a connection that a restart of Redis has cut; not for one that does not answer.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
        self.client = Redis(connection_pool=self.pool)
        self.is_up = True
        # Held for microseconds. The connection pool opens connections of its own in a forked process.
        self._lock = threading.Lock()

    def lost(self, use: Use, error: RedisError) -> None:
        """Count a use that failed, and log the first of a row."""
        self.missed(use)
        with self._lock:
            was_up, self.is_up = self.is_up, False
        if was_up:
            # The kind alone: the text may name the address.
            _log.error("redis_lost", cause=type(error).__name__)

    def missed(self, use: Use) -> None:
        """Count a use that was not tried, Redis being gone."""
        REDIS_MISSED.labels(use).inc()

    def found(self) -> None:
        """Let Redis be used again, and log it where it was gone."""
        with self._lock:
            was_up, self.is_up = self.is_up, True
        if not was_up:
            _log.warning("redis_found")

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        self.pool.disconnect()
