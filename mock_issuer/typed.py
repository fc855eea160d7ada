"""JSON and TOML values → arguments with the types that a signature declares; every mistake in a sentence."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from importlib import import_module
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_NAMES = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object with members",
}


class Mistyped(ValueError):
    """Values that do not fit a signature. `mistakes` holds a sentence for each, `fitting` the arguments that do fit.

    Of an argument that is a tuple, `fitting` has the members that do.
    """

    def __init__(self, mistakes: list[str], fitting: Mapping[Any, Any] = MappingProxyType({})) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)
        self.fitting = fitting


def arguments(target: Callable[..., object], unverified: object, where: str = "") -> dict[str, Any]:
    """Turn a mapping into keyword arguments of a function or a dataclass.

    Args:
        target: whose signature decides. Understood are text, numbers, booleans, literals, mappings, tuples and sets of
            these, dataclasses, and functions, which are named as `module:function`.
        unverified: what was parsed from JSON or TOML.
        where: what to call the mapping in sentences, where it has a name.

    Raises Mistyped, which tells all mistakes together. Does not check what the target itself checks.
    """
    _plain(dict, unverified, where or "This")
    assert isinstance(unverified, dict)  # noqa: S101  # for the type checker
    parameters = inspect.signature(target).parameters
    hints = get_type_hints(target if not isinstance(target, type) else vars(target)["__init__"])
    prefix = f"{where}." if where else ""
    mistakes = [
        f"{prefix}{name} is not known; known are {', '.join(parameters) or 'none'}."
        for name in unverified
        if name not in parameters
    ]
    found: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if name in unverified:
            try:
                found[name] = _value(hints[name], unverified[name], f"{prefix}{name}")
            except Mistyped as exc:
                mistakes += exc.mistakes
                if get_origin(hints[name]) is tuple:
                    found[name] = tuple(exc.fitting.values())
        elif parameter.default is parameter.empty:
            mistakes.append(f"{prefix}{name} is missing.")
    if mistakes:
        raise Mistyped(mistakes, found)
    return found


def _value(hint: Any, unverified: object, where: str) -> Any:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        # Only ever "or nothing".
        hint = next(part for part in parts if part is not NoneType)
        found = None if unverified is None else _value(hint, unverified, where)
    elif origin is Literal:
        found = _literal(parts, unverified, where)
    elif origin in {tuple, frozenset}:
        found = origin(_all(parts[0], enumerate(_plain(list, unverified, where)), where).values())
    elif origin is Mapping:
        found = _all(parts[1], _plain(dict, unverified, where).items(), where)
    elif origin is Callable:
        found = _function(unverified, where)
    elif isinstance(hint, type) and is_dataclass(hint):
        found = hint(**arguments(hint, unverified, where))
    else:
        found = _plain(hint, unverified, where)
    return found


def _all(hint: Any, items: Iterable[tuple[Any, object]], where: str) -> dict[Any, Any]:
    mistakes: list[str] = []
    found = {}
    for key, unverified in items:
        try:
            found[key] = _value(hint, unverified, f"{where}.{key}")
        except Mistyped as exc:
            mistakes += exc.mistakes
    if mistakes:
        raise Mistyped(mistakes, found)
    return found


def _literal(choices: tuple[object, ...], unverified: object, where: str) -> object:
    if unverified not in choices:
        raise Mistyped([f"{where} is one of {', '.join(map(str, choices))}."])
    return unverified


def _plain(hint: Any, unverified: object, where: str) -> Any:
    if hint is Any:
        return unverified
    # A boolean is an int to Python, and to nobody else.
    wanted = (int, float) if hint is float else hint
    if not isinstance(unverified, wanted) or (isinstance(unverified, bool) and hint is not bool):
        raise Mistyped([f"{where} is not {_NAMES[hint]}."])
    return unverified


def _function(unverified: object, where: str) -> object:
    module, _, name = unverified.partition(":") if isinstance(unverified, str) else ("", "", "")
    try:
        found = getattr(import_module(module), name)
    except Exception as exc:  # the module is the tester's own, and may fail in any way
        raise Mistyped([f"{where} names no function as module:function ({type(exc).__name__}: {exc})."]) from exc
    if not callable(found):
        raise Mistyped([f"{where} names something that cannot be called."])
    return found
