import sys
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from api.web.fields import QueryInteger, Text, Timestamp


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-21T10:00:00Z", datetime(2026, 11, 21, 10, tzinfo=UTC)),
        ("2026-11-21t10:00:00z", datetime(2026, 11, 21, 10, tzinfo=UTC)),
        ("2026-11-21T10:00:00.5+02:00", datetime(2026, 11, 21, 8, 0, 0, 500_000, tzinfo=UTC)),
        ("2024-02-29T23:59:59.123456-00:00", datetime(2024, 2, 29, 23, 59, 59, 123_456, tzinfo=UTC)),
    ],
)
def test_reads_rfc_3339(text: str, time: datetime) -> None:
    assert Timestamp().deserialize(text) == time


@pytest.mark.parametrize(
    "value",
    [
        "",
        "2026-11-21",
        "2026-11-21T10:00:00",
        "2026-11-21 10:00:00Z",
        "2026-W47-6T10:00:00Z",
        "20261121T100000Z",
        "2026-11-21T10Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T10:00:60Z",
        "2026-02-30T10:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:00",
        "9999-12-31T23:59:59-23:00",
        "2026-11-21T10:00:00+24:00",
        "2026-11-21T10:00:00.1234567Z",
        "\u0662026-11-21T10:00:00Z",
        "2026-11-21T10:00:00Z\n",
        1_800_000_000,
        None,
        True,
    ],
)
def test_refuses_other_times(value: Any) -> None:
    with pytest.raises(ValidationError):
        Timestamp().deserialize(value)


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_dumped_time_loads_unchanged(time: datetime) -> None:
    written = Timestamp().serialize("at", {"at": time})
    assert Timestamp().deserialize(written) == time


def test_writes_utc() -> None:
    time = datetime(2026, 11, 21, 12, tzinfo=timezone(timedelta(hours=2)))
    assert Timestamp().serialize("at", {"at": time}) == "2026-11-21T10:00:00Z"
    assert Timestamp().serialize("at", {"at": None}) is None


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("-5", -5), ("007", 7), ("100", 100)])
def test_reads_decimal_integers(text: str, number: int) -> None:
    assert QueryInteger().deserialize(text) == number


@pytest.mark.parametrize("value", ["", " 5", "5 ", "1_0", "1.0", "1e3", "+5", "0x10", "\u0665", "9" * 19, 5, None])
def test_refuses_other_integers(value: Any) -> None:
    with pytest.raises(ValidationError):
        QueryInteger().deserialize(value)


@pytest.mark.parametrize(
    "text",
    [
        "Küche \U0001f373",
        "\U0001f469\u200d\U0001f4bb",  # woman technologist: two emoji and a joiner
        "\u2764\ufe0f\u200d\U0001f525",  # heart on fire, with a variation selector
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, with a zero-width non-joiner
        "\u0dc1\u0dca\u200d\u0dbb\u0dd3",  # Sinhala
        "\U0001f1e8\U0001f1ed",
    ],
)
def test_text_of_any_script(text: str) -> None:
    assert Text(max_chars=100).deserialize(text) == text


@pytest.mark.parametrize(
    "character", ["\u202e", "\u200b", "\u2066", "\ufeff", "\u2028", "\u2029", "\xad", "\n", "\U000e0041"]
)
def test_text_without_invisible_characters(character: str) -> None:
    for text in (character, f"a{character}", f"{character}b", f"a{character}b"):
        with pytest.raises(ValidationError, match="invisible"):
            Text(max_chars=100).deserialize(text)


def test_every_format_character_but_the_joiners_is_refused() -> None:
    field = Text(max_chars=1)
    for character in map(chr, range(sys.maxunicode + 1)):
        if unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp"} and character not in "\u200c\u200d":
            with pytest.raises(ValidationError):
                field.deserialize(character)
