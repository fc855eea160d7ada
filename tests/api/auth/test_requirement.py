"""`Requirement`: what it demands of a token, what it refuses at import, what it tells.

In `claims`, values are compared as JSON, and tests are functions that return a result.
"""

import functools
import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from api.auth import (
    AccessToken,
    AuthError,
    InsufficientScope,
    InsufficientUserAuthentication,
    InvalidToken,
    Reason,
    Requirement,
)
from api.auth.requirement import one_or_several

NOW = 1_800_000_000
LEEWAY_SECONDS = 30
PLAIN = AccessToken("i", "s", ("a",), 0, None, None, None, None, None, None, frozenset(), frozenset(), b'{"org":"a"}')


def token(scopes: str = "", permissions: str = "", **fields: Any) -> AccessToken:
    return PLAIN._replace(scopes=frozenset(scopes.split()), permissions=frozenset(permissions.split()), **fields)


def accepts(wanted: object, value: object) -> bool:
    payload = json.dumps({"x": value}).encode()
    try:
        Requirement(claims={"x": wanted}).check(token(payload=payload), NOW, LEEWAY_SECONDS)
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


# --- What a token must have -------------------------------------------------------------------------------------------


def refusal(presented: AccessToken, **required: Any) -> AuthError | None:
    try:
        Requirement(**required).check(presented, NOW, LEEWAY_SECONDS)
    except AuthError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("required", "accepted", "refused", "named"),
    [
        ({"scopes": ("a", "b")}, ["a b", "c b a"], ["", "a", "b", "ab", "A B"], ("a", "b")),
        ({"any_of": ("a", "b")}, ["a", "b", "a b", "b c"], ["", "c", "ab"], ("a",)),
        ({"scopes": ("a",), "any_of": ("b", "c")}, ["a b", "a c"], ["a", "b", "b c"], ("a", "b")),
        ({}, ["", "a"], [], ()),
    ],
)
def test_scopes_and_permissions(
    required: dict[str, Any], accepted: list[str], refused: list[str], named: tuple[str, ...]
) -> None:
    assert Requirement(**required).required_scopes == named
    for granted in accepted:
        assert refusal(token(scopes=granted), **required) is None
        assert refusal(token(permissions=granted), **required) is None
    for granted in refused:
        error = refusal(token(scopes=granted), **required)
        assert isinstance(error, InsufficientScope)
        assert (error.reason, error.claim, error.required) == (Reason.SCOPE, None, named)


def test_the_issuer_is_one_of_those() -> None:
    assert refusal(token(issuer="i"), issuers=("h", "i")) is None
    for other in ("j", "", "I", "hi"):
        error = refusal(token(issuer=other), issuers=("h", "i"))
        assert isinstance(error, InvalidToken)
        assert (error.reason, error.claim) == (Reason.ISSUER, "iss")


def test_a_refused_claim_is_named_with_the_scopes_of_the_route() -> None:
    assert refusal(token("s"), scopes=("s",), claims={"org": "a"}) is None
    for claims in ({"org": "b"}, {"org": "a", "level": 1}, {"org": "b", "level": 1}):
        error = refusal(token("s"), scopes=("s",), claims=claims)
        assert isinstance(error, InsufficientScope)
        name = "org" if claims["org"] == "b" else "level"
        assert (error.reason, error.claim, error.required) == (Reason.CLAIM_VALUE, name, ("s",))


@pytest.mark.parametrize(
    ("auth_time", "max_age", "accepted"),
    [
        (NOW, 0, True),
        (NOW - 30, 0, True),
        (NOW - 30.1, 0, False),
        (NOW - 90, 60, True),
        (NOW - 90.1, 60, False),
        (0, 60, False),
        (None, 60, False),
        (None, None, True),
        (0, None, True),
    ],
)
def test_the_age_of_the_login(auth_time: float | None, max_age: int | None, accepted: bool) -> None:  # noqa: FBT001
    error = refusal(token(auth_time=auth_time), max_age=max_age)
    assert (error is None) is accepted
    if error is not None:
        assert isinstance(error, InsufficientUserAuthentication)
        assert (error.reason, error.claim) == (Reason.AUTHENTICATION_TOO_OLD, "auth_time")
        assert (error.max_age, error.acr_values) == (max_age, ())


@pytest.mark.parametrize(("acr", "accepted"), [("x", True), ("y", True), ("xy", False), ("", False), (None, False)])
def test_the_strength_of_the_login(acr: str | None, accepted: bool) -> None:  # noqa: FBT001
    error = refusal(token(acr=acr, auth_time=NOW), acr_values=("x", "y"), max_age=5)
    assert (error is None) is accepted
    if error is not None:
        assert isinstance(error, InsufficientUserAuthentication)
        assert (error.reason, error.claim) == (Reason.AUTHENTICATION_TOO_WEAK, "acr")
        assert (error.max_age, error.acr_values) == (5, ("x", "y"))


def test_what_a_token_lacks_is_told_in_a_fixed_order() -> None:
    required: dict[str, Any] = {"issuers": ("i",), "scopes": ("s",), "claims": {"org": "a"}, "max_age": 0}
    required["acr_values"] = ("x",)
    bad: dict[str, Any] = {"issuer": "j", "scopes": "", "payload": b"{}", "auth_time": None, "acr": None}
    good: dict[str, Any] = {"issuer": "i", "scopes": "s", "payload": b'{"org":"a"}', "auth_time": NOW, "acr": "x"}
    order = [Reason.ISSUER, Reason.SCOPE, Reason.CLAIM_VALUE]
    order += [Reason.AUTHENTICATION_TOO_OLD, Reason.AUTHENTICATION_TOO_WEAK]
    for name, reason in zip(list(good), order, strict=True):
        error = refusal(token(**bad), **required)
        assert error is not None
        assert error.reason is reason
        bad[name] = good[name]
    assert refusal(token(**bad), **required) is None


def raises(error: Exception) -> Callable[[object], object]:
    def test(_value: object) -> object:
        raise error

    return test


@pytest.mark.parametrize("error", [AttributeError(), KeyError(), IndexError(), TypeError(), ValueError()])
def test_a_test_that_fails_on_the_form_of_a_claim_does_not_hold(error: Exception) -> None:
    assert not accepts(raises(error), 1)


def test_another_failure_of_a_test_is_no_refusal() -> None:
    with pytest.raises(ZeroDivisionError):
        accepts(raises(ZeroDivisionError()), 1)


@pytest.mark.parametrize(("result", "holds"), [(1, True), ("a", True), (0, False), ("", False), (None, False)])
def test_the_result_of_a_test_counts_by_its_truth(result: object, holds: bool) -> None:  # noqa: FBT001
    assert accepts(lambda _value: result, 1) is holds


# --- What is refused at import ----------------------------------------------------------------------------------------


def arguments(name: str, value: Any) -> dict[str, Any]:
    return {name: value}


@pytest.mark.parametrize("name", ["scopes", "any_of", "acr_values"])
@pytest.mark.parametrize(
    ("word", "error", "text"),
    [
        (print, TypeError, "was @require_auth"),
        (7, TypeError, "not 7"),
        (b"a", TypeError, "are strings"),
        ("", ValueError, "'' is not one word"),
        ("a b", ValueError, "'a b' is not one word"),
        ('a"', ValueError, "is not one word"),
    ],
)
def test_words_are_words(name: str, word: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Requirement(**arguments(name, ("a", word)))


@pytest.mark.parametrize("name", ["audiences", "issuers"])
@pytest.mark.parametrize("choice", [(), "", ("",), ("a", ""), ("a", None), (7,)])
def test_a_choice_of_none_is_refused(name: str, choice: Any) -> None:
    with pytest.raises(ValueError, match=f"{name[:-1]} must be a non-empty string, or several"):
        Requirement(**arguments(name, choice))


@pytest.mark.parametrize("name", ["audiences", "issuers"])
def test_names_of_invisible_characters_are_refused(name: str) -> None:
    assert getattr(Requirement(**arguments(name, ("a", "b"))), name) == ("a", "b")
    with pytest.raises(ValueError, match=f"{name[:-1]} has an invisible"):
        Requirement(**arguments(name, ("a", "b\u200b")))


@pytest.mark.parametrize("claims", [None, (), ["org"], "org", {7: "a"}, {None: "a"}])
def test_claims_are_a_mapping_of_names(claims: Any) -> None:
    with pytest.raises(TypeError, match="claims is a mapping"):
        Requirement(claims=claims)


def test_names_of_claims_with_invisible_characters_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the name of the claim .* has an invisible"):
        Requirement(claims={"org\u200b": "a"})


@pytest.mark.parametrize("max_age", [-1, True, False, 60.0, "60", float("nan")])
def test_a_maximum_age_is_a_whole_number(max_age: Any) -> None:
    assert [Requirement(max_age=accepted).max_age for accepted in (None, 0, 1)] == [None, 0, 1]
    with pytest.raises(ValueError, match="max_age is a whole number"):
        Requirement(max_age=max_age)


@pytest.mark.parametrize("optional", [None, 0, 1, "yes"])
def test_optional_is_true_or_false(optional: Any) -> None:
    assert [Requirement(optional=accepted).optional for accepted in (True, False)] == [True, False]
    with pytest.raises(TypeError, match="optional is True or False"):
        Requirement(optional=optional)


def test_nothing_is_required_unless_told() -> None:
    nothing = Requirement()
    assert (nothing.scopes, nothing.any_of, nothing.acr_values, nothing.claims) == ((), (), (), {})
    assert (nothing.audiences, nothing.issuers, nothing.max_age, nothing.optional) == (None, None, None, False)


@pytest.mark.parametrize("dpop", [True, "yes", "", "optional"])
def test_dpop_is_required_or_not(dpop: Any) -> None:
    assert [Requirement(dpop="required").dpop, Requirement(dpop=None).dpop] == ["required", None]
    with pytest.raises(ValueError, match='dpop is "required" or None'):
        Requirement(dpop=dpop)


def test_later_changes_of_a_dict_do_not_change_the_requirement() -> None:
    claims = {"org": "a"}
    requirement: Any = Requirement(claims=claims)
    claims.clear()
    assert requirement.claims == {"org": "a"}
    with pytest.raises(TypeError):
        requirement.claims["org"] = "b"


# --- What is told -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("required", "words"),
    [
        ({}, "any valid token"),
        ({"optional": True}, "any valid token; or no token"),
        ({"scopes": ("a", "b")}, "scope a b"),
        ({"scopes": ("a",), "any_of": ("b", "c")}, "scope a; scope b or c"),
        ({"audiences": ("a", "b"), "issuers": ("c", "d")}, "audience a or b; issuer c or d"),
        ({"claims": {"org": "secret", "level": 3}}, "claims org, level"),
        ({"max_age": 0, "acr_values": ("x", "y")}, "login within 0 s; acr x or y"),
        ({"scopes": ("a",), "optional": True}, "scope a; or no token"),
        ({"dpop": "required"}, "bound to a key by DPoP"),
        ({"scopes": ("a",), "dpop": "required"}, "scope a; bound to a key by DPoP"),
    ],
)
def test_in_words(required: dict[str, Any], words: str) -> None:
    assert Requirement(**required).in_words() == words


def test_one_or_several_strings_become_a_tuple() -> None:
    assert one_or_several(None) is None
    assert one_or_several("ab") == ("ab",)
    assert one_or_several(["a", "b"]) == ("a", "b")
    assert one_or_several({"a": 1}) == ("a",)
    assert one_or_several("") == ("",)
    assert one_or_several([]) == ()
