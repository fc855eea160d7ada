"""Flask: `Auth` on the application, `current_token` in its views; the views are protected by decorator.py."""

import re
from typing import cast
from urllib.parse import parse_qsl, urlsplit

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

# Not in `g`: under an application context from outside, several requests share one.
_TOKEN = "device-api-auth.access_token"  # noqa: S105  # a key of the WSGI environment
_WELL_KNOWN = "/.well-known/oauth-protected-resource"
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
        app.extensions[EXTENSION] = self
        app.register_error_handler(AuthError, self._answer)
        app.before_request(refuse_misplaced_decorators)

    def admit(self, requirement: Requirement) -> AccessToken | None:
        """Return the verified token of the current request, or None where it needs none and brought none.

        Raises AuthError where the request may not pass.
        """
        # The environment itself: Werkzeug's views of it cost several times as much as verifying a known token.
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
        # Only now: for somebody without a good token no body is read, however long or slow it is.
        if environ.get("CONTENT_TYPE") and request.mimetype == "application/x-www-form-urlencoded":
            self._refuse_token_in_form()
        environ[_TOKEN] = token
        return token

    def _refuse_token_in_form(self) -> None:
        """Raise InvalidRequest where the form carries an access token too (RFC 6750 §2.2), or cannot be read."""
        reason = Reason.SEVERAL_METHODS
        try:
            # Not `request.form`: it is empty, without a word, where one byte is not UTF-8.
            form = parse_qsl(request.get_data().decode("latin-1"), keep_blank_values=True)
            if all(name != "access_token" for name, _ in form):
                return
        except HTTPException:
            raise
        except Exception:  # noqa: BLE001  # a broken body makes each server raise errors of its own
            reason = Reason.BODY_UNREADABLE
        self.verifier.events.token_refused(reason)
        raise InvalidRequest(reason)

    def resource_url(self) -> str | None:
        """Return the API's public address without a trailing slash; None where the request's Host is no host."""
        if self._resource_url is not None:
            return self._resource_url
        host = request.host
        return f"{request.scheme}://{host}" if _HOST.fullmatch(host) else None

    def headers(self, error: AuthError) -> dict[str, str]:
        """Return the headers that an answer to `error` carries: the challenge, or when to come back."""
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
        # RFC 9728 §3.1: the well-known part goes between the host and the path.
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
        # RuntimeError is what makes the proxy false, so that views under `optional` can ask `if current_token`.
        raise RuntimeError("no token: current_token is there in views under require_auth, on requests that have one")
    return cast("AccessToken", token)


current_token: AccessToken = cast("AccessToken", LocalProxy(_token_of_request))
