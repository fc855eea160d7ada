"""gunicorn's worker, whose own errors are problems too: a broken request never reaches the application."""

import json
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from gunicorn.http import errors  # type: ignore[import-untyped]  # gunicorn has no types
from gunicorn.http.body import ChunkedReader, LengthReader  # type: ignore[import-untyped]  # likewise
from gunicorn.util import write_nonblock  # type: ignore[import-untyped]  # likewise
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]  # likewise

from api.problems.responses import http_problem
from api.request_id import REQUEST_ID_HEADER

# To keep a connection, gunicorn reads past less than this of a body that the application left.
_SKIPPED_BYTES = 64 * 1024
# What cannot be parsed is a bad request; these say it more exactly.
_STATUSES = {
    errors.ForbiddenProxyRequest: HTTPStatus.FORBIDDEN,
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
    errors.ConfigurationProblem: HTTPStatus.INTERNAL_SERVER_ERROR,
    # The application's own mistakes.
    errors.InvalidResponseHeader: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.InvalidResponseHeaderName: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def _much_is_unread(req: Any) -> bool:
    reader = req.body.reader
    if isinstance(reader, LengthReader):
        return bool(reader.length >= _SKIPPED_BYTES)
    # Nobody knows how much is left of a chunked body whose end has not come.
    return isinstance(reader, ChunkedReader) and reader.parser is not None


class ProblemWorker(ThreadWorker):  # type: ignore[misc]  # likewise
    """A worker with threads that answers what it cannot parse with problem details (RFC 9457), not with a page.

    It also announces the end of a connection that an unread body brings about.
    """

    def handle_request(self, req: Any, conn: Any) -> bool:
        """Answer a request. Where much of its body stays unread, gunicorn hangs up, and the client has to know that."""
        should_close = req.should_close
        req.should_close = lambda: should_close() or _much_is_unread(req)
        keep_alive: bool = super().handle_request(req, conn)
        return keep_alive

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:  # noqa: ARG002  # gunicorn's
        """Log an error and answer it. The log has its kind alone: a line that cannot be parsed may hold a token."""
        status, request_id = HTTPStatus.INTERNAL_SERVER_ERROR, uuid4().hex
        if isinstance(exc, errors.ParseException):
            status = _STATUSES.get(type(exc), HTTPStatus.BAD_REQUEST)
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
