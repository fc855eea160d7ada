"""CORS for browser clients on configured origins, such as television apps (Fetch standard, "CORS protocol")."""

import re

from flask import Flask, Response
from flask_cors import CORS

from api.request_id import REQUEST_ID_HEADER

_METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE")
_REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "DPoP",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    REQUEST_ID_HEADER,
)
_RESPONSE_HEADERS = ("DPoP-Nonce", "ETag", "Location", "Retry-After", "WWW-Authenticate", REQUEST_ID_HEADER)
# How long browsers may cache a preflight; Chromium caps it at two hours.
_PREFLIGHT_SECONDS = 7200


def init_app(app: Flask, origins: tuple[str, ...]) -> None:
    """Allow pages of `origins` to call `app` without cookies, and to read its errors.

    A preflight needs no token: Flask answers OPTIONS without calling the view.
    """
    CORS(
        app,
        # Compiled patterns: flask-cors treats some strings as patterns, and compares the others case-insensitively.
        origins=[re.compile(rf"{re.escape(origin)}\Z") for origin in origins],
        methods=_METHODS,
        allow_headers=_REQUEST_HEADERS,
        expose_headers=_RESPONSE_HEADERS,
        max_age=_PREFLIGHT_SECONDS,
        # Responses of registered error handlers get the headers anyway.
        intercept_exceptions=False,
        vary_header=False,  # _vary sets it on every response
    )
    app.after_request(_vary)


def _vary(response: Response) -> Response:
    # Also on responses without CORS headers: a cache must not serve those to an allowed origin.
    response.vary.add("Origin")
    return response
