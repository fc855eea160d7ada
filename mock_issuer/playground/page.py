"""The playground page: a television, a phone, and their HTTP requests and responses."""

import io
from http import HTTPStatus
from urllib.parse import urlsplit

import segno
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE
from flask import Blueprint, Response, abort, render_template, request

from mock_issuer.control import http as control_api
from mock_issuer.flow.issuer import current_issuer

# Twice the longest user code that Config allows.
_MAX_USER_CODE_CHARS = 64

blueprint = Blueprint(
    "playground",
    __name__,
    url_prefix="/playground",
    template_folder="templates",
    static_folder="static",
    static_url_path="/static",
)


@blueprint.get("")
def playground() -> Response:
    """Show the page. Its scripts call this server and the configured API; a frame shows the activation pages."""
    issuer = current_issuer()
    config = issuer.config
    api = config.apis[0] if config.apis else issuer.userinfo_api
    client = next((client for client in config.clients if client.allows_grant(DEVICE_CODE_GRANT_TYPE)), None)
    settings = {
        "client_id": client.client_id if client else "",
        "audience": api.audience if config.apis else "",
        "scope": " ".join([*api.scopes, "openid", "profile", "offline_access"]),
        "api": config.api_url.rstrip("/"),
        "controls": control_api.are_allowed(),
        # A phone that scans a loopback address connects to itself.
        "scannable": not control_api.is_loopback(urlsplit(issuer.verification_uri_complete("")).hostname or ""),
    }
    response = Response(render_template("playground.html", settings=settings), mimetype="text/html")
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; frame-src 'self'; "
        f"connect-src 'self' {config.api_url}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return response


@blueprint.get("/qr.svg")
def qr_code() -> Response:
    """Return the verification_uri_complete of a user code as a QR code in SVG (RFC 8628 §3.3.1)."""
    unverified_code = request.args.get("user_code", "")
    if not 0 < len(unverified_code) <= _MAX_USER_CODE_CHARS:
        abort(HTTPStatus.NOT_FOUND)
    svg = io.BytesIO()
    segno.make(current_issuer().verification_uri_complete(unverified_code), error="m").save(
        svg, kind="svg", scale=4, dark="#000", light="#fff", xmldecl=False, nl=False
    )
    return Response(svg.getvalue(), mimetype="image/svg+xml")
