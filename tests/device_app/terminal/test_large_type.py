"""The user code in large letters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from device_app.terminal.large_type import large_type


def test_large_type() -> None:
    assert large_type("L-1", 80) == ["█        ▄█ ", "█    ▀▀▀  █ ", "▀▀▀▀     ▀▀▀"]


def test_large_type_breaks_after_a_hyphen() -> None:
    lines = large_type("BDWP-HQPK", 30)
    assert lines is not None
    assert len(lines) == 7
    assert all(len(line) <= 30 for line in lines)


def test_large_type_that_cannot_be_drawn() -> None:
    assert large_type("BDWP-HQPK", 10) is None
    assert large_type("bdwp", 80) is None
    assert large_type("", 80) is None
    assert large_type(" ", 80) is None


@given(st.text("AMW1- "), st.integers(min_value=0, max_value=80))
def test_large_type_never_exceeds_its_columns(text: str, columns: int) -> None:
    assert all(len(line) <= columns for line in large_type(text, columns) or [])
