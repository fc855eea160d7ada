"""The cache of verified tokens. What is checked again at each use of one: `TokenVerifier.verify`."""

import hashlib
import threading

from cachetools import LRUCache

from .claims import AccessToken
from .keys.key_set import KeySet

# A token whose signature holds, its (alg, kid), and the key set that it was verified with.
VerifiedToken = tuple[AccessToken, tuple[str, str | None], KeySet]


class TokenCache:
    """Holds up to `size` verified tokens, and removes the least recently used. Thread-safe.

    Keys are SHA-256 digests, so that the memory holds no usable tokens. Does not check a token's times: callers do.
    """

    def __init__(self, size: int) -> None:
        self._entries: LRUCache[bytes, VerifiedToken] = LRUCache(size)
        # Held for microseconds.
        self._lock = threading.Lock()

    @staticmethod
    def key(unverified_token: str) -> bytes:
        """Return the cache key of a token. Raises UnicodeEncodeError for a lone surrogate."""
        return hashlib.sha256(unverified_token.encode()).digest()

    def get(self, key: bytes) -> VerifiedToken | None:
        """Return the entry of `key`, or None."""
        with self._lock:
            try:
                return self._entries[key]
            except KeyError:
                return None

    def put(self, key: bytes, verified: VerifiedToken) -> None:
        """Store a token whose signature and claims have been verified."""
        with self._lock:
            self._entries[key] = verified

    def remove(self, key: bytes) -> None:
        """Remove the entry of `key`, if there is one."""
        with self._lock:
            self._entries.pop(key, None)
