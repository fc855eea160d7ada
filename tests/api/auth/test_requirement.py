"""`Requirement(claims=…)`: values are compared as JSON, tests are functions that return a result."""

import functools
import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from api.auth import AccessToken, InsufficientScope, Reason, Requirement


def accepts(wanted: object, value: object) -> bool:
    payload = json.dumps({"x": value}).encode()
    nothing: frozenset[str] = frozenset()
    token = AccessToken("i", "s", ("a",), 0, None, None, None, None, None, None, nothing, nothing, payload)
    try:
        Requirement(claims={"x": wanted}).check(token, 0, 0)
    except InsufficientScope as refusal:
        return refusal.reason is not Reason.CLAIM_VALUE
    return True


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        (1, 1.0),
        (1.0, 1),
        ([1, [2.0]], [1.0, [2]]),
        ({"a": 1, "b": [True]}, {"b": [True], "a": 1.0}),
        (True, True),
        (None, None),
        ("a", "a"),
        ([], []),
        ({}, {}),
    ],
)
def test_equal_json(wanted: object, value: object) -> None:
    assert accepts(wanted, value)


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        (True, 1),
        (1, True),
        (False, 0),
        (0, False),
        (0.0, False),
        ([True], [1]),
        ([1], [True]),
        ([[0]], [[False]]),
        ({"a": True}, {"a": 1}),
        ({"a": [{"b": 1}]}, {"a": [{"b": True}]}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, {"a": 1}),
        ({"a": None}, {}),
        ({"a": None}, {"b": None}),
        ([1], [1, 2]),
        ([1, 2], [1]),
        ([1, 2], [2, 1]),
        ([], {}),
        ({}, []),
        ("1", 1),
        (None, False),
        (None, 0),
        ("a", ["a"]),
        (["a"], "a"),
    ],
)
def test_different_json(wanted: object, value: object) -> None:
    assert not accepts(wanted, value)


async def async_test(_value: object) -> bool:
    return False


async def async_generator(_value: object) -> AsyncIterator[bool]:
    yield False


def generator(_value: object) -> Iterator[bool]:
    yield False


class AsyncCall:
    async def __call__(self, _value: object) -> bool:
        return False

    async def method(self, _value: object) -> bool:
        return False


@pytest.mark.parametrize(
    "test",
    [
        async_test,
        async_generator,
        generator,
        AsyncCall(),
        AsyncCall().method,
        functools.partial(async_test),
        functools.partial(functools.partial(async_test)),
        functools.partial(AsyncCall()),
    ],
)
def test_tests_without_an_immediate_result_are_refused_at_import(test: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="'x'"):
        Requirement(claims={"x": test})


def test_a_coroutine_is_no_result() -> None:
    coroutines: list[Any] = []

    def indirect(value: object) -> object:
        coroutines.append(async_test(value))
        return coroutines[0]

    with pytest.raises(RuntimeError, match="coroutine"):
        accepts(indirect, 1)
    assert inspect.getcoroutinestate(coroutines[0]) == inspect.CORO_CLOSED


class Call:
    def __call__(self, value: object) -> bool:
        return value == 1


@pytest.mark.parametrize("test", [Call(), functools.partial(Call()), lambda value: value == 1, bool, [1].count])
def test_plain_callables_are_tests(test: Callable[..., Any]) -> None:
    assert accepts(test, 1)
    assert not accepts(test, 0)
