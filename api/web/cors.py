"""CORS, for pages in browsers on named origins: a television's app is one of these (Fetch §3.2)."""

import re

from flask import Flask, Response
from flask_cors import CORS

from api.request_id import REQUEST_ID_HEADER

_METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE")
_REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    REQUEST_ID_HEADER,
)
_RESPONSE_HEADERS = ("ETag", "Location", "Retry-After", "WWW-Authenticate", REQUEST_ID_HEADER)
# Browsers ask again after this long; Chromium after two hours whatever it is told.
_PREFLIGHT_SECONDS = 7200


def init_app(app: Flask, origins: tuple[str, ...]) -> None:
    """Let pages of `origins` call `app`, without cookies; errors can be read by them too.

    A preflight needs no token: Flask answers it before any view is asked.
    """
    CORS(
        app,
        # Patterns, since flask-cors takes some plain strings for patterns, and compares the others in any case.
        origins=[re.compile(rf"{re.escape(origin)}\Z") for origin in origins],
        methods=_METHODS,
        allow_headers=_REQUEST_HEADERS,
        expose_headers=_RESPONSE_HEADERS,
        max_age=_PREFLIGHT_SECONDS,
        # Registered answers to exceptions pass through here anyway.
        intercept_exceptions=False,
        vary_header=False,  # below, for every answer
    )
    app.after_request(_vary)


def _vary(response: Response) -> Response:
    # On answers without the other headers too: a cache must not hand one of those to a page that may read.
    response.vary.add("Origin")
    return response
