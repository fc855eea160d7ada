"""What views declare, and how to read it back: `access_of`, `requirements_of`."""

import contextlib
import enum
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CellType, FunctionType, MethodType
from typing import Any

import flask.app
import flask.views
from flask import Blueprint, Flask
from flask.views import MethodView

from ..requirement import Requirement

_DECLARATION = "__auth_declaration__"


class Access(enum.Enum):
    """Who may call a route: OPEN to all, CLOSED to requests that `require_auth` refuses, or UNDECLARED."""

    OPEN = "open"
    CLOSED = "closed"
    UNDECLARED = "undeclared"


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a function declares; without requirements, it is open. `function` reveals copies of this attribute."""

    function: Callable[..., Any]
    requirements: tuple[Requirement, ...]


def declare(function: Callable[..., Any], requirements: tuple[Requirement, ...]) -> Callable[..., Any]:
    """Declare what `function` requires, nothing if it is open; return it."""
    setattr(function, _DECLARATION, Declaration(function, requirements))
    return function


def requirements_of(app: Flask, endpoint: str, method: str) -> tuple[Requirement, ...]:
    """Return the requirements for `method` at an endpoint, those of its blueprints first; empty if it is not protected.

    Raises KeyError if `app` has no such endpoint.
    """
    return tuple(one for declared in _declarations(app, endpoint, method) for one in declared.requirements)


def access_of(app: Flask, endpoint: str, method: str) -> Access:
    """Return who may call `method` at an endpoint. HEAD counts as GET.

    Flask's own static files, and OPTIONS where Flask answers it, are open. `require_auth(optional=True)` counts as
    closed: it refuses bad tokens. A decorator above the declaration has to copy it, as functools.wraps does, and to
    hold the declared view in its closure or attributes; a copy alone counts as undeclared.

    Does not check that such a decorator calls what it holds, each time and nothing else (one that caches answers does
    not), nor that a `dispatch_request` that replaces MethodView's calls the methods.

    Raises KeyError if `app` has no such endpoint.
    """
    declarations = list(_declarations(app, endpoint, method))
    if method == "OPTIONS" and _flask_answers_options(app, endpoint):
        return Access.OPEN
    if any(declaration.requirements for declaration in declarations):
        return Access.CLOSED
    return Access.OPEN if declarations or _is_static(app, endpoint) else Access.UNDECLARED


def _declarations(app: Flask, endpoint: str, method: str) -> Iterator[Declaration]:
    view = app.view_functions[endpoint]
    parts = endpoint.split(".")[:-1]
    blueprints = [".".join(parts[: depth + 1]) for depth in range(len(parts))]
    functions: list[Any] = [check for name in blueprints for check in app.before_request_funcs.get(name, ())]
    functions.append(view)
    view_class = getattr(view, "view_class", None)
    # functools.wraps copies `view_class` too, also to a function that does not call the class's view.
    if view_class is not None and any(_is_of_flask_views(function) for function in _held_by(view)):
        functions.append(view_class.dispatch_request)
        if issubclass(view_class, MethodView):
            of_get = getattr(view_class, "get", None) if method == "HEAD" else None
            functions.append(getattr(view_class, method.lower(), of_get))
    for function in functions:
        declaration = declaration_of(function)
        if declaration is not None:
            yield declaration


def declaration_of(view: object) -> Declaration | None:
    """Return what a view declares; None if it declares nothing, or has only a copy of another's declaration."""
    while isinstance(view, MethodType | functools.partial):
        view = view.__func__ if isinstance(view, MethodType) else view.func
    declaration = getattr(view, _DECLARATION, None)
    if not isinstance(declaration, Declaration):
        return None
    return declaration if any(held is declaration.function for held in _held_by(view)) else None


def _held_by(view: object) -> Iterator[object]:
    """Yield `view` and the callables that it can call: those in closures, defaults, arguments and attributes.

    Not `__wrapped__`: functools.wraps sets it on functions that do not call what they replace, too.
    """
    seen: dict[int, object] = {}
    pending = [view]
    while pending:
        held = pending.pop()
        if not callable(held) or id(held) in seen:
            continue
        seen[id(held)] = held
        yield held
        if type(held) is not held.__class__:
            # A proxy, as monitoring tools put around each view: it stands for the object that it holds.
            pending.append(getattr(held, "__wrapped__", None))
        elif isinstance(held, FunctionType):
            # An empty cell, whose variable has no value yet, raises ValueError.
            pending += [cell.cell_contents for cell in held.__closure__ or () if cell != CellType()]
            pending += [*(held.__defaults__ or ()), *(held.__kwdefaults__ or {}).values()]
        elif isinstance(held, MethodType):
            pending += [held.__func__, held.__self__]
        elif isinstance(held, functools.partial):
            pending += [held.func, *held.args, *held.keywords.values()]
        elif not isinstance(held, type):
            # Some callables have no `__dict__`; a proxy such as flask.request may have no object.
            with contextlib.suppress(TypeError, RuntimeError):
                pending += [value for name, value in vars(held).items() if name != "__wrapped__"]


def _is_of_flask_views(function: object) -> bool:
    """Return whether flask.views defines a function, as `as_view` does."""
    return isinstance(function, FunctionType) and function.__globals__ is vars(flask.views)


def _is_static(app: Flask, endpoint: str) -> bool:
    """Return whether Flask itself registered the view, for the static folder of `app` or of a blueprint."""
    view = app.view_functions[endpoint]
    if isinstance(view, MethodType):
        return view.__func__ in (Flask.send_static_file, Blueprint.send_static_file)
    return endpoint == "static" and isinstance(view, FunctionType) and view.__globals__ is vars(flask.app)


def _flask_answers_options(app: Flask, endpoint: str) -> bool:
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint == endpoint]
    return bool(rules) and all(getattr(rule, "provide_automatic_options", False) for rule in rules)
