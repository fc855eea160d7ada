from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_app.http.headers import challenge_parameters, retry_after_seconds
from device_app.model.times import format_duration
from device_app.model.untrusted import finite_number, plain_text


@given(st.text(st.characters(exclude_categories=[])))
def test_nothing_that_controls_a_terminal_survives(text: str) -> None:
    shown = plain_text(text)
    categories = {unicodedata.category(character) for character in shown}
    assert not categories & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    shown.encode()


@pytest.mark.parametrize(
    ("unverified", "shown"),
    [
        ("a\nb\tc", "a b c"),
        ("\x1b]0;title\x07x", "]0;titlex"),
        ("\x9b31mred", "31mred"),
        ("abc\u202edef\u2066", "abcdef"),
        ("\ud800", ""),
        ("[bold]x[/]", "[bold]x[/]"),
        (21.5, "21.5"),
        (None, ""),
        (True, ""),
        ({"a": 1}, ""),
        ("x" * 501, "x" * 500 + "…"),
    ],
)
def test_plain_text(unverified: Any, shown: str) -> None:
    assert plain_text(unverified) == shown


def test_secrets_are_hidden() -> None:
    assert plain_text("bad token abc.def!", hide=["abc.def", None, ""]) == "bad token …!"


@pytest.mark.parametrize("value", [None, True, "5", float("nan"), float("inf"), [5], 10**400])
def test_values_that_are_not_finite_numbers(value: Any) -> None:
    assert finite_number(value) is None


@pytest.mark.parametrize(
    ("header", "parameters"),
    [
        ("", {}),
        ("Bearer", {}),
        (
            'Bearer realm="x", error="insufficient_scope", scope="a b"',
            {"realm": "x", "error": "insufficient_scope", "scope": "a b"},
        ),
        ("bearer ERROR=invalid_token", {"error": "invalid_token"}),
        ('Basic realm="b", Bearer scope="s", DPoP algs="ES256"', {"scope": "s"}),
        ('Bearer a="q\\"uo,ted", a="second"', {"a": 'q"uo,ted'}),
        ('DPoP error="x"', {}),
        ('Bearer scope="unterminated', {}),
    ],
)
def test_challenges(header: str, parameters: dict[str, str]) -> None:
    assert challenge_parameters(header, "bearer") == parameters


@given(st.text())
def test_no_challenge_raises(header: str) -> None:
    challenge_parameters(header, "bearer")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("9" * 20, None),
        ("٣", None),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30),
        ("Fri, 15 Jan 2027 08:00:30 -0000", 30),
        ("Fri, 15 Jan 2021 08:00:30 GMT", 0),
        ("Fri, 99 Jan 2027 08:00:30 GMT", None),
        ("Fri, 15 Jan 99999 08:00:30 GMT", None),
        ("Fri, 15 Jan 2027 08:00:30 +" + "9" * 20, None),
        ("9" * 5000, None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after_seconds({"Retry-After": value}, 1_800_000_000.0) == seconds


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "1 second"),
        (0.2, "1 second"),
        (1.5, "2 seconds"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (900, "15 minutes"),
        (7200, "2 hours"),
        (172_800, "2 days"),
    ],
)
def test_format_duration(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words
