"""What operators see: a request id on every answer and log line, and one structured line for each request."""

import logging
import re
import sys
import time
from uuid import uuid4

import structlog
from flask import Flask, Response, g, has_request_context, request

from .auth import AuthEvents, Reason

REQUEST_ID_HEADER = "X-Request-ID"
# A caller's own id is kept where it is harmless in a log; otherwise it gets one of ours.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

_log = structlog.stdlib.get_logger()


class LoggedAuthEvents(AuthEvents):
    """Puts what the verifier reports into the log. Tokens, claims and addresses with credentials never come here."""

    def token_refused(self, reason: Reason) -> None:
        """Have the request's line say why."""
        if has_request_context():
            g.auth_refused = reason.value

    def keys_fetched(self, issuer: str, key_count: int) -> None:
        """Log a line."""
        _log.info("keys_fetched", issuer=issuer, key_count=key_count)

    def keys_fetch_failed(self, issuer: str, cause: str) -> None:
        """Log a line."""
        _log.warning("keys_fetch_failed", issuer=issuer, cause=cause)


def configure_logging(level: int) -> None:
    """Send structured lines from `level` up to standard error, one JSON object a line."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.getLogger("werkzeug").setLevel(logging.WARNING)


def init_app(app: Flask) -> None:
    """Give each request of `app` an id, and log each when it is answered."""
    app.before_request(_begin)
    app.after_request(_finish)


def request_id() -> str:
    """Return the current request's id, made here where the request came without a usable one."""
    if "request_id" not in g:
        offered = request.headers.get(REQUEST_ID_HEADER, "")
        g.request_id = offered if _REQUEST_ID.fullmatch(offered) else uuid4().hex
    return str(g.request_id)


def _begin() -> None:
    g.started = time.perf_counter()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id())


def _finish(response: Response) -> Response:
    response.headers[REQUEST_ID_HEADER] = request_id()
    refused = {"auth_refused": g.auth_refused} if "auth_refused" in g else {}
    _log.info(
        "request",
        method=request.method,
        # The rule and not the address: ids and queries are the caller's business.
        route=request.url_rule.rule if request.url_rule else None,
        status=response.status_code,
        duration_ms=round((time.perf_counter() - g.started) * 1000, 2),
        **refused,
    )
    return response
