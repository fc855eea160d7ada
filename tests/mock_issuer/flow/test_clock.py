import pytest

from mock_issuer.flow.clock import Clock

TEN_YEARS = 10 * 366 * 86_400


def test_it_shows_the_time_of_its_base_and_all_advances() -> None:
    clock = Clock(lambda: 100.0)
    assert clock() == 100
    for advance, expected in ((0, 100), (0.5, 100.5), (TEN_YEARS - 0.5, 100 + TEN_YEARS)):
        clock.advance(advance)
        assert clock() == expected
    clock.reset()
    assert clock() == 100
    clock.advance(TEN_YEARS)


@pytest.mark.parametrize("before", [0, 60])
@pytest.mark.parametrize("seconds", [-1, -0.001, TEN_YEARS + 0.001, float("inf"), float("-inf"), float("nan")])
def test_it_moves_only_forward_and_ten_years_at_most(before: float, seconds: float) -> None:
    clock = Clock(lambda: 100.0)
    clock.advance(before)
    with pytest.raises(ValueError, match="only move forward"):
        clock.advance(seconds)
    with pytest.raises(ValueError, match="only move forward"):
        clock.advance(TEN_YEARS - before + 1)
    assert clock() == 100 + before
