"""What each request leaves: a log line, its duration in the metrics, and its id in the response."""

import functools
import logging
import time
from collections.abc import Mapping
from http import HTTPStatus

import structlog
from flask import Flask, Response, has_request_context, request
from flask.globals import request_ctx

from api.problems.responses import ERROR_CODE
from api.request_id import REQUEST_ID_HEADER, request_id

from .log.lines import json_line
from .log.writer import write_line
from .metrics import REQUEST_SECONDS, REQUESTS_IN_FLIGHT

# Keys in the WSGI environment, not in `g`: requests inside an outer application context share its `g`.
_STARTED, _MEMBERS = "device-api.started", "device-api.line_members"
# Clients can invent methods; the metric's labels must stay a closed set.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# The platform sends these every few seconds; unless they fail, they tell nothing.
_PROBES = frozenset({"/livez", "/readyz", "/metrics"})


def init_app(app: Flask) -> None:
    """Log each request of `app`, record its duration, and add its id to the response.

    Call it after `configure_logging`, whose level it takes.
    """
    app.before_request(_start_timer)
    # Unlike after_request, also after an exception that nothing handles.
    app.teardown_request(_end)
    log = structlog.stdlib.get_logger().bind()
    levels = {"debug": logging.DEBUG, "info": logging.INFO, "error": logging.ERROR}
    app.after_request(
        functools.partial(_record, frozenset(name for name, level in levels.items() if log.is_enabled_for(level)))
    )


def add_to_line(members: Mapping[str, object]) -> None:
    """Add members to the log line of the current request, if there is one."""
    if has_request_context():
        request.environ.setdefault(_MEMBERS, {}).update(members)


def _start_timer() -> None:
    request.environ[_STARTED] = time.perf_counter()
    REQUESTS_IN_FLIGHT.inc()


def _end(_error: BaseException | None) -> None:
    # A context that only a test or a command opens has no start.
    if request.environ.pop(_STARTED, None) is not None:
        REQUESTS_IN_FLIGHT.dec()


def _record(logged_levels: frozenset[str], response: Response) -> Response:
    current_id = request_id()
    response.headers.add(REQUEST_ID_HEADER, current_id)
    # Not the proxy, which finds the request again at each use.
    request = request_ctx.request
    environ = request.environ
    seconds = time.perf_counter() - environ[_STARTED]
    # The route's rule, not the path: paths and queries hold ids of callers' devices.
    rule, method, status = request.url_rule, request.method, response.status_code
    route = rule.rule if rule else None
    if method not in _METHODS:
        method = "other"
    REQUEST_SECONDS.labels(method, route or "none", status).observe(seconds)
    level = _level(route, status)
    if level in logged_levels:
        # Past structlog, which would take most of the time that a line costs.
        members = {
            "request_id": current_id,
            "method": method,
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 2),
        }
        if ERROR_CODE in environ:
            members["error"] = environ[ERROR_CODE]
        if _MEMBERS in environ:
            members |= environ[_MEMBERS]
        write_line(json_line("request", level, members))
    return response


def _level(route: str | None, status: int) -> str:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "error"
    return "debug" if route in _PROBES and status < HTTPStatus.MULTIPLE_CHOICES else "info"
