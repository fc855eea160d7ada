"""Verified tokens, remembered: a bounded LRU keyed by the SHA-256 of the whole token."""

import hashlib
import threading

from cachetools import LRUCache

from .access_token import AccessToken
from .forks import renew_in_child
from .keys import KeySet

# A token whose signature held, and the key set under which it did: with another set it has to be verified anew.
VerifiedToken = tuple[AccessToken, KeySet]


class TokenCache:
    """Remembers up to `size` verified tokens, the least recently used forgotten first; thread-safe.

    Tokens themselves are not kept, only their digests. Does not look at a token's times: whoever gets one does.
    """

    def __init__(self, size: int) -> None:
        self._entries: LRUCache[bytes, VerifiedToken] = LRUCache(size)
        self._renew()
        renew_in_child(self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    @staticmethod
    def key(unverified_token: str) -> bytes:
        """Return what a token is remembered by. Raises UnicodeEncodeError for a lone surrogate."""
        return hashlib.sha256(unverified_token.encode()).digest()

    def get(self, key: bytes) -> VerifiedToken | None:
        """Return what is remembered under `key`, if anything is."""
        with self._lock:
            try:
                return self._entries[key]
            except KeyError:
                return None

    def put(self, key: bytes, verified: VerifiedToken) -> None:
        """Remember a token whose signature and claims have been verified."""
        with self._lock:
            self._entries[key] = verified

    def forget(self, key: bytes) -> None:
        """Remember nothing under `key`."""
        with self._lock:
            self._entries.pop(key, None)
