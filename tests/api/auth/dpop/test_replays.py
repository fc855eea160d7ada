import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.auth import InvalidDPoPProof, Reason, ReplaysUnavailable
from api.auth.dpop.replays import ProcessReplays
from tests.kit.processes import ROOT

SECONDS = 121


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_proof_is_new_once(clock: Clock) -> None:
    replays = ProcessReplays(monotonic=clock)
    assert [replays.remember("key", "proof", SECONDS) for _ in range(3)] == [True, False, False]


def test_keys_and_proofs_are_told_apart(clock: Clock) -> None:
    replays = ProcessReplays(monotonic=clock)
    pairs = [("key", "proof"), ("key", "other"), ("other", "proof"), ("ke", "yproof")]
    assert all(replays.remember(*pair, SECONDS) for pair in pairs)


def test_a_proof_is_forgotten_when_its_time_is_over(clock: Clock) -> None:
    replays = ProcessReplays(monotonic=clock)
    replays.remember("key", "proof", SECONDS)
    clock.seconds = SECONDS - 0.1
    assert not replays.remember("key", "proof", SECONDS)
    clock.seconds = SECONDS
    replays.remember("other", "x", SECONDS)
    assert len(replays) == 1
    assert replays.remember("key", "proof", SECONDS)


def test_a_full_memory_forgets_nothing(clock: Clock) -> None:
    replays = ProcessReplays(20, monotonic=clock)
    for number in range(20):
        assert replays.remember(f"key-{number}", "proof", SECONDS)
    with pytest.raises(ReplaysUnavailable) as caught:
        replays.remember("another", "proof", SECONDS)
    assert (caught.value.status, caught.value.reason) == (503, Reason.REPLAYS_UNAVAILABLE)
    assert caught.value.retry_after_seconds == 5
    assert not replays.remember("key-0", "proof", SECONDS)
    clock.seconds = SECONDS
    assert replays.remember("another", "proof", SECONDS)
    assert len(replays) == 1


def test_one_key_fills_a_tenth_of_it(clock: Clock) -> None:
    replays = ProcessReplays(100, monotonic=clock)
    for number in range(10):
        assert replays.remember("key", f"proof-{number}", SECONDS)
    with pytest.raises(InvalidDPoPProof) as caught:
        replays.remember("key", "one more", SECONDS)
    assert (caught.value.status, caught.value.reason) == (401, Reason.PROOFS_TOO_MANY)
    assert caught.value.retry_after_seconds == 5
    assert not replays.remember("key", "proof-0", SECONDS)
    assert replays.remember("other", "proof", SECONDS)
    clock.seconds = SECONDS
    assert replays.remember("key", "one more", SECONDS)


def test_what_is_forgotten_makes_room_for_its_own_key(clock: Clock) -> None:
    replays = ProcessReplays(100, monotonic=clock)
    for number in range(3):
        replays.remember("key", f"early-{number}", SECONDS)
    replays.remember("other", "early", SECONDS)
    clock.seconds = 60
    for number in range(2):
        replays.remember("key", f"late-{number}", SECONDS)
    clock.seconds = SECONDS
    for number in range(8):
        assert replays.remember("key", f"new-{number}", SECONDS)
    with pytest.raises(InvalidDPoPProof):
        replays.remember("key", "one more", SECONDS)
    assert len(replays) == 10
    assert replays._count == {"key": 10}


def test_nothing_stays_of_a_key_without_proofs(clock: Clock) -> None:
    replays = ProcessReplays(monotonic=clock)
    replays.remember("key", "proof", SECONDS)
    clock.seconds = SECONDS
    replays.remember("other", "proof", SECONDS)
    assert dict(replays._count) == {"other": 1}


def test_it_holds_what_the_documentation_says() -> None:
    text = (ROOT / "docs" / "operation.md").read_text(encoding="utf-8")
    assert f"A process remembers {ProcessReplays()._size:,}, at most a tenth of them for one key" in text


def test_of_a_thousand_at_once_one_is_new() -> None:
    replays = ProcessReplays()
    start = threading.Barrier(8)

    def try_often(_thread: int) -> int:
        start.wait(10)
        return sum(replays.remember("key", "proof", SECONDS) for _ in range(125))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(try_often, range(8))) == 1
