"""gunicorn's worker class: problem details (RFC 9457) for what gunicorn rejects, and its part of the metrics."""

import json
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from gunicorn.http import errors  # type: ignore[import-untyped]  # gunicorn has no types
from gunicorn.http.body import ChunkedReader, LengthReader  # type: ignore[import-untyped]  # likewise
from gunicorn.util import write_nonblock  # type: ignore[import-untyped]  # likewise

from api.operations.metrics import REJECTED_REQUESTS, THREADS, THREADS_BUSY
from api.problems.responses import http_problem
from api.request_id import REQUEST_ID_HEADER

from .connections import ConnectionWorker

_threads_busy = THREADS_BUSY.labels()
# gunicorn closes the connection if the application left this much of the body, or more, unread.
_MAX_DRAINED_BYTES = 64 * 1024
# Every other parse error is a 400.
_STATUSES = {
    errors.ForbiddenProxyRequest: HTTPStatus.FORBIDDEN,
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
    errors.ConfigurationProblem: HTTPStatus.INTERNAL_SERVER_ERROR,
    # Mistakes of the application.
    errors.InvalidResponseHeader: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.InvalidResponseHeaderName: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def _unread_body_closes_connection(req: Any) -> bool:
    reader = req.body.reader
    if isinstance(reader, LengthReader):
        return bool(reader.length >= _MAX_DRAINED_BYTES)
    # The remaining size of a chunked body is unknown until its last chunk is read.
    return isinstance(reader, ChunkedReader) and reader.parser is not None


class _ShouldClose:
    """Whether the connection of a request is closed after the response: found out at the first call."""

    __slots__ = ("_answer", "_req", "_should_close", "_worker")

    def __init__(self, worker: ConnectionWorker, req: Any) -> None:
        self._worker, self._req, self._should_close = worker, req, req.should_close
        self._answer: bool | None = None

    def __call__(self) -> bool:
        if self._answer is None:
            self._answer = bool(
                self._should_close() or _unread_body_closes_connection(self._req) or not self._worker.alive
            )
        return self._answer


class ProblemWorker(ConnectionWorker):
    """gthread, with problem details instead of HTML pages, and with `Connection: close` before it closes."""

    def init_process(self) -> None:
        """Set up the worker, and serve until it is told to end."""
        THREADS.set(self.cfg.threads)
        # gunicorn finds a setting by `__getattr__`, after looking for an attribute: 21 times a request, 11 % of
        # GET /v1/me. Settings do not change in a worker: what a hook sets later is ignored, and after SIGHUP there are
        # new workers.
        self.cfg.__dict__.update({name: setting.get() for name, setting in self.cfg.settings.items()})
        super().init_process()

    def handle(self, conn: Any) -> object:
        """Handle the next request of a connection, in a thread of the pool; the thread is busy until then."""
        _threads_busy.inc()
        try:
            return super().handle(conn)
        finally:
            _threads_busy.dec()

    def handle_request(self, req: Any, conn: Any) -> bool:
        """Handle a request; announce the close of its connection (RFC 9112 §9.6).

        A connection is closed after a body that was not read, and when the worker stops.
        gunicorn asks when it sends the headers and again at the end: what was announced must not change.
        """
        req.should_close = _ShouldClose(self, req)
        try:
            keep_alive: bool = super().handle_request(req, conn)
        finally:
            # It refers to the request: only the garbage collector would free the two, and all that the request holds.
            del req.should_close
        return keep_alive

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:  # noqa: ARG002  # gunicorn's signature
        """Log an error and answer it. Only the type is logged: a malformed line may contain a token."""
        status, request_id = HTTPStatus.INTERNAL_SERVER_ERROR, uuid4().hex
        if isinstance(exc, errors.ParseException):
            status = _STATUSES.get(type(exc), HTTPStatus.BAD_REQUEST)
            # The others come from the application, which has counted the request.
            if not isinstance(exc, errors.InvalidResponseHeader | errors.InvalidResponseHeaderName):
                REJECTED_REQUESTS.labels(status.value).inc()
            self.log.warning("Invalid request: %s (%s)", type(exc).__name__, request_id)
        else:
            self.log.error("Error handling a request (%s)", request_id, exc_info=exc)
        body = json.dumps(http_problem(self.wsgi, status, request_id)).encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}",
            "Connection: close",
            "Content-Type: application/problem+json",
            f"Content-Length: {len(body)}",
            f"{REQUEST_ID_HEADER}: {request_id}",
        )
        try:
            write_nonblock(client, "\r\n".join([*head, "", ""]).encode() + body)
        except OSError:
            self.log.debug("Failed to send error message.")
