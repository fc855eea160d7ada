import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.auth.strict_json import parse_object

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"1",
        b"{",
        b"{}x",
        b"{}{}",
        b"{},",
        b"\xef\xbb\xbf{}",  # a byte order mark
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":"\\ud800"}',
        b'{"\\ud800":1}',
        b'{"a":["\\udc00\\ud800"]}',
        b'{"a":"\xed\xa0\x80"}',  # a surrogate in UTF-8
        b'{"a":"\xff"}',
        b'{"a":"\xc0\xae"}',  # an overlong dot
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-32-le"),
        b"{'a':1}",
        b'{"a":01}',
        b'{"a":"\n"}',
        b'{"a":1,}',
        b"\x0b{}",  # white space to Python, not to JSON
        "\u00a0{}".encode(),
        "{}\u00a0".encode(),
        b'{"a":' + b"1" * 5_000 + b"}",  # more digits than Python converts
    ],
)
def test_refuses(document: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # any ValueError is the contract
        parse_object(document)


@pytest.mark.parametrize(
    ("document", "value"),
    [
        (b"{}", {}),
        (b' \t\r\n{"a" : 1}\n', {"a": 1}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        ('{"a":"\U0001f600é"}'.encode(), {"a": "\U0001f600é"}),
        (b'{"a":{"b":1},"b":{"b":1}}', {"a": {"b": 1}, "b": {"b": 1}}),
        (b'{"a":"[[[[[[[[[[[[{{{{{{{{{{{{"}', {"a": "[[[[[[[[[[[[{{{{{{{{{{{{"}),
    ],
)
def test_accepts(document: bytes, value: object) -> None:
    assert parse_object(document) == value


def nested(depth: int) -> bytes:
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_depth_is_bounded() -> None:
    assert parse_object(nested(8))
    for depth in (9, 500, 100_000):
        with pytest.raises(ValueError):  # noqa: PT011
            parse_object(nested(depth))


def test_looking_for_the_depth_costs_little_more_than_json() -> None:
    document = b'{"a":[' + b",".join([b"[[[[]]]]"] * 650) + b"]}"  # what fits into a token

    def seconds(read: Callable[[bytes], object]) -> float:
        started = time.thread_time()
        read(document)
        return time.thread_time() - started

    # It takes three times as long as json alone; eleven times, over a millisecond, if each node is a step in Python.
    json_seconds = min(seconds(json.loads) for _ in range(50))
    assert min(seconds(parse_object) for _ in range(50)) < 6 * json_seconds


@pytest.mark.parametrize(
    "document",
    [
        b'{"a":[[]]}',
        b'{"a":{"b":{}}}',
        b'{"a":{"b":{"c":1}}}',
        b'{"a":[{"b":"c"}],"d":[{}],"e":1}',
        b'{"a":1,"b":[[],{},[1]],"c":2}',
        b'{"a":["[[[[",{"{{{{":"{{{{"}]}',
    ],
)
def test_the_caller_chooses_the_depth(document: bytes) -> None:
    assert parse_object(document, max_depth=3)
    with pytest.raises(ValueError, match="deeply"):
        parse_object(document, max_depth=2)


def test_an_empty_object_is_one_level_deep() -> None:
    assert parse_object(b"{}", max_depth=1) == {}
    with pytest.raises(ValueError, match="deeply"):
        parse_object(b"{}", max_depth=0)


@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_reads_what_json_writes(value: dict[str, object]) -> None:
    assert parse_object(json.dumps(value, ensure_ascii=False).encode(), max_depth=100) == value


@given(st.binary(max_size=300))
def test_raises_nothing_but_value_errors(document: bytes) -> None:
    try:
        parsed = parse_object(document)
    except ValueError:
        return
    assert parsed == json.loads(document)


def parse_by_the_rules(document: bytes, max_depth: int) -> dict[str, Any]:
    """Parse an object with one plain check per rule: the reference for parse_object. Raises ValueError."""

    def demand(holds: object) -> None:
        if not holds:
            raise ValueError

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        demand(len({name for name, _ in pairs}) == len(pairs))
        return dict(pairs)

    def depth(value: Any) -> int:
        children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if children is None else 1 + max(map(depth, children), default=0)

    value = json.loads(document.decode(), object_pairs_hook=members, parse_constant=lambda _name: demand(holds=False))
    demand(isinstance(value, dict))
    demand(depth(value) <= max_depth)
    json.dumps(value, ensure_ascii=False).encode()
    return dict(value)


FRAGMENTS = [*'{}[],:"\\1 ', '"a"', '"\\u0061"', "\\ud800", "\\/", "\n", "\ufeff", "NaN", '"a":1,', '{"a":', "[["]


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """Draw what is JSON but for a fragment or two."""
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" , ", " :"), (",\n", "\t:\r")]))
    value = draw(st.dictionaries(st.sampled_from(["a", "b", "", "{", "["]), VALUES, max_size=3) | VALUES)
    text = json.dumps(value, ensure_ascii=draw(st.booleans()), separators=separators)
    for fragment in draw(st.lists(st.sampled_from(FRAGMENTS), max_size=3)):
        start = draw(st.integers(0, len(text)))
        text = text[:start] + fragment + text[start + draw(st.integers(0, 2)) :]
    return text.encode("utf-8", "surrogatepass")


@settings(max_examples=400)
@given(documents(), st.integers(2, 4))
def test_agrees_with_plain_checks(document: bytes, max_depth: int) -> None:
    try:
        expected = parse_by_the_rules(document, max_depth)
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011
            parse_object(document, max_depth=max_depth)
    else:
        # Equal is not enough in Python: 1 == 1.0 == True.
        assert repr(parse_object(document, max_depth=max_depth)) == repr(expected)


@pytest.mark.parametrize("document", [b"[" * 65_536, b'{"a":' * 13_000, b"{" + b'"a":{' * 400 + b"}" * 401])
def test_deep_nesting_is_a_value_error_and_no_recursion_error(document: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_object(document)


def test_the_error_says_where_the_second_value_begins() -> None:
    for text, position in ((b'{"a": 1} x', 9), (b" {} \n{} ", 4)):
        with pytest.raises(json.JSONDecodeError) as raised:
            parse_object(text)
        # In the text without the white space around it.
        assert raised.value.pos == position
