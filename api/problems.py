"""Exception → response: RFC 9457 problem details, the one place where it happens."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException

from .auth import Auth, AuthError
from .telemetry import request_id

_log = structlog.stdlib.get_logger()

# What the framework refuses, as the contract names it and in our words: Werkzeug's would come in HTML.
_HTTP_ERRORS = {
    400: ("invalid_request", "The request cannot be understood."),
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take this method."),
    413: ("content_too_large", "The body is larger than this API reads."),
    415: ("unsupported_media_type", "The body must be JSON."),
}
# A database that restarts is back within seconds.
_RETRY_AFTER_SECONDS = 2
_UNNAMED_ERROR = ("http_error", "The request cannot be answered.")


class Problem(Exception):
    """A request that cannot be answered as asked.

    `status` is the HTTP status, `error` the code that programs act on, `detail` a sentence for people, `errors` names
    each wrong field with its reasons, and `extensions` are further members (RFC 9457 §3.2). None of them may hold what
    only the server knows.
    """

    def __init__(
        self,
        status: int,
        error: str,
        detail: str,
        *,
        errors: Mapping[str, list[str]] | None = None,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.detail = detail
        self.errors = errors
        self.extensions = extensions


def init_app(app: Flask, auth: Auth) -> None:
    """Answer every exception on `app` with a problem; after `auth.init_app`, whose plainer answers this replaces."""

    def answer_auth_error(error: AuthError) -> Response:
        response = _response(error.status, error.error or "missing_credentials", error.detail)
        response.headers.update(auth.headers(error))
        return response

    app.register_error_handler(AuthError, answer_auth_error)
    app.register_error_handler(Problem, _answer_problem)
    app.register_error_handler(OperationalError, _answer_database_outage)
    app.register_error_handler(PoolTimeoutError, _answer_database_outage)
    app.register_error_handler(HTTPException, _answer_http_exception)
    app.register_error_handler(Exception, _answer_unexpected)


def _answer_problem(problem: Problem) -> Response:
    members = dict(problem.extensions or {})
    if problem.errors is not None:
        members["errors"] = problem.errors
    return _response(problem.status, problem.error, problem.detail, members)


def _answer_http_exception(exception: HTTPException) -> ResponseReturnValue:
    status = exception.code
    if status is None or status < HTTPStatus.BAD_REQUEST:
        return exception  # a redirect is complete as it is
    error, detail = _HTTP_ERRORS.get(status, _UNNAMED_ERROR)
    response = _response(status, error, detail)
    # Allow, Retry-After and their like; the content's own headers are of the page that this replaces.
    for name, value in exception.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            response.headers[name] = value
    return response


def _answer_database_outage(exception: Exception) -> Response:
    _log.error("database_unavailable", cause=type(exception).__name__)
    response = _response(503, "temporarily_unavailable", "The database cannot be reached at the moment.")
    response.headers["Retry-After"] = str(_RETRY_AFTER_SECONDS)
    return response


def _answer_unexpected(exception: Exception) -> Response:
    _log.exception("unexpected_error", exc_info=exception)
    return _response(500, "internal_error", "Something went wrong here; the request id helps us to find out what.")


def _response(status: int, error: str, detail: str, members: Mapping[str, Any] | None = None) -> Response:
    body = {
        # RFC 9457 §4.2.1: the title is then the status's own phrase, and `error` says what it is.
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        "error": error,
        "request_id": request_id(),
        **(members or {}),
    }
    response = jsonify(body)
    response.status_code = status
    response.mimetype = "application/problem+json"
    return response
