"""`require_auth` on views, classes of views and blueprints; what it asks of them can be read back."""

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from flask import Blueprint, Flask, current_app, request
from flask.views import View

from .requirement import Requirement, one_or_several

# Where flask.py's `Auth` stands in `app.extensions`; an underscore keeps it from the names that applications choose.
EXTENSION = "_bearer_auth"

_Protected = TypeVar("_Protected", bound="Callable[..., Any] | type[View] | Blueprint")
_REQUIREMENTS = "__auth_requirements__"
# On a function that `require_auth` has wrapped, the wrapper: it is what belongs on a route.
_WRAPPER = "__auth_wrapper__"


@dataclass(frozen=True, slots=True)
class RequireAuth:
    """A requirement as a decorator; made by `require_auth`."""

    requirement: Requirement

    def __call__(self, protected: _Protected) -> _Protected:
        """Protect a view function, a class of views, or all of a blueprint's routes; types stay what they were.

        A view function is wrapped; a class and a blueprint are changed in place and returned. Raises TypeError for
        anything else.
        """
        if isinstance(protected, Blueprint):
            protected.before_request(self._gate())
            return protected
        if isinstance(protected, type):
            if not issubclass(protected, View):
                raise TypeError("require_auth protects functions, flask.views classes and blueprints")
            # The last decorator is the outermost: nothing of the view runs before this one.
            protected.decorators = [*protected.decorators, self]
            return cast("_Protected", protected)
        if isinstance(protected, Flask) or not callable(protected):
            raise TypeError("require_auth protects functions, flask.views classes and blueprints")
        return cast("_Protected", self._wrap(protected))

    def _wrap(self, view: Callable[..., Any]) -> Callable[..., Any]:
        requirement = self.requirement

        def admit_then_view(*args: Any, **kwargs: Any) -> Any:
            _admit(requirement)
            return view(*args, **kwargs)

        async def admit_then_await_view(*args: Any, **kwargs: Any) -> Any:
            _admit(requirement)
            return await view(*args, **kwargs)

        # Flask runs a view as a coroutine only where the function that it sees is one.
        wrapper = admit_then_await_view if inspect.iscoroutinefunction(view) else admit_then_view
        functools.update_wrapper(wrapper, view)
        setattr(wrapper, _REQUIREMENTS, (requirement, *getattr(view, _REQUIREMENTS, ())))
        wrapper.__dict__.pop(_WRAPPER, None)
        with contextlib.suppress(AttributeError):  # a bound method has no attributes of its own
            setattr(view, _WRAPPER, wrapper)
        return wrapper

    def _gate(self) -> Callable[[], None]:
        def gate() -> None:
            # What Flask answers itself is no view, and a browser's preflight carries no credentials (Fetch §3.2.1).
            if request.method == "OPTIONS" and getattr(request.url_rule, "provide_automatic_options", False):
                return
            _admit(self.requirement)

        setattr(gate, _REQUIREMENTS, (self.requirement,))
        return gate


def require_auth(
    *scopes: str,
    any_of: Iterable[str] | None = None,
    audience: str | Iterable[str] | None = None,
    issuer: str | Iterable[str] | None = None,
    claims: Mapping[str, Any] | None = None,
    max_age: int | None = None,
    acr_values: Iterable[str] | None = None,
    optional: bool = False,
) -> RequireAuth:
    """Let only requests with a valid access token in, and only those whose token meets all that is named.

    Without arguments, any valid token will do. `scopes`: the token needs all of them. `any_of`: it needs one of them;
    put the usual one first, it is what the challenge names. `audience`: the token must be for one of these instead of
    the configured ones. `issuer`: it must come from one of these among the trusted. `claims`: each claim must equal the
    value, or pass the test (a function of the value). `max_age`: seconds since the user logged in, at most, and
    `acr_values`: how the user must have logged in, either of them else a step-up challenge (RFC 9470). `optional`: a
    request without credentials goes through too, with a false `current_token`; a bad token is still refused.

    Put it next to the function, below `route`: above, it would protect nothing, and the application then refuses to
    answer. HEAD is checked as GET is; OPTIONS, which Flask answers itself, is not.

    Raises TypeError or ValueError at import where an argument could not mean what it says.
    """
    return RequireAuth(
        Requirement(
            scopes=scopes,
            any_of=_several("any_of", any_of),
            audiences=one_or_several(audience),
            issuers=one_or_several(issuer),
            claims={} if claims is None else claims,
            max_age=max_age,
            acr_values=_several("acr_values", acr_values),
            optional=optional,
        )
    )


def _several(name: str, words: Iterable[str] | None) -> tuple[str, ...]:
    if words is None:
        return ()
    if isinstance(words, str):
        raise TypeError(f"{name} takes a collection of strings: a lone string would be read letter by letter")
    several = tuple(words)
    if not several:
        raise ValueError(f"{name} is empty: no token could meet it")
    return several


def requirements_of(app: Flask, endpoint: str, method: str) -> tuple[Requirement, ...]:
    """Return what `require_auth` asks of `method` at an endpoint, its blueprints' requirements first; empty where open.

    Raises KeyError where `app` has no such endpoint.
    """
    parts = endpoint.split(".")[:-1]
    blueprints = [".".join(parts[: depth + 1]) for depth in range(len(parts))]
    gates = [gate for name in blueprints for gate in app.before_request_funcs.get(name, ())]
    view = app.view_functions[endpoint]
    of_class = getattr(getattr(view, "view_class", None), method.lower(), None)
    requirements: tuple[Requirement, ...] = ()
    for protected in (*gates, view, of_class):
        requirements += getattr(protected, _REQUIREMENTS, ())
    return requirements


def refuse_misplaced_decorators() -> None:
    """Raise RuntimeError where a view is on a route without the protection that was put around it afterwards."""
    endpoint = request.endpoint
    if endpoint is None:
        return
    view = current_app.view_functions[endpoint]
    wrapper = getattr(view, "__dict__", {}).get(_WRAPPER)
    if wrapper is None or wrapper in current_app.view_functions.values():
        return
    # A function that still goes by its name was put on an open route on purpose; one whose name the wrapper has taken,
    # or that has no name to look up, was not.
    name = view.__qualname__
    if "<locals>" in name or getattr(sys.modules.get(view.__module__), name, None) is not view:
        raise RuntimeError(f"{endpoint} is on a route without its protection: put @require_auth below the route")


def _admit(requirement: Requirement) -> None:
    auth = current_app.extensions.get(EXTENSION)
    if auth is None:
        raise RuntimeError("require_auth needs Auth(...).init_app(app) on this application")
    auth.admit(requirement)
