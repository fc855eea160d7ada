"""The Flask extension: `Auth` reads and answers requests, `current_token` is the token of this one.

decorator.py has `require_auth`, which protects views.
"""

import functools
import re
from typing import Any, SupportsIndex, cast
from urllib.parse import urlsplit

from flask import Flask, Response, has_request_context, jsonify, request
from werkzeug.exceptions import HTTPException
from werkzeug.local import LocalProxy

from .claims import AccessToken
from .config import ConfigError, is_quotable
from .decorator import EXTENSION, refuse_misplaced_decorators
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


class Auth:
    """Bearer-token authentication for a Flask application (RFC 6750).

    `realm` names the protected space in challenges (RFC 9110 §11.5). `resource_url` is the public address of the API;
    challenges name the API's metadata below it (RFC 9728 §5.1). None takes the address from each request's Host.

    Raises ConfigError if `realm` or `resource_url` has characters that a challenge cannot hold.
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

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to copy and pickle this extension; the applications that have it stay as they are."""
        return functools.partial(type(self), self.verifier, realm=self._realm, resource_url=self._resource_url), ()

    def init_app(self, app: Flask) -> None:
        """Install on `app`, with an error handler for AuthError; `app` may register another afterwards."""
        app.extensions[EXTENSION] = self
        app.register_error_handler(AuthError, self._answer)
        app.before_request(refuse_misplaced_decorators)

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
