"""The cache of verified tokens. What is checked again at each use of one: verifier.py."""

import threading
from collections import OrderedDict
from hashlib import sha256

from .claims import AccessToken
from .keys.key_set import KeySet
from .unverified_token import MAX_TOKEN_CHARS

# A token whose signature holds, its (alg, kid), and the key set that it was verified with.
VerifiedToken = tuple[AccessToken, tuple[str, str | None], KeySet]
# The cache key of a token, None if the cache does not take it, and its entry, None if it has none.
Found = tuple[bytes | None, VerifiedToken | None]


class TokenCache:
    """Holds up to `size` verified tokens, none with size 0, and removes the least recently used. Thread-safe.

    Keys are SHA-256 digests, so that the memory holds no usable tokens. Does not check a token's times: callers do.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        # Not cachetools.LRUCache, which calls two Python functions to find a token: 1 % of a protected request.
        self._entries: OrderedDict[bytes, VerifiedToken] = OrderedDict()
        # Held for microseconds.
        self._lock = threading.Lock()

    @staticmethod
    def key(unverified_token: str) -> bytes:
        """Return the cache key of a token. Raises UnicodeEncodeError for a lone surrogate."""
        return sha256(unverified_token.encode()).digest()

    def find(self, unverified_token: str) -> Found:
        """Return the key of a token and its entry."""
        # First, since the client chooses the length of what is hashed.
        if not self._size or len(unverified_token) > MAX_TOKEN_CHARS or not unverified_token.isascii():
            return None, None
        # Not by `key`: a call would take 0.2 µs.
        key = sha256(unverified_token.encode()).digest()
        with self._lock:
            verified = self._entries.get(key)
            if verified is not None:
                self._entries.move_to_end(key)
        return key, verified

    def put(self, key: bytes, verified: VerifiedToken) -> None:
        """Store a token whose signature and claims have been verified."""
        with self._lock:
            self._entries[key] = verified
            self._entries.move_to_end(key)
            if len(self._entries) > self._size:
                self._entries.popitem(last=False)

    def remove(self, key: bytes) -> None:
        """Remove the entry of `key`, if there is one."""
        with self._lock:
            self._entries.pop(key, None)
