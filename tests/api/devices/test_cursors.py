import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.devices.cursors import Listing, Position, decode_cursor, encode_cursor
from api.problems.problem import Problem

KEY = bytes(32)
ALICES_DEVICES = Listing(
    "devices", "https://issuer.example/", "alice", everyone=False, device_id=None, filters=(None, "online")
)
HERE = Position(datetime(2026, 11, 21, 10, 30, 0, 123_456, tzinfo=UTC), "dev_0123456789abcdef0123")


@given(st.datetimes(timezones=st.just(UTC)), st.from_regex(r"[a-z0-9_]{1,64}", fullmatch=True))
def test_a_cursor_decodes_to_its_position(time: datetime, word: str) -> None:
    assert decode_cursor(KEY, ALICES_DEVICES, encode_cursor(KEY, ALICES_DEVICES, Position(time, word))) == (time, word)


def test_a_cursor_has_a_time_of_8_bytes_and_a_tag_of_16() -> None:
    cursor = encode_cursor(KEY, ALICES_DEVICES, HERE)
    content = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    assert len(content) == 8 + len(HERE.tie_breaker) + 16
    assert content[8:-16].decode() == HERE.tie_breaker


@pytest.mark.parametrize(
    "other",
    [
        ALICES_DEVICES._replace(name="readings"),
        ALICES_DEVICES._replace(issuer="https://other.example/"),
        ALICES_DEVICES._replace(subject="bob"),
        ALICES_DEVICES._replace(everyone=True),
        ALICES_DEVICES._replace(device_id="dev_0123456789abcdef0123"),
        ALICES_DEVICES._replace(filters=(None, "offline")),
        ALICES_DEVICES._replace(filters=("online", None)),
        ALICES_DEVICES._replace(filters=(None, None)),
    ],
)
def test_a_cursor_of_another_listing_is_refused(other: Listing) -> None:
    with pytest.raises(Problem) as caught:
        decode_cursor(KEY, other, encode_cursor(KEY, ALICES_DEVICES, HERE))
    assert caught.value.status == 400
    assert list(caught.value.errors or ()) == ["cursor"]


def test_a_cursor_of_another_database_is_refused() -> None:
    with pytest.raises(Problem):
        decode_cursor(bytes(31) + b"1", ALICES_DEVICES, encode_cursor(KEY, ALICES_DEVICES, HERE))


@given(st.text(max_size=100) | st.text(alphabet="ZGV2aWNlc3wy-_=", max_size=100))
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(Problem):
        decode_cursor(KEY, ALICES_DEVICES, text)


def test_a_cursor_with_any_character_changed_is_refused() -> None:
    # The last character has unused bits: several characters decode to the same cursor.
    for position in (HERE, HERE._replace(tie_breaker="power"), HERE._replace(tie_breaker="signal")):
        cursor = encode_cursor(KEY, ALICES_DEVICES, position)
        for index in range(len(cursor)):
            for character in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ ":
                changed = cursor[:index] + character + cursor[index + 1 :]
                if changed != cursor:
                    with pytest.raises(Problem):
                        decode_cursor(KEY, ALICES_DEVICES, changed)
        for changed in (cursor[:-1], cursor + "A", cursor + "=", cursor[1:], "", cursor * 2):
            with pytest.raises(Problem):
                decode_cursor(KEY, ALICES_DEVICES, changed)
