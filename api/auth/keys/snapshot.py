"""A fetched key set with the times until which it is used. No I/O: key_cache.py decides what is fetched when."""

import dataclasses
import random
from dataclasses import dataclass
from typing import Self

from .key_set import KeySet

# How long a key set stays fresh, where the server's max-age says nothing, and the least and the most that it may say.
DEFAULT_FRESH_SECONDS = 600
MIN_FRESH_SECONDS = 60
MAX_FRESH_SECONDS = 3_600
# A refresh is due after 75 to 85 % of the freshness, at random, so that processes do not all fetch at once.
_REFRESH_AFTER = 0.75
_REFRESH_SPREAD = 0.1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A key set and its times, in seconds of the cache's monotonic clock; replaced as a whole, never changed."""

    keys: KeySet
    refresh_at: float  # at most `usable_until`: before it, no other time is looked at
    fresh_until: float
    usable_until: float

    @classmethod
    def of(cls, keys: KeySet, now: float, max_age_seconds: int | None, stale_seconds: int) -> Self:
        """Return a key set that was asked for at `now`, with the server's max-age and the configured use when stale."""
        fresh_seconds = DEFAULT_FRESH_SECONDS
        if max_age_seconds is not None:
            fresh_seconds = min(max(max_age_seconds, MIN_FRESH_SECONDS), MAX_FRESH_SECONDS)
        refresh_after = _REFRESH_AFTER + _REFRESH_SPREAD * random.random()
        fresh_until = now + fresh_seconds
        return cls(keys, now + fresh_seconds * refresh_after, fresh_until, fresh_until + stale_seconds)

    def until(self, confirm_at: float) -> Self:
        """Return the same keys, fresh at least until `confirm_at`, when a refresh is due."""
        return dataclasses.replace(
            self,
            refresh_at=confirm_at,
            fresh_until=max(self.fresh_until, confirm_at),
            usable_until=max(self.usable_until, confirm_at),
        )
