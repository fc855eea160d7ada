"""`require_auth` for views, view classes and blueprints, and `requirements_of`, which reads the requirements back."""

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

# The key of flask.py's `Auth` in `app.extensions`; the underscore avoids names that applications choose.
EXTENSION = "_bearer_auth"

_Protected = TypeVar("_Protected", bound="Callable[..., Any] | type[View] | Blueprint")
_REQUIREMENTS = "__auth_requirements__"
# On a function that `require_auth` has wrapped: the wrapper, which is what `route` has to register.
_WRAPPER = "__auth_wrapper__"


@dataclass(frozen=True, slots=True)
class RequireAuth:
    """A decorator that enforces `requirement`; `require_auth` makes it."""

    requirement: Requirement

    def __call__(self, protected: _Protected) -> _Protected:
        """Protect a view function, a view class, or all routes of a blueprint; return the same type.

        A function is wrapped; a class and a blueprint are changed in place. Raises TypeError for anything else.
        """
        if isinstance(protected, Blueprint):
            protected.before_request(self._before_request())
            return protected
        if isinstance(protected, type):
            if not issubclass(protected, View):
                raise TypeError("require_auth protects functions, flask.views classes and blueprints")
            # Flask applies the last decorator as the outermost one: it runs first.
            protected.decorators = [*protected.decorators, self]
            return cast("_Protected", protected)
        if isinstance(protected, Flask) or not callable(protected):
            raise TypeError("require_auth protects functions, flask.views classes and blueprints")
        return cast("_Protected", self._wrap(protected))

    def _wrap(self, view: Callable[..., Any]) -> Callable[..., Any]:
        requirement = self.requirement

        def checked_view(*args: Any, **kwargs: Any) -> Any:
            _check(requirement)
            return view(*args, **kwargs)

        async def checked_async_view(*args: Any, **kwargs: Any) -> Any:
            _check(requirement)
            return await view(*args, **kwargs)

        # Flask awaits a view only if the registered function is a coroutine function.
        wrapper = checked_async_view if inspect.iscoroutinefunction(view) else checked_view
        functools.update_wrapper(wrapper, view)
        setattr(wrapper, _REQUIREMENTS, (requirement, *getattr(view, _REQUIREMENTS, ())))
        wrapper.__dict__.pop(_WRAPPER, None)
        with contextlib.suppress(AttributeError):  # a bound method has no attributes of its own
            setattr(view, _WRAPPER, wrapper)
        return wrapper

    def _before_request(self) -> Callable[[], None]:
        def check() -> None:
            # OPTIONS that Flask answers itself: a browser's preflight has no credentials (Fetch standard §3.2.1).
            if request.method == "OPTIONS" and getattr(request.url_rule, "provide_automatic_options", False):
                return
            _check(self.requirement)

        setattr(check, _REQUIREMENTS, (self.requirement,))
        return check


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
    """Return a decorator that lets in only requests with a valid access token that meets all arguments (RFC 6750 §3.1).

    Args:
        scopes: the token has all of these scopes.
        any_of: it has at least one of these scopes; put the usual one first, since the challenge names that one.
        audience: `aud` names one of these, instead of one that is configured for the issuer.
        issuer: `iss` is one of these trusted issuers.
        claims: each claim equals the value as JSON (1 equals 1.0, but not true), or passes the test (a function of the
            value, not async).
        max_age: the user logged in at most so many seconds ago, else a step-up challenge (RFC 9470 §3).
        acr_values: `acr` is one of these, else a step-up challenge; put the preferred one first.
        optional: requests without credentials are let through, with a false `current_token`; a bad token is refused.

    Put it next to the function, below `route`. Above `route` it would protect nothing; the application then answers
    with an error instead. HEAD is checked like GET. OPTIONS, which Flask answers itself, is not checked.

    Raises TypeError or ValueError, at import, for arguments that cannot be meant.
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
    """Return the requirements for `method` at an endpoint, those of its blueprints first; empty if it is not protected.

    Raises KeyError if `app` has no such endpoint.
    """
    parts = endpoint.split(".")[:-1]
    blueprints = [".".join(parts[: depth + 1]) for depth in range(len(parts))]
    checks = [check for name in blueprints for check in app.before_request_funcs.get(name, ())]
    view = app.view_functions[endpoint]
    of_class = getattr(getattr(view, "view_class", None), method.lower(), None)
    requirements: tuple[Requirement, ...] = ()
    for protected in (*checks, view, of_class):
        requirements += getattr(protected, _REQUIREMENTS, ())
    return requirements


def refuse_misplaced_decorators() -> None:
    """Raise RuntimeError if the route of this request was registered before `require_auth` wrapped its view."""
    endpoint = request.endpoint
    if endpoint is None:
        return
    view = current_app.view_functions[endpoint]
    wrapper = getattr(view, "__dict__", {}).get(_WRAPPER)
    if wrapper is None or wrapper in current_app.view_functions.values():
        return
    # If the module's name still means the bare function, the wrapper has another name, `g = require_auth()(f)`,
    # and the open route is intended. If the wrapper has taken the name, `@require_auth` stands above `route`.
    name = view.__qualname__
    if "<locals>" in name or getattr(sys.modules.get(view.__module__), name, None) is not view:
        raise RuntimeError(f"{endpoint} is on a route without its protection: put @require_auth below the route")


def _check(requirement: Requirement) -> None:
    auth = current_app.extensions.get(EXTENSION)
    if auth is None:
        raise RuntimeError("require_auth needs Auth(...).init_app(app) on this application")
    auth.admit(requirement)
