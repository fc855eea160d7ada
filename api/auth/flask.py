"""The Flask extension: `Auth` reads and answers requests, `current_token` is the token of this one.

decorator.py has `require_auth` and `open_to_all`, which declare who may call a view.
"""

import functools
import logging
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal, SupportsIndex, cast
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, has_request_context, jsonify, request
from flask.cli import AppGroup
from werkzeug.exceptions import HTTPException
from werkzeug.local import LocalProxy

from .claims import AccessToken
from .config import ConfigError, is_quotable
from .decorator import EXTENSION, Access, access_of, requirements_of
from .errors import AuthError, InvalidRequest, KeysUnavailable, MissingCredentials, Reason
from .requirement import Requirement
from .unverified_token import bearer_token
from .verifier import TokenVerifier

# Not in `g`: requests within an application context that a test or a command has pushed share one `g`.
_TOKEN = "device-api-auth.access_token"  # noqa: S105  # a key of the WSGI environment
_WELL_KNOWN = "/.well-known/oauth-protected-resource"
# A Host header that can stand in a challenge: a name, an IPv4 or IPv6 address, and maybe a port (RFC 9110 §7.2).
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?")
# A member of a form with this name, each character of which may be percent-encoded (WHATWG URL Standard §5.1). Form
# parsers make a list of all members, which costs 0.3 s for a form of 1 MiB.
_TOKEN_IN_FORM = re.compile(b"&" + b"".join(b"(?:%c|(?i:%%%02x))" % (c, c) for c in b"access_token") + rb"(?:[=&]|\Z)")

_HOW_TO_DECLARE = (
    "Put @require_auth(...) or @open_to_all directly below the route, above all other decorators; on a class before "
    "as_view() is called, or on each of its methods; or on a blueprint before it is registered."
)
_UNDECLARED = "UNDECLARED"
# The methods of a rule that names none.
_ANY_METHOD = frozenset({"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"})

_log = logging.getLogger(__package__)
_commands = AppGroup("auth", help="Show who may call which route.")


class Auth:
    """Bearer-token authentication for a Flask application (RFC 6750).

    `realm` names the protected space in challenges (RFC 9110 §11.5). `resource_url` is the public address of the API;
    challenges name the API's metadata below it (RFC 9728 §5.1). None takes the address from each request's Host.
    `undeclared` says what happens to a request whose view declares neither `require_auth` nor `open_to_all`: "refuse"
    raises RuntimeError before the view runs, "open" lets it through. Both log the endpoint once.

    Raises ConfigError if `realm` or `resource_url` has characters that a challenge cannot hold, or for another
    `undeclared`.
    """

    def __init__(
        self,
        verifier: TokenVerifier,
        *,
        realm: str = "api",
        resource_url: str | None = None,
        undeclared: Literal["refuse", "open"] = "refuse",
    ) -> None:
        mistakes = [
            f"{name} must be printable ASCII without quotes and backslashes."
            for name, value in (("realm", realm), ("resource_url", resource_url))
            if value is not None and not is_quotable(value)
        ]
        if undeclared not in ("refuse", "open"):
            mistakes.append('undeclared must be "refuse" or "open".')
        if mistakes:
            raise ConfigError(mistakes)
        self.verifier = verifier
        self.undeclared = undeclared
        self._realm = realm
        self._resource_url = resource_url and resource_url.rstrip("/")

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to copy and pickle this extension; the applications that have it stay as they are."""
        arguments: dict[str, Any] = {
            "realm": self._realm,
            "resource_url": self._resource_url,
            "undeclared": self.undeclared,
        }
        return functools.partial(type(self), self.verifier, **arguments), ()

    def init_app(self, app: Flask) -> None:
        """Install on `app`, with the command `flask auth routes` and an error handler for AuthError.

        `app` may register another handler afterwards. A second `Auth` replaces the first. A command `auth` that `app`
        has already is kept.
        """
        if EXTENSION not in app.extensions:
            app.before_request(_check_of_declarations(app))
            if "auth" not in app.cli.commands:
                app.cli.add_command(_commands)
        app.extensions[EXTENSION] = self
        app.register_error_handler(AuthError, self._answer)

    def admit(self, requirement: Requirement) -> AccessToken | None:
        """Return the verified token of the current request; None if the requirement is optional and it has no token.

        Raises AuthError if the request is to be refused.
        """
        # The WSGI environment saves 12 µs, 15 % of a protected request, against request.headers, args and mimetype.
        environ = request.environ
        try:
            unverified_token = bearer_token(environ.get("HTTP_AUTHORIZATION"))
            if environ.get("QUERY_STRING") and "access_token" in request.args:
                raise InvalidRequest(Reason.SEVERAL_METHODS)
        except AuthError as refusal:
            if requirement.optional and isinstance(refusal, MissingCredentials):
                return None
            self.verifier.events.token_refused(refusal.reason)
            raise
        token = self.verifier.verify(unverified_token, requirement)
        # After the token was verified, so that nobody without a token can make us read a long or slow body.
        if environ.get("CONTENT_TYPE") and request.mimetype == "application/x-www-form-urlencoded":
            self._refuse_token_in_form()
        environ[_TOKEN] = token
        return token

    def _refuse_token_in_form(self) -> None:
        """Raise InvalidRequest if the form has an access token too (RFC 6750 §2: one method), or cannot be read."""
        reason = Reason.SEVERAL_METHODS
        try:
            # Not `request.form`: one byte that is not UTF-8 makes it silently empty.
            if _TOKEN_IN_FORM.search(b"&" + request.get_data()) is None:
                return
        except HTTPException:
            raise
        except Exception:  # noqa: BLE001  # each server raises errors of its own for a broken body
            reason = Reason.BODY_UNREADABLE
        self.verifier.events.token_refused(reason)
        raise InvalidRequest(reason)

    def resource_url(self) -> str | None:
        """Return the API's public address without a trailing slash; None if the request's Host is malformed."""
        if self._resource_url is not None:
            return self._resource_url
        host = request.host
        return f"{request.scheme}://{host}" if _HOST.fullmatch(host) else None

    def headers(self, error: AuthError) -> dict[str, str]:
        """Return the headers of the answer to `error`: the challenge or Retry-After, and Cache-Control."""
        headers = {"Cache-Control": "no-store"}
        challenge = error.challenge(realm=self._realm, resource_metadata=self._metadata_url())
        if challenge is not None:
            headers["WWW-Authenticate"] = challenge
        if isinstance(error, KeysUnavailable):
            headers["Retry-After"] = str(error.retry_after_seconds)
        return headers

    def _metadata_url(self) -> str | None:
        resource_url = self.resource_url()
        if resource_url is None:
            return None
        # RFC 9728 §3.1: the well-known part is inserted between host and path.
        parts = urlsplit(resource_url)
        return f"{parts.scheme}://{parts.netloc}{_WELL_KNOWN}{parts.path}"

    def _answer(self, error: AuthError) -> Response:
        response = jsonify({"error": error.error, "error_description": error.detail})
        response.status_code = error.status
        response.headers.update(self.headers(error))
        return response


def _check_of_declarations(app: Flask) -> Callable[[], None]:
    """Return a function that raises RuntimeError if the view of the current request is undeclared."""
    # The view too, because an application may replace it: `app.view_functions[endpoint] = other`.
    accepted: dict[tuple[str, str], object] = {}
    logged: set[tuple[str, str]] = set()

    def check() -> None:
        rule = request.url_rule
        if rule is None:  # 404, 405, or a redirect
            return
        called = endpoint, method = rule.endpoint, request.method
        view = app.view_functions[endpoint]
        if accepted.get(called) is view:
            return
        if method == "OPTIONS" and getattr(rule, "provide_automatic_options", False):
            return
        if access_of(app, endpoint, method) is Access.UNDECLARED:
            refuse = app.extensions[EXTENSION].undeclared == "refuse"
            mistake = f"{method} {endpoint} does not declare who may call it. {_HOW_TO_DECLARE}"
            if called not in logged:
                _log.log(logging.ERROR if refuse else logging.WARNING, mistake)
            if rule.methods is not None:
                logged.add(called)
            if refuse:
                raise RuntimeError(mistake)
        # If the rule names no methods, clients choose them: remembering all would fill the memory.
        if rule.methods is not None:
            accepted[called] = view

    return check


@_commands.command("routes")
def _list_routes() -> None:
    """List all routes and who may call them. Exits with 1 if one is undeclared."""
    rows = sorted(_rows(current_app), key=lambda row: row[0])
    undeclared = any(row[-1] == _UNDECLARED for row in rows)
    rows = [("Endpoint", "Methods", "Rule", "Access"), *rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ("-" * widths[0], "-" * widths[1], "-" * widths[2], "-" * widths[3]))
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())  # noqa: T201  # a command's output; click is no dependency of this folder
    if undeclared:
        print(f"{_UNDECLARED}: {_HOW_TO_DECLARE}", file=sys.stderr)  # noqa: T201  # likewise
        sys.exit(1)


def _rows(app: Flask) -> Iterator[tuple[str, str, str, str]]:
    """Yield endpoint, methods, rule and access of each route: several rows where the methods differ in access."""
    for rule in app.url_map.iter_rules():
        if rule.endpoint not in app.view_functions:
            continue
        methods = set(rule.methods or _ANY_METHOD)
        # As in `flask routes`: without the OPTIONS and HEAD that Flask adds.
        if getattr(rule, "provide_automatic_options", False) and methods > {"OPTIONS"}:
            methods.discard("OPTIONS")
        methods_by_access: dict[str, list[str]] = {}
        for method in sorted(methods):
            methods_by_access.setdefault(_access_in_words(app, rule.endpoint, method), []).append(method)
        for access, same in methods_by_access.items():
            shown = [method for method in same if method != "HEAD" or "GET" not in same]
            yield rule.endpoint, ", ".join(shown), rule.rule, access


def _access_in_words(app: Flask, endpoint: str, method: str) -> str:
    access = access_of(app, endpoint, method)
    if access is Access.CLOSED:
        return ", and ".join(requirement.in_words() for requirement in requirements_of(app, endpoint, method))
    return _UNDECLARED if access is Access.UNDECLARED else access.value


def _token_of_request() -> AccessToken:
    token = request.environ.get(_TOKEN) if has_request_context() else None
    if token is None:
        # A RuntimeError makes the proxy false: `if current_token` works in views with `optional=True`.
        raise RuntimeError("no token: current_token is set in views under require_auth, on requests with a token")
    return cast("AccessToken", token)


class _CurrentToken(LocalProxy[AccessToken]):
    __slots__ = ()

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """Return how to pickle the token: the proxy has no meaning outside of the request."""
        return self._get_current_object().__reduce_ex__(protocol)


current_token: AccessToken = cast("AccessToken", _CurrentToken(_token_of_request))
