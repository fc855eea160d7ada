"""What each request leaves: a log line, its duration in the metrics, and its id in the response."""

import functools
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, has_request_context, request

from api.auth.flask.current import current_request
from api.problems.responses import ERROR_CODE
from api.request_id import REQUEST_ID_HEADER, request_id_of

from .log.lines import request_line
from .log.writer import write_line
from .metrics import REQUEST_SECONDS, REQUESTS_IN_FLIGHT

# Keys in the WSGI environment, not in `g`: requests inside an outer application context share its `g`.
_STARTED, _MEMBERS = "device-api.started", "device-api.line_members"
# Clients can invent methods; the metric's labels must stay a closed set.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# The platform sends these every few seconds; unless they fail, they tell nothing.
_PROBES = frozenset({"/livez", "/readyz", "/metrics"})
_requests_in_flight = REQUESTS_IN_FLIGHT.labels()


def init_app(app: Flask) -> None:
    """Log each request of `app`, record its duration, and add its id to the response.

    Call it after `configure_logging`, whose level it takes.
    """
    app.wsgi_app = _timed(app.wsgi_app)  # type: ignore[method-assign]  # Flask's way
    log = structlog.stdlib.get_logger().bind()
    levels = {"debug": logging.DEBUG, "info": logging.INFO, "error": logging.ERROR}
    app.after_request(
        functools.partial(_record, frozenset(name for name, level in levels.items() if log.is_enabled_for(level)))
    )


def add_to_line(members: Mapping[str, object]) -> None:
    """Add members to the log line of the current request, if there is one."""
    if has_request_context():
        request.environ.setdefault(_MEMBERS, {}).update(members)


def _timed(wsgi_app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Return the application, with each request counted while it lasts, and its start noted."""

    # Hooks of Flask, before and after each request, would take three times as long: 3 % of GET /v1/me.
    def timed(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ[_STARTED] = time.perf_counter()
        _requests_in_flight.inc()
        try:
            return wsgi_app(environ, start_response)
        finally:
            _requests_in_flight.dec()

    return timed


def _record(logged_levels: frozenset[str], response: Response) -> Response:
    request = current_request()
    environ = request.environ
    current_id = request_id_of(environ)
    response.headers.add(REQUEST_ID_HEADER, current_id)
    now = time.perf_counter()
    # Code that dispatches a request without the WSGI application leaves no start.
    seconds = now - environ.get(_STARTED, now)
    # The route's rule, not the path: paths and queries hold ids of callers' devices.
    rule, method, status = request.url_rule, request.method, response.status_code
    route = rule.rule if rule else None
    if method not in _METHODS:
        method = "other"
    REQUEST_SECONDS.labels(method, route or "none", status).observe(seconds)
    level = _level(route, status)
    if level in logged_levels:
        more = environ.get(_MEMBERS)
        if ERROR_CODE in environ:
            more = {"error": environ[ERROR_CODE], **(more or {})}
        # Past structlog, which would take most of the time that a line costs.
        line = request_line(
            level,
            request_id=current_id,
            method=method,
            route=route,
            status=status,
            duration_ms=round(seconds * 1000, 2),
            more=more,
        )
        write_line(line)
    return response


def _level(route: str | None, status: int) -> str:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "error"
    return "debug" if route in _PROBES and status < HTTPStatus.MULTIPLE_CHOICES else "info"
