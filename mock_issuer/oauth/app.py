"""The OAuth endpoints as a Flask application: all that the device flow needs, without pages and controls."""

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

# No request of any client comes near it.
_MAX_BODY_BYTES = 64 * 1024

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'"
_HEADERS = {
    # RFC 6749 §5.1: tokens are not cached. What may be cached says so itself.
    "Cache-Control": "no-store",
    # No script, no inline style, no frame; a page that needs more says so itself.
    "Content-Security-Policy": f"{CONTENT_SECURITY_POLICY}; frame-ancestors 'none'",
    # User codes stand in addresses.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# Scripts of any origin may call these: they know no cookies, so no session can be abused.
_CORS_PATHS = ("/.well-known/", "/oauth/", "/userinfo")
_CORS_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Expose-Headers": "WWW-Authenticate",
    "Access-Control-Max-Age": "600",
}


def create_oauth_app(config: Config | None = None, *, clock: Callable[[], float] = time.time) -> Flask:
    """Make an issuer with a state and a signing key of its own, and the endpoints that OAuth clients use.

    Device requests are decided by `mock_issuer.flow.decisions`: there is no page to approve them on.

    Args:
        config: what it serves; the default one where left out.
        clock: seconds since the epoch. Every lifetime and interval goes by it.
    """
    config = config or Config()
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _MAX_BODY_BYTES
    Issuer(config=config, clock=Clock(clock), state=State(config)).install(app)
    for module in (metadata, routes, userinfo):
        app.register_blueprint(module.blueprint)
    app.before_request(_refuse_large_chunked_body)
    app.register_error_handler(HTTPException, http_error_as_json)
    app.after_request(_add_headers)
    return app


def http_error_as_json(error: HTTPException) -> ResponseReturnValue:
    """Answer an HTTP error as JSON with `error` and `error_description`."""
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    code = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request"
    if status == HTTPStatus.NOT_FOUND:
        code = "not_found"
    headers = [header for header in error.get_headers() if header[0] != "Content-Type"]
    return jsonify(error=code, error_description=f"{status.phrase}: {status.description}."), status, headers


def _refuse_large_chunked_body() -> None:
    # Of a chunked body, Werkzeug reads as much as is allowed, and takes that for the whole.
    if request.content_length is None and len(request.get_data()) >= _MAX_BODY_BYTES:
        abort(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def _add_headers(response: Response) -> Response:
    cors = _CORS_HEADERS if request.path.startswith(_CORS_PATHS) else {}
    for name, value in {**_HEADERS, **cors}.items():
        response.headers.setdefault(name, value)
    return response
