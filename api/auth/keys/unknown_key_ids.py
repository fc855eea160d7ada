"""Limits for unknown key ids. The client chooses the key id, so made-up ones must cost the issuer and us little."""

import hashlib
import math

# Unknown key ids cause one fetch in this time and no more.
COOL_DOWN_SECONDS = 10.0
# How many requests of a process may wait for one fetch because their key id is unknown. The others are answered at
# once: a slow issuer would otherwise occupy all threads of the server.
MAX_WAITING = 2
_MAX_REMEMBERED = 256


class UnknownKeyIds:
    """When an unknown key id may cause a fetch, and which ones were just looked for in vain.

    Times are seconds of KeyCache's clock. Not thread-safe: KeyCache holds its lock.
    """

    def __init__(self) -> None:
        self.next_fetch_at = -math.inf
        self._missing: set[bytes] = set()

    @staticmethod
    def digest(algorithm_and_kid: tuple[str, str | None]) -> bytes:
        """Return what is remembered of an (alg, kid), whose length the client chooses."""
        return hashlib.sha256(ascii(tuple(algorithm_and_kid)).encode("ascii")).digest()

    def start_cool_down(self, now: float) -> None:
        """Note that an unknown key id causes a fetch, and forget those that were looked for before."""
        self.next_fetch_at = now + COOL_DOWN_SECONDS
        self._missing.clear()

    def remember(self, digest: bytes) -> None:
        """Note that a fetched key set does not have this key; do nothing if 256 are remembered."""
        if len(self._missing) < _MAX_REMEMBERED:
            self._missing.add(digest)

    def is_remembered(self, digest: bytes, now: float) -> bool:
        """Return whether this key was looked for in vain since the cool-down began."""
        return now < self.next_fetch_at and digest in self._missing
