"""Values from JSON or TOML, checked against the type hints of a function or dataclass; every mistake is reported."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from importlib import import_module
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_TYPE_NAMES = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


class InvalidArguments(ValueError):
    """The values do not match the signature.

    `mistakes` has one sentence for each mistake, `valid` the arguments that match; of a tuple, the items that match.
    """

    def __init__(self, mistakes: list[str], valid: Mapping[Any, Any] = MappingProxyType({})) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)
        self.valid = valid


def parse_arguments(target: Callable[..., object], unverified: object, path: str = "") -> dict[str, Any]:
    """Return a mapping as keyword arguments of a function or dataclass.

    Args:
        target: the function or dataclass. Its type hints may be str, int, float, bool, Any, Literal, Callable (given as
            `module:function`), dataclasses, tuples, frozensets and Mappings of these, and each of them `| None`.
        unverified: the value from JSON or TOML.
        path: the path to the value, such as `apis.0`; each message begins with it.

    Raises InvalidArguments with every mistake in it. Does not call `target`, which may check more.
    """
    _check_type(dict, unverified, path or "This")
    assert isinstance(unverified, dict)  # noqa: S101  # for the type checker
    parameters = inspect.signature(target).parameters
    hints = get_type_hints(target if not isinstance(target, type) else vars(target)["__init__"])
    prefix = f"{path}." if path else ""
    mistakes = [
        f"{prefix}{name} is not known; known are {', '.join(parameters) or 'none'}."
        for name in unverified
        if name not in parameters
    ]
    arguments: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if name in unverified:
            try:
                arguments[name] = _parse(hints[name], unverified[name], f"{prefix}{name}")
            except InvalidArguments as exc:
                mistakes += exc.mistakes
                if get_origin(hints[name]) is tuple:
                    arguments[name] = tuple(exc.valid.values())
        elif parameter.default is parameter.empty:
            mistakes.append(f"{prefix}{name} is missing.")
    if mistakes:
        raise InvalidArguments(mistakes, arguments)
    return arguments


def _parse(hint: Any, unverified: object, path: str) -> Any:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        # The only unions are `X | None`.
        hint = next(part for part in parts if part is not NoneType)
        value = None if unverified is None else _parse(hint, unverified, path)
    elif origin is Literal:
        value = _parse_literal(parts, unverified, path)
    elif origin in {tuple, frozenset}:
        value = origin(_parse_items(parts[0], enumerate(_check_type(list, unverified, path)), path).values())
    elif origin is Mapping:
        value = _parse_items(parts[1], _check_type(dict, unverified, path).items(), path)
    elif origin is Callable:
        value = _import_function(unverified, path)
    elif isinstance(hint, type) and is_dataclass(hint):
        value = hint(**parse_arguments(hint, unverified, path))
    else:
        value = _check_type(hint, unverified, path)
    return value


def _parse_items(hint: Any, items: Iterable[tuple[Any, object]], path: str) -> dict[Any, Any]:
    mistakes: list[str] = []
    values = {}
    for key, unverified in items:
        try:
            values[key] = _parse(hint, unverified, f"{path}.{key}")
        except InvalidArguments as exc:
            mistakes += exc.mistakes
    if mistakes:
        raise InvalidArguments(mistakes, values)
    return values


def _parse_literal(choices: tuple[object, ...], unverified: object, path: str) -> object:
    if unverified not in choices:
        raise InvalidArguments([f"{path} must be one of {', '.join(map(str, choices))}."])
    return unverified


def _check_type(hint: Any, unverified: object, path: str) -> Any:
    if hint is Any:
        return unverified
    # In Python a bool is an int; in JSON and TOML it is not.
    types = (int, float) if hint is float else hint
    if not isinstance(unverified, types) or (isinstance(unverified, bool) and hint is not bool):
        raise InvalidArguments([f"{path} is not {_TYPE_NAMES[hint]}."])
    return unverified


def _import_function(unverified: object, path: str) -> object:
    module, _, name = unverified.partition(":") if isinstance(unverified, str) else ("", "", "")
    try:
        function = getattr(import_module(module), name)
    except Exception as exc:  # the module is the tester's own, and its import can raise anything
        reason = f"{type(exc).__name__}: {exc}"
        raise InvalidArguments([f"{path} does not name a function as module:function ({reason})."]) from exc
    if not callable(function):
        raise InvalidArguments([f"{path} names something that is not callable."])
    return function
