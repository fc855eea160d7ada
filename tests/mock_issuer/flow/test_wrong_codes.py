import pytest

from mock_issuer.flow.wrong_codes import TooManyWrongCodes, WrongCodes

WINDOW = 900


def wait_for(wrong: WrongCodes, *sources: str, now: float) -> int:
    """Return the seconds after which a code of these sources is accepted again; 0 if it is accepted now."""
    try:
        wrong.check(sources, now)
    except TooManyWrongCodes as limit:
        return limit.retry_after_seconds
    return 0


def test_a_source_at_its_limit_waits_until_the_oldest_leaves_the_window() -> None:
    wrong = WrongCodes(3)
    for now in (0, 10, 20):
        assert wait_for(wrong, "session a", now=now) == 0
        wrong.add(["session a"], now)
    assert wait_for(wrong, "session a", now=20) == WINDOW - 20
    assert wait_for(wrong, "session b", "session a", now=20) == WINDOW - 20
    assert wait_for(wrong, "session b", now=20) == 0
    assert wait_for(wrong, "session a", now=WINDOW - 0.5) == 1
    assert wait_for(wrong, "session a", now=WINDOW) == 0
    wrong.add(["session a"], WINDOW)
    assert wait_for(wrong, "session a", now=WINDOW) == 10


def test_each_source_of_a_wrong_code_counts() -> None:
    wrong = WrongCodes(2)
    wrong.add(["session a", "address x"], 0)
    wrong.add(["session b", "address x"], 0)
    assert [wait_for(wrong, one, now=0) for one in ("session a", "session b", "address x")] == [0, 0, WINDOW]


@pytest.mark.parametrize(("per_source", "in_total"), [(5, 200), (200, 200), (201, 201), (300, 300)])
def test_all_sources_together_have_a_limit(per_source: int, in_total: int) -> None:
    wrong = WrongCodes(per_source)
    for number in range(in_total - 1):
        wrong.add([f"address {number}"], 0)
    assert wait_for(wrong, "address x", now=0) == 0
    wrong.add(["address x"], 1)
    assert wait_for(wrong, "address new", now=1) == WINDOW - 1
    assert wait_for(wrong, now=WINDOW - 1) == 1
    assert wait_for(wrong, "address new", now=WINDOW) == 0


def test_what_has_left_the_window_is_forgotten() -> None:
    wrong = WrongCodes(3)
    wrong.add(["address a"], 0)
    wrong.add(["address b"], 1)
    wrong.check([], WINDOW)
    assert set(wrong._times) == {"address b", "total"}
    wrong.check([], WINDOW + 1)
    assert wrong._times == {}
