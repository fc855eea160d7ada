"""The tiny issuer: the OAuth endpoints as a Flask application, without pages and controls."""

import time
from collections.abc import Callable
from http import HTTPStatus

from flask import Flask, Response, abort, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from mock_issuer.config import Config
from mock_issuer.flow.clock import Clock
from mock_issuer.flow.issuer import Issuer
from mock_issuer.flow.state import State
from mock_issuer.oauth import metadata, routes, userinfo

# Larger than any request that an OAuth client sends.
_MAX_BODY_BYTES = 64 * 1024

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'"
_HEADERS = {
    # RFC 6749 §5.1: tokens must not be cached. The metadata overrides it.
    "Cache-Control": "no-store",
    # No script, no inline style, no frame. The playground overrides it.
    "Content-Security-Policy": f"{CONTENT_SECURITY_POLICY}; frame-ancestors 'none'",
    # URLs contain user codes.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# Scripts of any origin may call these: they read no cookies, so nobody's session can be abused.
_CORS_PATHS = ("/.well-known/", "/oauth/", "/userinfo")
_CORS_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, DPoP",
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Expose-Headers": "DPoP-Nonce, WWW-Authenticate",
    "Access-Control-Max-Age": "600",
}


def create_oauth_app(config: Config | None = None, *, clock: Callable[[], float] = time.time) -> Flask:
    """Return an application with the OAuth endpoints, a state and a signing key.

    There are no pages: approve device requests with `mock_issuer.flow.decisions`.

    Args:
        config: the default configuration if None.
        clock: returns seconds since the epoch; every lifetime and interval uses it.
    """
    config = config or Config()
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _MAX_BODY_BYTES
    Issuer(config=config, clock=Clock(clock), state=State(config)).init_app(app)
    for module in (metadata, routes, userinfo):
        app.register_blueprint(module.blueprint)
    app.before_request(_refuse_large_body)
    app.register_error_handler(HTTPException, http_error_as_json)
    app.after_request(_add_headers)
    return app


def http_error_as_json(error: HTTPException) -> ResponseReturnValue:
    """Return an HTTP error as JSON with `error` and `error_description`."""
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    code = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request"
    if status == HTTPStatus.NOT_FOUND:
        code = "not_found"
    headers = [header for header in error.get_headers() if header[0] != "Content-Type"]
    return jsonify(error=code, error_description=f"{status.phrase}: {status.description}."), status, headers


def _refuse_large_body() -> None:
    # Read here, whatever its type and path: Werkzeug raises its 413 wherever a body is read first, which may be in an
    # error handler. It cuts a chunked body off at the limit instead of refusing it.
    body = request.get_data()
    if request.content_length is None and len(body) >= _MAX_BODY_BYTES:
        abort(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def _add_headers(response: Response) -> Response:
    cors = _CORS_HEADERS if request.path.startswith(_CORS_PATHS) else {}
    for name, value in {**_HEADERS, **cors}.items():
        response.headers.setdefault(name, value)
    return response
