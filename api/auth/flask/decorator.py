"""Declare who may call a view: `require_auth`, `open_to_all`."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard, TypeVar, cast

import flask.views
from flask import Blueprint, Flask, request
from flask.views import View

from ..requirement import Requirement, one_or_several
from .current import current_application
from .declarations import declaration_of, declare

# The key of `Auth` in `app.extensions`; the underscore avoids names that applications choose.
EXTENSION = "_bearer_auth"

_Declared = TypeVar("_Declared", bound="Callable[..., Any] | type[View] | Blueprint")
_BOTH = "require_auth and open_to_all contradict each other here: remove one of them"


@dataclass(frozen=True, slots=True)
class RequireAuth:
    """A decorator that enforces `requirement`; `require_auth` makes it."""

    requirement: Requirement

    def __call__(self, protected: _Declared) -> _Declared:
        """Protect a view function, a view class, or all routes of a blueprint; return the same type.

        A function is wrapped; a class and a blueprint are changed in place. Raises TypeError for anything else, and
        if `open_to_all` declares the same view, a method of the class, or the blueprint.
        """
        # An object: type checkers disagree on what they know of a type variable after a check.
        view: object = protected
        if isinstance(view, Blueprint):
            _refuse_both(view.before_request_funcs.get(None, ()), is_open=True)
            view.before_request(self._before_request())
        elif _is_view_class(view, "require_auth"):
            names = ("dispatch_request", *flask.views.http_method_funcs)
            _refuse_both([getattr(view, name, None) for name in names], is_open=True)
            if open_to_all in view.decorators:
                raise TypeError(_BOTH)
            # Flask applies the last decorator as the outermost one: it runs first.
            view.decorators = [*view.decorators, self]
        else:
            return cast("_Declared", self._wrap(cast("Callable[..., Any]", view)))
        return protected

    def _wrap(self, view: Callable[..., Any]) -> Callable[..., Any]:
        _refuse_both([view], is_open=True)
        requirement = self.requirement

        def checked_view(*args: Any, **kwargs: Any) -> Any:
            _check(requirement)
            return view(*args, **kwargs)

        async def checked_async_view(*args: Any, **kwargs: Any) -> Any:
            _check(requirement)
            return await view(*args, **kwargs)

        # Flask awaits a view only if the registered function is a coroutine function.
        wrapper = checked_async_view if inspect.iscoroutinefunction(view) else checked_view
        inner = declaration_of(view)
        functools.update_wrapper(wrapper, view)
        return declare(wrapper, (requirement, *(inner.requirements if inner else ())))

    def _before_request(self) -> Callable[..., Any]:
        def check() -> None:
            # OPTIONS that Flask answers itself: a browser's preflight has no credentials (Fetch standard §3.2.1).
            if request.method == "OPTIONS" and getattr(request.url_rule, "provide_automatic_options", False):
                return
            _check(self.requirement)

        return declare(check, (self.requirement,))


def require_auth(
    *scopes: str,
    any_of: Iterable[str] | None = None,
    audience: str | Iterable[str] | None = None,
    issuer: str | Iterable[str] | None = None,
    claims: Mapping[str, Any] | None = None,
    max_age: int | None = None,
    acr_values: Iterable[str] | None = None,
    optional: bool = False,
    dpop: Literal["required"] | None = None,
    mtls: Literal["required"] | None = None,
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
        dpop: "required" refuses tokens that are not bound to a key by DPoP (RFC 9449). Needs `Auth(…, dpop=DPoP(…))`.
        mtls: "required" refuses tokens that are not bound to a client certificate (RFC 8705). Needs
            `Auth(…, mtls=MutualTLS(…))`.

    Put it directly below `route`, above all other decorators. Above `route` it protects nothing; the view is then
    undeclared, and `Auth` refuses its requests. HEAD is checked like GET. OPTIONS, which Flask answers itself, is not
    checked.

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
            dpop=dpop,
            mtls=mtls,
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


def open_to_all(view: _Declared) -> _Declared:
    """Declare that requests without a token may call a view function, a view class, or all routes of a blueprint.

    Put it where `require_auth` would stand. A function is wrapped; a class and a blueprint are changed in place. In an
    open blueprint, or a blueprint nested in it, and in an open class, `require_auth` still protects what it decorates.

    Raises TypeError, at import, for anything else, and if `require_auth` protects the same view, class or blueprint.
    """
    declared: object = view  # as in RequireAuth
    if isinstance(declared, Blueprint):
        _refuse_both(declared.before_request_funcs.get(None, ()), is_open=False)
        declared.before_request(declare(lambda: None, ()))
    elif _is_view_class(declared, "open_to_all"):
        if any(isinstance(decorator, RequireAuth) for decorator in declared.decorators):
            raise TypeError(_BOTH)
        declared.decorators = [*declared.decorators, open_to_all]
    else:
        return cast("_Declared", _wrap_open(cast("Callable[..., Any]", declared)))
    return view


def _wrap_open(view: Callable[..., Any]) -> Callable[..., Any]:
    _refuse_both([view], is_open=False)

    def open_view(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    async def open_async_view(*args: Any, **kwargs: Any) -> Any:
        return await view(*args, **kwargs)

    # A wrapper, because an attribute of `view` itself would open every other route of the same function.
    wrapper = open_async_view if inspect.iscoroutinefunction(view) else open_view
    functools.update_wrapper(wrapper, view)
    return declare(wrapper, ())


def _is_view_class(view: object, decorator: str) -> TypeGuard[type[View]]:
    """Return False for a callable that is not a class; raise TypeError for what Flask cannot call as a view."""
    if isinstance(view, Flask) or not callable(view) or (isinstance(view, type) and not issubclass(view, View)):
        raise TypeError(f"{decorator} declares functions, flask.views classes and blueprints")
    return isinstance(view, type)


def _refuse_both(functions: Iterable[Any], *, is_open: bool) -> None:
    """Raise TypeError if one of the functions has the declaration that contradicts the new one."""
    for declaration in map(declaration_of, functions):
        if declaration is not None and (not declaration.requirements) is is_open:
            raise TypeError(_BOTH)


def _check(requirement: Requirement) -> None:
    auth = current_application().extensions.get(EXTENSION)
    if auth is None:
        raise RuntimeError("require_auth needs Auth(...).init_app(app) on this application")
    auth.admit(requirement)
