"""What docs/scale.md says of key fetches, with fewer processes: the same `KeyCache`, the same simulated clock."""

import pytest

from benchmarks import scale

SIZE = 12


def test_processes_that_start_together_refresh_apart() -> None:
    at_start, later = scale.start(SIZE)
    assert at_start == SIZE
    # Each refreshes once, between 450 and 510 s.
    assert later.mean == pytest.approx(SIZE / 600)
    assert later.most < SIZE / 2


def test_a_longer_freshness_asks_less() -> None:
    assert scale.steady(SIZE, 60).mean > 5 * scale.steady(SIZE, None).mean


def test_an_announced_key_is_known_after_the_next_refresh() -> None:
    assert scale.announced_rotation(SIZE)[-1] <= 510


def test_a_key_that_is_used_at_once_is_known_at_once() -> None:
    known, most = scale.sudden_rotation(SIZE, made_up=False)
    assert known == [0] * SIZE
    assert most == SIZE


def test_made_up_key_ids_delay_that_by_ten_seconds_at_most() -> None:
    known, _ = scale.sudden_rotation(SIZE, made_up=True)
    assert 0 < known[-1] <= 10


def test_made_up_key_ids_cause_a_fetch_in_ten_seconds_and_process() -> None:
    assert scale.made_up_key_ids(SIZE).mean == pytest.approx(SIZE / 10)


def test_an_outage_refuses_no_token_and_asks_seldom() -> None:
    during, refused, after = scale.outage(SIZE)
    assert refused == 0
    assert during.mean <= SIZE / 15
    assert after.mean >= SIZE / 60
