import math

import pytest

from api.auth.keys.back_off import BackOff


def waits(failures: int, *, after_success: bool = False) -> list[float]:
    """Return the seconds until the next try after so many failures, in 300 tries."""
    found = []
    for _ in range(300):
        back_off = BackOff()
        if after_success:
            back_off.fail(500.0)
            back_off.reset()
        for _ in range(failures):
            back_off.fail(1_000.0)
        found.append(back_off.retry_at - 1_000)
    return found


@pytest.mark.parametrize(
    ("failures", "shortest", "longest"),
    [(1, 1, 1), (2, 1, 2), (3, 2, 4), (4, 4, 8), (5, 8, 16), (6, 15, 30), (7, 15, 30), (20, 15, 30)],
)
def test_each_failure_doubles_the_wait_up_to_30_seconds_with_jitter(
    failures: int, shortest: float, longest: float
) -> None:
    found = waits(failures)
    assert shortest <= min(found) <= shortest * 1.05
    assert longest * 0.95 <= max(found) <= longest


def test_thousands_of_failures_are_no_error() -> None:
    back_off = BackOff()
    for _ in range(2_000):
        back_off.fail(1_000.0)
    assert 1_015 <= back_off.retry_at <= 1_030


def test_a_failure_is_known_for_a_minute() -> None:
    back_off = BackOff()
    assert (back_off.retry_at, back_off.failure_known_until) == (-math.inf, -math.inf)
    back_off.fail(1_000.0)
    assert back_off.failure_known_until == 1_060


def test_a_success_begins_anew() -> None:
    back_off = BackOff()
    for _ in range(5):
        back_off.fail(1_000.0)
    back_off.reset()
    assert (back_off.retry_at, back_off.failure_known_until) == (-math.inf, -math.inf)
    assert set(waits(1, after_success=True)) == {1}
    assert 1.9 < max(waits(2, after_success=True)) <= 2
