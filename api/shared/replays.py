"""Used DPoP proofs, shared by all processes through Redis (RFC 9449 §11.1)."""

from redis import RedisError

from api.auth import ReplaysUnavailable

from .redis import SharedRedis

_KEY_PREFIX = "device-api:dpop"
# While Redis is down, the background refresh of the revocations tries it this often.
_RETRY_AFTER_SECONDS = 2


class SharedReplays:
    """Remembers used proofs in Redis, so that a proof which one process has accepted opens nothing at another one.

    While Redis is down, no proof is accepted: a stolen one could be used once more at each process. Other tokens are.
    """

    def __init__(self, redis: SharedRedis) -> None:
        self._redis = redis

    def remember(self, key_thumbprint: str, proof_id: str, seconds: int) -> bool:
        """Remember a proof for so many seconds; return False if it is remembered already.

        Raises ReplaysUnavailable while Redis is down.
        """
        if not self._redis.is_up:
            self._redis.count_skipped("replays")
            raise ReplaysUnavailable(_RETRY_AFTER_SECONDS)
        key = f"{_KEY_PREFIX}:{key_thumbprint}:{proof_id}"
        try:
            # One command: of several processes that ask at once, one is told that the proof is new.
            return self._redis.client.set(key, b"", nx=True, ex=seconds) is True
        except RedisError as exc:
            self._redis.mark_down("replays", exc)
            raise ReplaysUnavailable(_RETRY_AFTER_SECONDS) from exc
