"""OpenTelemetry traces: spans of requests, of token verification, of key fetches and of database statements.

The only module that imports OpenTelemetry, and imported only if its standard variables ask for traces (see
`api.settings`). The spans are our own and not those of OpenTelemetry's instrumentations, which record URLs with their
queries, addresses of clients and SQL. Attributes here never come from a client, except the method, from a closed set.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, cast

import structlog
from flask import Flask, Response, request
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from structlog.typing import EventDict

from api.auth import (
    AccessToken,
    AuthConfig,
    Reason,
    Requirement,
    TemporarilyUnavailable,
    TokenVerifier,
    __version__,
)
from api.auth.introspection import Introspection
from api.auth.keys.fetch import Fetched, fetch
from api.auth.possession import Sender
from api.auth.verifier import ANY_VALID_TOKEN

from .auth_events import RecordedAuthEvents
from .request_record import add_to_line

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# The platform sends these all the time: they would be most of the traces.
_UNTRACED_PATHS = frozenset({"/livez", "/readyz", "/metrics"})
# Clients can invent methods; OpenTelemetry's name for the others is _OTHER.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# traceparent has 55 characters, tracestate at least 512 by W3C's rule. The library's time to read longer ones grows
# with the square of their length.
_MAX_TRACE_HEADER_CHARS = 512
# How long a process that ends waits for its last spans to be sent: less than gunicorn's graceful_timeout.
_SHUTDOWN_MILLISECONDS = 2_000
# They write to standard error as plain text, and from within requests when the queue is full. `SpanExport` below
# reports the same.
_SILENCED_LOGGERS = ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal")
# The key in `Connection.info` for the span of the running statement.
_STATEMENT_SPAN = "device-api.span"
_OPERATIONS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "BEGIN", "SET", "PRAGMA"})

_log = structlog.stdlib.get_logger()


class Tracing:
    """Makes the spans of one application, and sends them in a thread of its own.

    `exporter` sends spans; by default to the collector that OpenTelemetry's variables name. The variables of samplers,
    limits and resources are honoured. Neither a collector that is down or slow nor a full queue delays a request: spans
    are dropped then. The end of the process waits two seconds at most.
    """

    def __init__(self, exporter: SpanExporter | None = None) -> None:
        for name in _SILENCED_LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        defaults = Resource.create({"service.name": "device-api", "service.version": __version__})
        # Merged last, since the environment wins.
        self._provider = TracerProvider(resource=defaults.merge(OTELResourceDetector().detect()))
        self._processor = _BoundedProcessor(SpanExport(exporter or OTLPSpanExporter()))
        self._provider.add_span_processor(self._processor)
        self.tracer: Tracer = self._provider.get_tracer("device-api", __version__)

    def init_app(self, app: Flask, engine: Engine) -> None:
        """Trace the requests of `app` and the statements of `engine` within them. Call it once."""
        app.wsgi_app = _TracedRequests(app.wsgi_app, self.tracer)  # type: ignore[method-assign]  # Flask's way
        app.before_request(_add_ids_to_request_line)
        app.after_request(_describe_request)
        _trace_statements(self.tracer, engine)

    def verifier(
        self,
        config: AuthConfig,
        is_revoked: Callable[[AccessToken], bool] | None = None,
        introspection: tuple[Introspection, ...] = (),
    ) -> TokenVerifier:
        """Return a verifier whose verifications and key fetches are traced, counted and logged."""
        events = TracedAuthEvents(self.tracer)
        return TracedTokenVerifier(
            config, events=events, is_revoked=is_revoked, introspection=introspection, fetch=events.fetch
        )

    def add_ids_to_log(self) -> None:
        """Add `trace_id` and `span_id` to log lines that are written within a span. Call it after configure_logging."""
        # Of the configuration that is there, whatever renders the lines.
        structlog.configure(processors=[_add_ids, *structlog.get_config()["processors"]])

    def flush(self) -> None:
        """Send the spans that have ended. Waits for the collector."""
        self._processor.force_flush()

    def close(self) -> None:
        """Send the spans that have ended, and end the thread; two seconds at most."""
        self._provider.shutdown()


class SpanExport(SpanExporter):
    """Sends spans by another exporter; logs when that begins to fail, and when it works again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._is_failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; on a failure they are lost."""
        result = self._exporter.export(spans)
        was_failing, self._is_failing = self._is_failing, result is not SpanExportResult.SUCCESS
        if self._is_failing and not was_failing:
            _log.warning("traces_lost")
        elif was_failing and not self._is_failing:
            _log.warning("traces_found")
        return result

    def shutdown(self) -> None:
        """Close the exporter."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what the exporter holds back."""
        return self._exporter.force_flush(timeout_millis)


class _BoundedProcessor(BatchSpanProcessor):
    """Batches spans in a bounded queue. A forked process starts a thread of its own."""

    def shutdown(self) -> None:
        # By default it waits up to 30 s, longer than platforms do before SIGKILL.
        self._batch_processor.shutdown(timeout_millis=_SHUTDOWN_MILLISECONDS)


class _TracedRequests:
    """A WSGI application with a span around each request, which continues the caller's trace (W3C Trace Context)."""

    def __init__(self, wsgi_app: Callable[..., Iterable[bytes]], tracer: Tracer) -> None:
        self._wsgi_app = wsgi_app
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ.get("PATH_INFO") in _UNTRACED_PATHS:
            return self._wsgi_app(environ, start_response)
        method = environ["REQUEST_METHOD"]
        attributes = {
            "http.request.method": method if method in _METHODS else "_OTHER",
            "url.scheme": environ["wsgi.url_scheme"],
        }
        with self._tracer.start_as_current_span(
            method if method in _METHODS else "HTTP",
            context=self._propagator.extract(_trace_headers(environ), Context()),
            kind=SpanKind.SERVER,
            attributes=attributes,
            # The text of an exception may hold a caller's data.
            record_exception=False,
            set_status_on_exception=False,
        ):
            return self._wsgi_app(environ, start_response)


def _trace_headers(environ: "WSGIEnvironment") -> Mapping[str, str]:
    """Return the headers of W3C Trace Context, without those that are too long; the library checks their form."""
    headers = {name: environ.get(f"HTTP_{name.upper()}", "") for name in ("traceparent", "tracestate")}
    return {name: value for name, value in headers.items() if value and len(value) <= _MAX_TRACE_HEADER_CHARS}


def _describe_request(response: Response) -> Response:
    span = trace.get_current_span()
    if span.is_recording():
        status = response.status_code
        span.set_attribute("http.response.status_code", status)
        if request.url_rule is not None:
            # The rule and not the path, which has ids of callers' devices.
            span.set_attribute("http.route", request.url_rule.rule)
            method = request.method if request.method in _METHODS else "HTTP"
            span.update_name(f"{method} {request.url_rule.rule}")
        if status >= 500:  # noqa: PLR2004  # a server's error (RFC 9110 §15.6)
            span.set_attribute("error.type", str(status))
            span.set_status(StatusCode.ERROR)
    return response


def _current_ids() -> dict[str, str]:
    """Return the ids of the current span; none outside of spans."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": trace.format_trace_id(context.trace_id), "span_id": trace.format_span_id(context.span_id)}


def _add_ids(_logger: object, _level: str, event_dict: EventDict) -> EventDict:
    return {**event_dict, **_current_ids()}


def _add_ids_to_request_line() -> None:
    # This line does not pass through structlog.
    add_to_line(_current_ids())


class TracedAuthEvents(RecordedAuthEvents):
    """Record the outcomes of verification and of key fetches as spans too."""

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer
        # Each fetch runs in a thread of its own.
        self._fetch = threading.local()

    def fetch(self, url: str, timeout_seconds: float) -> Fetched:
        """Fetch a document for a key set. The verifier uses it, so that the begin of its first is known."""
        if not hasattr(self._fetch, "started_at"):
            self._fetch.started_at = time.time_ns()
        return fetch(url, timeout_seconds)

    def token_accepted(self, *, from_cache: bool) -> None:
        """Record an accepted token, and whether it was in the cache of verified tokens."""
        super().token_accepted(from_cache=from_cache)
        span = trace.get_current_span()
        span.set_attribute("auth.outcome", "accepted")
        span.set_attribute("auth.remembered", from_cache)

    def token_refused(self, reason: Reason, *, claim: str | None) -> None:
        """Record a refused token with the reason."""
        super().token_refused(reason, claim=claim)
        span = trace.get_current_span()
        span.set_attribute("auth.outcome", "refused")
        span.set_attribute("auth.reason", reason.value)

    def keys_fetched(self, issuer: str, key_count: int) -> None:
        """Record a successful fetch."""
        with self._fetch_span(issuer, "fetched") as span:
            span.set_attribute("auth.key_count", key_count)
            super().keys_fetched(issuer, key_count)

    def keys_fetch_failed(self, issuer: str, cause: str) -> None:
        """Record a failed fetch; `cause` is one of our own sentences."""
        with self._fetch_span(issuer, "failed") as span:
            span.set_status(StatusCode.ERROR, cause)
            super().keys_fetch_failed(issuer, cause)

    def _fetch_span(self, issuer: str, outcome: str) -> AbstractContextManager[Span]:
        return self.tracer.start_as_current_span(
            "fetch keys",
            # A trace of its own: several requests may wait for a fetch, or none.
            context=Context(),
            kind=SpanKind.CLIENT,
            attributes={"auth.issuer": issuer, "auth.outcome": outcome},
            start_time=getattr(self._fetch, "started_at", None),
        )


class TracedTokenVerifier(TokenVerifier):
    """A verifier with a span around each verification; its events, which are `TracedAuthEvents`, add the outcome."""

    def authenticate(
        self,
        authorization: str | None,
        requirement: Requirement = ANY_VALID_TOKEN,
        *,
        query: str = "",
        sender: Sender | None = None,
    ) -> AccessToken | None:
        """Verify as the base class does. The span has the outcome, and nothing of the token."""
        tracer = cast("TracedAuthEvents", self.events).tracer
        with tracer.start_as_current_span(
            "verify token", record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                token = super().authenticate(authorization, requirement, query=query, sender=sender)
            except TemporarilyUnavailable:
                # A refused token is the caller's mistake; this is the issuer's or ours.
                span.set_status(StatusCode.ERROR)
                raise
            if token is None:
                span.set_attribute("auth.outcome", "none offered")
            return token


def _trace_statements(tracer: Tracer, engine: Engine) -> None:
    """Make a span for each statement that a traced request executes: its operation, without tables and values."""
    system = {"postgresql": "postgresql", "sqlite": "sqlite"}[engine.dialect.name]

    def begin(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if trace.get_current_span().is_recording():
            operation = statement.lstrip().partition(" ")[0].upper()
            if operation not in _OPERATIONS:
                operation = "OTHER"
            attributes = {"db.system.name": system, "db.operation.name": operation}
            span = tracer.start_span(operation, kind=SpanKind.CLIENT, attributes=attributes)
            connection.info[_STATEMENT_SPAN] = span

    def end(connection: Connection, *_: object) -> None:
        span: Span | None = connection.info.pop(_STATEMENT_SPAN, None)
        if span is not None:
            span.end()

    def fail(context: ExceptionContext) -> None:
        # Without a connection, connecting failed.
        span = context.connection.info.pop(_STATEMENT_SPAN, None) if context.connection is not None else None
        if span is not None:
            # Only the type: the text may have values.
            span.set_attribute("error.type", type(context.original_exception).__name__)
            span.set_status(StatusCode.ERROR)
            span.end()

    event.listen(engine, "before_cursor_execute", begin)
    event.listen(engine, "after_cursor_execute", end)
    event.listen(engine, "handle_error", fail)
