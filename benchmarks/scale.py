"""What many processes ask of an issuer's key endpoint, with the real `KeyCache` and a simulated clock: `make scale`.

Each process sees a token each second. A fetch takes no simulated time. Nothing sleeps, so that hours take seconds.
"""

import random
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from api.auth import AuthConfig, AuthError, AuthEvents, TrustedIssuer
from api.auth.keys.fetch import Fetched, FetchError
from api.auth.keys.key_cache import KeyCache
from tests.kit.signing import SigningKey, jwks, rsa_key

_ISSUER = TrustedIssuer(
    identifier="https://issuer.example/", audiences=("api",), jwks_url="https://issuer.example/jwks.json"
)
_CONFIG = AuthConfig(issuers=(_ISSUER,))
_START_SEED = 7


class _Silent(AuthEvents):
    def keys_fetch_failed(self, issuer: str, cause: str) -> None:
        """Log nothing: the outage is simulated."""


class Fleet:
    """`size` processes with a key cache each, one issuer, and a clock in seconds that `step` moves."""

    def __init__(self, size: int, *, max_age_seconds: int | None = None) -> None:
        random.seed(_START_SEED)
        self.now = 0.0
        self.fetches: Counter[int] = Counter()  # by second
        self.refused: Counter[int] = Counter()  # likewise
        self.is_down = False
        self._max_age_seconds = max_age_seconds
        self._body = b""
        self.caches = [
            KeyCache(_ISSUER, _CONFIG, events=_Silent(), fetch=self._fetch, monotonic=lambda: self.now)
            for _ in range(size)
        ]

    def publish(self, *keys: SigningKey) -> None:
        """Publish these keys from now on."""
        self._body = jwks(*keys)

    def _fetch(self, _url: str, _timeout_seconds: float) -> Fetched:
        self.fetches[int(self.now)] += 1
        if self.is_down:
            raise FetchError("simulated outage")
        return Fetched(self._body, self._max_age_seconds)

    def token(self, cache: KeyCache, kid: str) -> bool:
        """Let a process see a token with this key id; return whether it finds the key."""
        try:
            cache.find(("RS256", kid))
        except AuthError:
            self.refused[int(self.now)] += 1
            return False
        finally:
            # A refresh ahead of expiry goes on in a thread: it has to end before the clock moves.
            if threading.active_count() > 1:
                for thread in threading.enumerate():
                    if thread.name == "jwks-fetch":
                        thread.join()
        return True

    def run(self, seconds: int, kid: str, *others: str) -> None:
        """Let every process see a token with each of these key ids in each second."""
        for _ in range(seconds):
            for cache in self.caches:
                for each in (kid, *others):
                    self.token(cache, each)
            self.now += 1

    def seconds_until_known(self, kid: str, *others: str, limit: int = 4_000) -> list[int]:
        """Run until every process has found this key; return when each did, in seconds from now, sorted."""
        unknowing, found = list(self.caches), []
        for second in range(limit):
            still = []
            for cache in unknowing:
                for each in others:
                    self.token(cache, each)
                keys = cache.current_keys()
                # Without a token of the key itself, a process learns of it by its own refreshes alone.
                knows = self.token(cache, kid) if not others else keys is not None and keys.find(("RS256", kid))
                if knows:
                    found.append(second)
                else:
                    still.append(cache)
            unknowing = still
            if not unknowing:
                return found
            self.now += 1
        raise RuntimeError("not known in time")

    def rates(self, begin: int, end: int) -> "Rates":
        """Return the fetches a second between two seconds."""
        counts = [self.fetches[second] for second in range(begin, end)]
        return Rates(sum(counts) / len(counts), max(counts))


@dataclass(frozen=True, slots=True)
class Rates:
    """Fetches in a second: their mean and the most."""

    mean: float
    most: int

    def __str__(self) -> str:
        """Return both as words."""
        return f"{self.mean:.1f} fetches/s, at most {self.most} in a second"


def started(size: int, *, max_age_seconds: int | None = None, seconds: int = 900) -> tuple[Fleet, SigningKey]:
    """Return a fleet that has served for some time since all processes started in the same second, and its key."""
    fleet, key = Fleet(size, max_age_seconds=max_age_seconds), rsa_key(0, "key-1")
    fleet.publish(key)
    fleet.run(seconds, "key-1")
    return fleet, key


def steady(size: int, max_age_seconds: int | None) -> Rates:
    """Return the rate of a fleet after its first refreshes."""
    seconds = 600 if max_age_seconds is None else 3 * max_age_seconds
    fleet, _ = started(size, max_age_seconds=max_age_seconds, seconds=2 * seconds)
    return fleet.rates(seconds, 2 * seconds)


def start(size: int) -> tuple[int, Rates]:
    """Return the fetches in the second of a start of all processes at once, and the rates of the next 600 s."""
    fleet, _ = started(size, seconds=601)
    return fleet.fetches[0], fleet.rates(1, 601)


def announced_rotation(size: int) -> list[int]:
    """Return when each process knows a key that is published before it is used."""
    fleet, key = started(size)
    fleet.publish(key, rsa_key(1, "key-2"))
    return fleet.seconds_until_known("key-2", "key-1")


def sudden_rotation(size: int, *, made_up: bool) -> tuple[list[int], int]:
    """Return when each process accepts a key that is used at once, and the most fetches in a second.

    With `made_up`, somebody has sent each process a made-up key id in each second before.
    """
    fleet, key = started(size)
    if made_up:
        fleet.run(65, "key-1", "made-up")
    fleet.publish(key, rsa_key(1, "key-2"))
    begin = int(fleet.now)
    known = fleet.seconds_until_known("key-2")
    return known, fleet.rates(begin, int(fleet.now) + 1).most


def made_up_key_ids(size: int) -> Rates:
    """Return the rate while each process gets a made-up key id in each second."""
    fleet, _ = started(size)
    begin = int(fleet.now)
    fleet.run(100, "key-1", "made-up")
    return fleet.rates(begin, begin + 100)


def outage(size: int) -> tuple[Rates, int, Rates]:
    """Return the rate in an outage of 20 minutes in its second half, the tokens refused, and the 60 s after it."""
    fleet, _ = started(size)
    fleet.is_down = True
    begin = int(fleet.now)
    fleet.run(1_200, "key-1")
    fleet.is_down = False
    back = int(fleet.now)
    fleet.run(60, "key-1")
    return fleet.rates(begin + 600, back), sum(fleet.refused.values()), fleet.rates(back, back + 60)


def main() -> None:
    """Run all, for 1,000 processes or the number given."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    lines: list[tuple[str, Callable[[], object]]] = [
        ("steady, no max-age (600 s)", lambda: steady(size, None)),
        ("steady, max-age 60 s", lambda: steady(size, 60)),
        ("all start at once: fetches in that second, then 600 s", lambda: "{}; {}".format(*start(size))),
        ("announced rotation: known to half, to all, in s", lambda: _half_and_all(announced_rotation(size))),
        ("sudden rotation: likewise", lambda: _sudden(size, made_up=False)),
        ("sudden rotation during made-up key ids", lambda: _sudden(size, made_up=True)),
        ("made-up key ids", lambda: made_up_key_ids(size)),
        ("outage; tokens refused; the 60 s after it", lambda: "{}; {}; {}".format(*outage(size))),
    ]
    print(f"{size:,} processes, each with a token a second")
    for name, measure in lines:
        print(f"  {name:<56} {measure()}", flush=True)


def _half_and_all(seconds: list[int]) -> str:
    return f"{seconds[len(seconds) // 2]}, {seconds[-1]}"


def _sudden(size: int, *, made_up: bool) -> str:
    known, most = sudden_rotation(size, made_up=made_up)
    return f"{_half_and_all(known)}; at most {most} fetches in a second"


if __name__ == "__main__":
    main()
