import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.operations.metrics.region import Region


def region(size: int = 8192) -> Region:
    return Region(memoryview(bytearray(size)))


@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(1, 5)), max_size=20))
def test_entries_are_read_as_they_were_written(written: list[tuple[bytes, int]]) -> None:
    memory = memoryview(bytearray(8192))
    writer, reader = Region(memory), Region(memory)
    for number, (key, size) in enumerate(written):
        values = writer.add(key, size)
        assert values is not None
        assert list(values) == [0] * size
        values[0], values[-1] = number, number + 0.5
    expected = []
    for number, (key, size) in enumerate(written):
        expected.append((key, [number, *[0] * (size - 2), number + 0.5] if size > 1 else [number + 0.5]))
    assert [(key, list(values)) for key, values in reader.entries()] == expected


@pytest.mark.parametrize("key_length", [1, 7, 8, 9])
def test_a_full_region_takes_no_more_and_keeps_what_it_has(key_length: int) -> None:
    full = region(256)
    added = 0
    while (values := full.add(b"k" * key_length, 1)) is not None:
        values[0] = added = added + 1
    assert [values[0] for _, values in full.entries()] == list(range(1, added + 1))
    assert added == (256 - 32) // (8 + (key_length + 7) // 8 * 8 + 8)
    assert full.add(b"", 100) is None


def test_a_region_starts_at_zero_after_another_process() -> None:
    reused = region()
    reused.pid = 7
    values = reused.add(b"a", 2)
    assert values is not None
    values[0] = values[1] = 5
    reused.clear()
    assert (reused.pid, list(reused.entries())) == (0, [])
    assert list(reused.add(b"b", 2) or ()) == [0, 0]


def test_a_reader_sees_complete_entries_only() -> None:
    memory = memoryview(bytearray(2**20))
    writer, reader = Region(memory), Region(memory)
    finished = threading.Event()

    def write() -> None:
        for number in range(5000):
            writer.add(b"key-%d" % number, 1 + number % 7)
        finished.set()

    thread = threading.Thread(target=write)
    thread.start()
    reads = 0
    while not finished.is_set() or reads == 0:
        reads += 1
        for number, (key, values) in enumerate(reader.entries()):
            assert (key, len(values)) == (b"key-%d" % number, 1 + number % 7)
    thread.join()
    assert len(list(reader.entries())) == 5000
