"""Flask: `Auth` on the application, `require_auth` on the views, `current_token` in them."""

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from flask import Blueprint, Flask, Response, current_app, g, jsonify, request
from flask.views import View
from werkzeug.local import LocalProxy

from .bearer import bearer_token
from .claims import AccessToken
from .config import ConfigError, is_quotable
from .errors import AuthError, KeysUnavailable, MissingCredentials
from .requirement import Requirement, one_or_several
from .verifier import TokenVerifier

_Protected = TypeVar("_Protected", bound="Callable[..., Any] | type[View] | Blueprint")

_EXTENSION = "device-api-auth"
_REQUIREMENTS = "__auth_requirements__"
# The authority of a URL as a Host header may spell it: a name or an address, and a port.
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?")


class Auth:
    """Bearer-token authentication for a Flask application (RFC 6750).

    `realm` names the protected space in challenges. `resource_url` is the public address of the API; challenges point
    to the API's metadata below it (RFC 9728 §5.1). None derives it from the Host of each request.

    Raises ConfigError where `realm` or `resource_url` could not stand in a challenge.
    """

    def __init__(self, verifier: TokenVerifier, *, realm: str = "api", resource_url: str | None = None) -> None:
        mistakes = [
            f"{name} must be printable ASCII without quotes and backslashes."
            for name, value in (("realm", realm), ("resource_url", resource_url))
            if value is not None and not is_quotable(value)
        ]
        if mistakes:
            raise ConfigError(mistakes)
        self.verifier = verifier
        self._realm = realm
        self._resource_url = resource_url and resource_url.rstrip("/")

    def init_app(self, app: Flask) -> None:
        """Install on `app`, and answer AuthError there; an application may register an answer of its own afterwards."""
        app.extensions[_EXTENSION] = self
        app.register_error_handler(AuthError, self._answer)

    def admit(self, requirement: Requirement) -> AccessToken | None:
        """Return the verified token of the current request, or None where it needs none and brought none.

        Raises AuthError where the request may not pass.
        """
        try:
            unverified_token = bearer_token(request.headers.get("Authorization"), elsewhere=_token_elsewhere())
        except MissingCredentials as refusal:
            if requirement.optional:
                return None
            self.verifier.events.token_refused(refusal.reason)
            raise
        except AuthError as refusal:
            self.verifier.events.token_refused(refusal.reason)
            raise
        return self.verifier.verify(unverified_token, requirement)

    def resource_url(self) -> str | None:
        """Return the API's public address without a trailing slash; None where the request's Host is no host."""
        if self._resource_url is not None:
            return self._resource_url
        host = request.host
        return f"{request.scheme}://{host}" if _HOST.fullmatch(host) else None

    def headers(self, error: AuthError) -> dict[str, str]:
        """Return the headers that an answer to `error` carries: the challenge, or when to come back."""
        headers = {"Cache-Control": "no-store"}
        resource_url = self.resource_url()
        metadata = resource_url and f"{resource_url}/.well-known/oauth-protected-resource"
        challenge = error.challenge(realm=self._realm, resource_metadata=metadata)
        if challenge is not None:
            headers["WWW-Authenticate"] = challenge
        if isinstance(error, KeysUnavailable):
            headers["Retry-After"] = str(error.retry_after_seconds)
        return headers

    def _answer(self, error: AuthError) -> Response:
        response = jsonify({"error": error.error, "error_description": error.detail})
        response.status_code = error.status
        response.headers.update(self.headers(error))
        return response


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
        if not callable(protected):
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
        return wrapper

    def _gate(self) -> Callable[[], None]:
        def gate() -> None:
            _admit(self.requirement)

        setattr(gate, _REQUIREMENTS, (self.requirement,))
        return gate


def require_auth(
    *scopes: str,
    any_of: Iterable[str] = (),
    audience: str | Iterable[str] | None = None,
    issuer: str | Iterable[str] | None = None,
    claims: Mapping[str, Any] | None = None,
    max_age: int | None = None,
    acr_values: Iterable[str] = (),
    optional: bool = False,
) -> RequireAuth:
    """Let only requests with a valid access token in, and only those whose token meets all that is named.

    Without arguments, any valid token will do. `scopes`: the token needs all of them. `any_of`: it needs one of them;
    put the usual one first, it is what the challenge names. `audience`: the token must be for one of these instead of
    the configured ones. `issuer`: it must come from one of these among the trusted. `claims`: each claim must equal the
    value, or pass the test (a function of the value). `max_age`: seconds since the user logged in, at most, and
    `acr_values`: how the user must have logged in, either of them else a step-up challenge (RFC 9470). `optional`: a
    request without credentials goes through too, with a false `current_token`; a bad token is still refused.

    Put it next to the function, below `route`. HEAD is checked as GET is; OPTIONS, which Flask answers itself, is not.

    Raises TypeError or ValueError at import where an argument could not mean what it says.
    """
    for name, words in (("any_of", any_of), ("acr_values", acr_values)):
        if isinstance(words, str):
            raise TypeError(f"{name} takes a collection of strings: a lone string would be read letter by letter")
    return RequireAuth(
        Requirement(
            scopes=scopes,
            any_of=tuple(any_of),
            audiences=one_or_several(audience),
            issuers=one_or_several(issuer),
            claims=claims or {},
            max_age=max_age,
            acr_values=tuple(acr_values),
            optional=optional,
        )
    )


def requirements_of(app: Flask, endpoint: str) -> tuple[Requirement, ...]:
    """Return what `require_auth` asks at an endpoint of `app`, its blueprints' requirements first; empty where open."""
    parts = endpoint.split(".")[:-1]
    blueprints = [".".join(parts[: depth + 1]) for depth in range(len(parts))]
    gates = [gate for name in blueprints for gate in app.before_request_funcs.get(name, ())]
    requirements: tuple[Requirement, ...] = ()
    for protected in (*gates, app.view_functions[endpoint]):
        requirements += getattr(protected, _REQUIREMENTS, ())
    return requirements


def _admit(requirement: Requirement) -> None:
    auth = current_app.extensions.get(_EXTENSION)
    if not isinstance(auth, Auth):
        raise RuntimeError("require_auth needs Auth(...).init_app(app) on this application")  # noqa: TRY004  # state
    token = auth.admit(requirement)
    if token is not None:
        g.access_token = token


def _token_elsewhere() -> bool:
    """Say whether the query or the form carries an access token (RFC 6750 §2.2, §2.3)."""
    if request.query_string and "access_token" in request.args:
        return True
    return request.mimetype == "application/x-www-form-urlencoded" and "access_token" in request.form


def _token_of_request() -> AccessToken:
    token = g.get("access_token")
    if token is None:
        # RuntimeError is what makes the proxy false, so that views under `optional` can ask `if current_token`.
        raise RuntimeError("no token: current_token is there in views under require_auth, on requests that have one")
    return cast("AccessToken", token)


current_token: AccessToken = cast("AccessToken", LocalProxy(_token_of_request))
