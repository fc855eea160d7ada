import pytest

from api.auth.keys.key_set import parse_key_set
from api.auth.keys.snapshot import Snapshot
from tests.kit.signing import jwks, rsa_key

KEYS = parse_key_set(jwks(rsa_key(0)), ["RS256"])


@pytest.mark.parametrize(
    ("max_age_seconds", "fresh_seconds"),
    [(None, 600), (0, 60), (59, 60), (60, 60), (61, 61), (3_599, 3_599), (3_600, 3_600), (3_601, 3_600)],
)
def test_the_server_says_how_long_keys_are_fresh_within_bounds(max_age_seconds: int | None, fresh_seconds: int) -> None:
    snapshot = Snapshot.of(KEYS, 1_000.0, max_age_seconds, 50)
    assert snapshot.keys is KEYS
    assert snapshot.fresh_until == 1_000 + fresh_seconds
    assert snapshot.usable_until == 1_000 + fresh_seconds + 50


def test_a_refresh_is_due_after_75_to_85_percent_at_random() -> None:
    shares = [(Snapshot.of(KEYS, 1_000.0, 1_000, 50).refresh_at - 1_000) / 1_000 for _ in range(300)]
    assert 0.75 <= min(shares) < 0.76
    assert 0.84 < max(shares) <= 0.85


def test_keys_are_kept_until_a_second_fetch() -> None:
    snapshot = Snapshot.of(KEYS, 1_000.0, 100, 50)
    early, late = snapshot.until(1_090.0), snapshot.until(2_000.0)
    assert (early.refresh_at, early.fresh_until, early.usable_until) == (1_090, 1_100, 1_150)
    assert (late.refresh_at, late.fresh_until, late.usable_until) == (2_000, 2_000, 2_000)
    assert early.keys is late.keys is KEYS
