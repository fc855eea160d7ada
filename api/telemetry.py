"""What operators see: a request id on every answer and log line, one structured line a request, and the counts."""

import json
import logging
import random
import re
import sys
import time
from collections.abc import Mapping
from typing import Any

import structlog
from flask import Flask, Response, g, has_request_context, request

from .auth import AuthEvents, Reason
from .metrics import KEY_FETCHES, REQUEST_SECONDS, STALE_KEYS_USED, TOKENS_ACCEPTED, TOKENS_REFUSED

REQUEST_ID_HEADER = "X-Request-ID"
_REQUEST_ID_VARIABLE = "HTTP_X_REQUEST_ID"
# A caller's own id is kept where it is harmless in a log; otherwise it gets one of ours.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# A client may make up methods; what is counted by method must not grow with them.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_log = structlog.stdlib.get_logger()


class RecordedAuthEvents(AuthEvents):
    """Counts and logs what the verifier reports. Tokens, claims and addresses with credentials never come here."""

    def token_accepted(self, *, from_cache: bool) -> None:
        """Count it."""
        TOKENS_ACCEPTED.labels("yes" if from_cache else "no").inc()

    def token_refused(self, reason: Reason) -> None:
        """Count it, and have the request's line say why."""
        TOKENS_REFUSED.labels(reason.value).inc()
        if has_request_context():
            g.auth_refused = reason.value

    def keys_fetched(self, issuer: str, key_count: int) -> None:
        """Count it and log a line."""
        KEY_FETCHES.labels(issuer, "fetched").inc()
        _log.info("keys_fetched", issuer=issuer, key_count=key_count)

    def keys_fetch_failed(self, issuer: str, cause: str) -> None:
        """Count it and log a line."""
        KEY_FETCHES.labels(issuer, "failed").inc()
        _log.warning("keys_fetch_failed", issuer=issuer, cause=cause)

    def stale_keys_used(self, issuer: str) -> None:
        """Count it; the failed fetch behind it has its line already."""
        STALE_KEYS_USED.labels(issuer).inc()


# Made once: with options, json.dumps makes an encoder for each line.
_encode = json.JSONEncoder(default=repr).encode


def _one_line(event: Mapping[str, Any], **_options: Any) -> str:
    return _encode(event)


def configure_logging(level: int) -> None:
    """Send structured lines from `level` up to standard error, one JSON object a line."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(_one_line),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.getLogger("werkzeug").setLevel(logging.WARNING)


def init_app(app: Flask) -> None:
    """Give each request of `app` an id, and log and count each when it is answered."""
    app.before_request(_begin)
    app.after_request(_finish)


def request_id() -> str:
    """Return the current request's id, made here where the request came without a usable one."""
    known: str | None = g.get("request_id")
    if known is None:
        # The environment itself: this runs for every request, and Werkzeug's view of it costs several times as much.
        offered = request.environ.get(_REQUEST_ID_VARIABLE, "")
        # Unique is enough, and each process has a sequence of its own: it is seeded anew after a fork.
        known = offered if _REQUEST_ID.fullmatch(offered) else f"{random.getrandbits(128):032x}"
        g.request_id = known
    return known


def _begin() -> None:
    g.started = time.perf_counter()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id())


def _finish(response: Response) -> Response:
    response.headers[REQUEST_ID_HEADER] = request_id()
    seconds = time.perf_counter() - g.started
    # The rule and not the address: ids and queries are the caller's business.
    rule, method = request.url_rule, request.method
    route = rule.rule if rule else None
    if method not in _METHODS:
        method = "other"
    REQUEST_SECONDS.labels(method, route or "none", response.status_code).observe(seconds)
    refused = {"auth_refused": g.auth_refused} if "auth_refused" in g else {}
    _log.info(
        "request",
        method=method,
        route=route,
        status=response.status_code,
        duration_ms=round(seconds * 1000, 2),
        **refused,
    )
    return response
