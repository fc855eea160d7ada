"""What all pages share: templates, style sheet, session cookie, framing rules and HTML error pages."""

import hashlib
import secrets
from http import HTTPStatus

from flask import Blueprint, Flask, Response, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadHost, HTTPException

from mock_issuer.flow.issuer import get_issuer
from mock_issuer.oauth.app import CONTENT_SECURITY_POLICY, http_error_as_json

blueprint = Blueprint("pages", __name__, template_folder="templates", static_folder="static", static_url_path="/static")

_PAGES = ("/activate", "/account", "/authorize")
_FRAMED_PAGES = ("/activate", "/account")
# The playground shows these in a frame. 'self' allows frames on this origin only.
_FRAMED_HEADERS = {
    "Content-Security-Policy": f"{CONTENT_SECURITY_POLICY}; frame-ancestors 'self'",
    "X-Frame-Options": "SAMEORIGIN",
}


def init_app(app: Flask) -> None:
    """Set up sessions, templates, static files and error pages; the application must have an issuer."""
    config = get_issuer(app).config
    app.config.update(
        SECRET_KEY=secrets.token_bytes(32),
        # Cookies are shared by all ports of a host, so each issuer needs a name of its own.
        SESSION_COOKIE_NAME=f"mock_issuer_{hashlib.sha256(config.issuer.encode()).hexdigest()[:8]}",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=config.issuer.startswith("https:"),
    )
    app.register_blueprint(blueprint)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.after_request(_allow_framing)


def _answer_http_error(error: HTTPException) -> ResponseReturnValue:
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    is_page = request.path.startswith(_PAGES)
    # A person who mistyped an address.
    if status == HTTPStatus.NOT_FOUND and not is_page:
        is_page = request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"
    # With a Host that is no host name, Flask makes no URLs, which every page has.
    if not is_page or isinstance(error, BadHost):
        return http_error_as_json(error)
    headers = [header for header in error.get_headers() if header[0] != "Content-Type"]
    return render_template("error.html", status=status), status, headers


def _allow_framing(response: Response) -> Response:
    # Runs before the application's default headers are set, which do not replace these.
    if request.headers.get("Sec-Fetch-Dest") == "iframe" and request.path.startswith(_FRAMED_PAGES):
        for name, value in _FRAMED_HEADERS.items():
            response.headers.setdefault(name, value)
    return response
