"""The header alone; test_writing.py repeats requests with it."""

import string

import pytest

from api.devices.idempotency import parse_idempotency_key
from api.devices.models import IdempotencyKey
from api.problems.problem import Problem

PRINTABLE = set(string.ascii_letters + string.digits + string.punctuation)
# Also what other alphabets call letters, digits and spaces.
CHARACTERS = [*map(chr, range(0x180)), "\u00a0", "\u2003", "\u0660", "\uff11", "\U0001f600"]


def key_of(header: str, body: dict[str, object] | None = None) -> IdempotencyKey:
    found = parse_idempotency_key(header, body or {})
    assert found is not None
    return found


def is_valid(header: str) -> bool:
    try:
        key_of(header)
    except Problem as problem:
        return (problem.status, problem.error, *(problem.errors or ())) != (400, "invalid_request", "Idempotency-Key")
    return True


def test_no_header_is_no_key() -> None:
    assert parse_idempotency_key(None, {}) is None


def test_which_characters_a_bare_key_may_have() -> None:
    assert {one for one in CHARACTERS if is_valid(one)} == PRINTABLE - set('",')


def test_which_characters_a_quoted_key_may_have() -> None:
    assert {one for one in CHARACTERS if is_valid(f'"{one}"')} == (PRINTABLE | {" "}) - set('"\\')


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize(("length", "valid"), [(0, False), (1, True), (255, True), (256, False)])
def test_how_long_a_key_may_be(quote: str, length: int, *, valid: bool) -> None:
    assert is_valid(f"{quote}{'x' * length}{quote}") is valid


@pytest.mark.parametrize("around", ["{} ", " {}", "{}\n", "\n{}", "{}, {}", "{}{}", "{};a=1"])
def test_nothing_may_stand_around_a_quoted_key(around: str) -> None:
    assert not is_valid(around.format('"abc"', '"abc"'))


def test_quotes_do_not_belong_to_the_key() -> None:
    assert key_of('"abc"') == key_of("abc")
    assert key_of("abc").key == "abc"


def test_the_digest_tells_bodies_apart_and_not_the_order_of_their_members() -> None:
    first = key_of("abc", {"a": 1, "b": 2})
    assert first == key_of("abc", {"b": 2, "a": 1})
    assert first != key_of("abc", {"a": 1, "b": 3})
    assert first != key_of("abc", {"a": 1, "c": 2})
    assert len(first.fingerprint) == 32
