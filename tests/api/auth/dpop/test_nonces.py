import hmac
import re

import pytest

from api.auth.dpop.nonces import NONCE_SECONDS, Nonces
from tests.kit.signing import b64

SECRET = b"s" * 32
NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("seconds", "accepted"),
    [
        (0, True),
        (NONCE_SECONDS, True),
        (2 * NONCE_SECONDS - 1, True),
        (2 * NONCE_SECONDS, False),
        (86_400, False),
        # The clock of another process is behind.
        (-1, True),
        (-NONCE_SECONDS, True),
        (-NONCE_SECONDS - 1, False),
    ],
)
def test_a_nonce_is_accepted_for_two_periods(seconds: float, *, accepted: bool) -> None:
    assert NOW % NONCE_SECONDS == 0
    nonce = Nonces(SECRET).current(NOW)
    assert Nonces(SECRET).accepts(nonce, NOW + seconds) is accepted


def test_within_a_period_all_processes_give_the_same_one() -> None:
    one, other = Nonces(SECRET), Nonces(SECRET)
    assert one.current(NOW) == other.current(NOW + NONCE_SECONDS - 1)
    assert one.current(NOW) != one.current(NOW + NONCE_SECONDS)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", one.current(NOW))


def test_processes_of_all_versions_make_the_same_one() -> None:
    mac = hmac.new(SECRET, b"DPoP-Nonce:6000000", "sha256").digest()
    assert Nonces(SECRET).current(NOW) == b64(mac)


def test_another_secret_makes_other_nonces() -> None:
    nonces = Nonces(SECRET)
    assert not nonces.accepts(Nonces(b"t" * 32).current(NOW), NOW)
    assert not any(nonces.accepts(made_up, NOW) for made_up in ("", "x", nonces.current(NOW)[:-1]))


def test_time_may_go_back() -> None:
    nonces = Nonces(SECRET)
    first = nonces.current(NOW)
    nonces.current(NOW + 10 * NONCE_SECONDS)
    assert nonces.current(NOW) == first
