"""The composition root: a Flask application that is one mock issuer."""

import hashlib
import secrets
import time
from collections.abc import Callable
from http import HTTPStatus

from flask import Flask, Response, abort, jsonify, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from mock_issuer import account, activation, control_api, logs, metadata, oauth, playground, userinfo
from mock_issuer.clock import Clock
from mock_issuer.config import Config
from mock_issuer.issuer import Issuer
from mock_issuer.state import State

# No request of any client comes near it.
_LARGEST_BODY_BYTES = 64 * 1024

_POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors "

_HEADERS = {
    # RFC 6749 §5.1 for tokens; the pages show codes. What may be cached says so itself.
    "Cache-Control": "no-store",
    # No script, no inline style, no frame (RFC 8628 §5.4: the pages are worth a phisher's while).
    "Content-Security-Policy": _POLICY + "'none'",
    # User codes stand in addresses.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


# What a script on any page may call: these know no cookies, so that nobody's session can be abused.
_FOR_SCRIPTS = ("/.well-known/", "/oauth/", "/userinfo")
_CORS_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Expose-Headers": "WWW-Authenticate",
    "Access-Control-Max-Age": "600",
}
_PAGES = ("/activate", "/account")
# The playground shows the pages on its phone. No other origin can: every page around must be of this one.
_FRAMED_HEADERS = {"Content-Security-Policy": _POLICY + "'self'", "X-Frame-Options": "SAMEORIGIN"}


def create_app(
    config: Config | None = None, *, clock: Callable[[], float] = time.time, allow_control: bool | None = False
) -> Flask:
    """Make an issuer with a state and a signing key of its own.

    Args:
        config: what it serves; the default one where left out.
        clock: seconds since the epoch. Every lifetime and interval goes by it.
        allow_control: whether `/_mock/` answers; whoever reaches it can have any token. None: only to requests whose
            Host is loopback or the issuer's own.
    """
    config = config or Config()
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=secrets.token_bytes(32),
        MAX_CONTENT_LENGTH=_LARGEST_BODY_BYTES,
        # Cookies know no ports: the name keeps other programs on the same host apart, and other issuers.
        SESSION_COOKIE_NAME=f"mock_issuer_{hashlib.sha256(config.issuer.encode()).hexdigest()[:8]}",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=config.issuer.startswith("https:"),
    )
    app.config[control_api.ALLOWED] = allow_control
    Issuer(config=config, clock=Clock(clock), state=State(config)).install(app)
    for module in (account, activation, control_api, logs, metadata, oauth, playground, userinfo):
        app.register_blueprint(module.blueprint)
    app.before_request(_refuse_endless)
    app.register_error_handler(HTTPException, _refuse)
    app.after_request(_add_headers)
    return app


def _refuse_endless() -> None:
    # Of a body that comes in chunks, Werkzeug reads as much as is allowed, and takes that for the whole.
    if request.content_length is None and len(request.get_data()) >= _LARGEST_BODY_BYTES:
        abort(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def _refuse(error: HTTPException) -> ResponseReturnValue:
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    headers = [header for header in error.get_headers() if header[0] != "Content-Type"]
    if request.path.startswith(_PAGES):
        return render_template("error.html", status=status), status, headers
    code = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request"
    if status == HTTPStatus.NOT_FOUND:
        code = "not_found"
    return jsonify(error=code, error_description=f"{status.phrase}: {status.description}."), status, headers


def _add_headers(response: Response) -> Response:
    more = _CORS_HEADERS if request.path.startswith(_FOR_SCRIPTS) else {}
    if request.headers.get("Sec-Fetch-Dest") == "iframe" and request.path.startswith(_PAGES):
        more = _FRAMED_HEADERS
    for name, value in {**_HEADERS, **more}.items():
        response.headers.setdefault(name, value)
    return response
