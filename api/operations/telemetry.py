"""What operators see: a request id on every answer and log line, one structured line a request, and the counts."""

import functools
import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import cast

import structlog
from flask import Flask, Response, has_request_context, request
from structlog.typing import EventDict, FilteringBoundLogger

from api.auth import AuthEvents, Reason
from api.request_id import REQUEST_ID_HEADER, request_id

from .metrics import KEY_FETCHES, REQUEST_SECONDS, STALE_KEYS_USED, TOKENS_ACCEPTED, TOKENS_REFUSED

# Kept in the WSGI environment: `g` is shared by requests under an application context from outside, and looks at it
# cost several times as much.
_STARTED, _REFUSED = "device-api.started", "device-api.auth_refused"
# A client may make up methods; what is counted by method must not grow with them.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_log = structlog.stdlib.get_logger()
# One for each that /metrics shows; the library's own look-up takes a lock and makes texts of the labels.
_histogram = functools.cache(REQUEST_SECONDS.labels)
_accepted = functools.cache(TOKENS_ACCEPTED.labels)


class RecordedAuthEvents(AuthEvents):
    """Counts and logs what the verifier reports. Tokens, claims and addresses with credentials never come here."""

    def token_accepted(self, *, from_cache: bool) -> None:
        """Count it."""
        _accepted("yes" if from_cache else "no").inc()

    def token_refused(self, reason: Reason) -> None:
        """Count it, and have the request's line say why."""
        TOKENS_REFUSED.labels(reason.value).inc()
        if has_request_context():
            request.environ[_REFUSED] = reason.value

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


def _render(logger: object, level: str, event: EventDict) -> str:
    """Return an event as a line of JSON, with its level, its time, and the id of the request that it belongs to."""
    # One processor for all of it: as a chain of structlog's own it takes twice as long, and each request has its line.
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, level, event)
    if "request_id" not in event and has_request_context():
        event["request_id"] = request_id()
    event["level"] = level
    event["timestamp"] = datetime.now(UTC).isoformat()
    return _encode(event)


class _StandardError:
    """Writes each line to what standard error is by then."""

    def msg(self, line: str) -> None:
        sys.stderr.write(f"{line}\n")

    debug = info = warning = error = critical = msg


def configure_logging(level: int) -> None:
    """Send structured lines from `level` up to standard error, one JSON object a line."""
    structlog.configure(
        processors=[_render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _StandardError(),
        cache_logger_on_first_use=False,
    )
    logging.getLogger("werkzeug").setLevel(logging.WARNING)


def init_app(app: Flask) -> None:
    """Give each request of `app` an id, and log and count each when it is answered."""
    app.before_request(_begin)
    # Bound once: binding takes as long as the line that is then written.
    app.after_request(functools.partial(_finish, cast("FilteringBoundLogger", _log.bind())))


def _begin() -> None:
    request.environ[_STARTED] = time.perf_counter()


def _finish(log: FilteringBoundLogger, response: Response) -> Response:
    known_id = request_id()
    response.headers.add(REQUEST_ID_HEADER, known_id)
    environ = request.environ
    seconds = time.perf_counter() - environ[_STARTED]
    # The rule and not the address: ids and queries are the caller's business.
    rule, method = request.url_rule, request.method
    route = rule.rule if rule else None
    if method not in _METHODS:
        method = "other"
    _histogram(method, route or "none", response.status_code).observe(seconds)
    refused = {"auth_refused": environ[_REFUSED]} if _REFUSED in environ else {}
    log.info(
        "request",
        request_id=known_id,
        method=method,
        route=route,
        status=response.status_code,
        duration_ms=round(seconds * 1000, 2),
        **refused,
    )
    return response
