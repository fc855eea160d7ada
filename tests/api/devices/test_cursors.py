from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.devices.cursors import Position, decode_cursor, encode_cursor
from api.problems import Problem

HERE = Position(datetime(2026, 11, 21, 10, 30, 0, 123_456, tzinfo=UTC), "dev_0123456789abcdef0123")


@given(st.datetimes(timezones=st.just(UTC)), st.from_regex(r"[a-z0-9_]{1,64}", fullmatch=True))
def test_a_cursor_leads_back(time: datetime, word: str) -> None:
    for name in ("devices", "readings"):
        assert decode_cursor(name, encode_cursor(name, Position(time, word))) == (time, word)


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(Problem) as caught:
        decode_cursor("readings", encode_cursor("devices", HERE))
    assert caught.value.status == 400
    assert caught.value.errors is not None
    assert "cursor" in caught.value.errors


@given(st.text(max_size=100) | st.text(alphabet="ZGV2aWNlc3wy-_=", max_size=100))
def test_what_we_did_not_make_is_refused(text: str) -> None:
    with pytest.raises(Problem):
        decode_cursor("devices", text)


@given(st.integers(0, 200), st.sampled_from("AZaz09-_=+/ \n"))
def test_a_changed_cursor_is_refused_or_means_another_position(index: int, character: str) -> None:
    cursor = encode_cursor("devices", HERE)
    changed = cursor[:index] + character + cursor[index + 1 :]
    try:
        position = decode_cursor("devices", changed)
    except Problem:
        return
    assert encode_cursor("devices", position) == changed
