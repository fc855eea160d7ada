"""Convert exceptions to responses with problem details (RFC 9457). No other module does."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException

from api.auth import Auth, AuthError
from api.request_id import request_id

from .catalogue import PROBLEM_TYPES
from .problem import Problem

_log = structlog.stdlib.get_logger()

# Error code and detail for the HTTP errors that Flask, Werkzeug and gunicorn raise; their own answers are HTML.
_HTTP_ERRORS = {
    400: ("invalid_request", "The request is malformed."),
    404: ("not_found", "There is no such path."),
    405: ("method_not_allowed", "The path does not support this method."),
    413: ("content_too_large", "The body exceeds 1 MiB."),
    414: ("http_error", "The URL is too long."),
    415: ("unsupported_media_type", "The body must be JSON."),
    431: ("http_error", "The headers are too large."),
    500: ("internal_error", "Unexpected error; report the request_id if it persists."),
}
# PostgreSQL's codes for temporary errors, answered with 503: a missing table or column, until `device-api db upgrade`
# runs, and a read-only server, as after a failover.
_TEMPORARY_ERRORS = frozenset({"42P01", "42703", "25006"})
# A database restarts in about this time.
_RETRY_AFTER_SECONDS = 2
_OTHER_HTTP_ERROR = ("http_error", "The server rejected the request.")
_BASE = "problem_base"
# The key in the WSGI environment for the `error` of the response; for the log.
ERROR_CODE = "device-api.error_code"


def init_app(app: Flask, auth: Auth, *, public_url: str | None = None) -> None:
    """Answer every exception on `app` with a problem. Call it after `auth.init_app`, whose error handler it replaces.

    `public_url` is the API's base URL as clients know it; without it, `type` is a relative reference.
    """
    app.extensions[_BASE] = f"{(public_url or '').rstrip('/')}/problems/"

    def answer_auth_error(error: AuthError) -> Response:
        scope = error.body().get("scope")
        members = {"scope": scope} if scope else {}
        response = _response(error.status, error.error or "missing_credentials", error.detail, members)
        response.headers.update(auth.headers(error))
        return response

    app.register_error_handler(AuthError, answer_auth_error)
    app.register_error_handler(Problem, _answer_problem)
    app.register_error_handler(DBAPIError, _answer_database_error)
    app.register_error_handler(PoolTimeoutError, _answer_database_outage)
    app.register_error_handler(HTTPException, _answer_http_exception)
    app.register_error_handler(Exception, _answer_unexpected)


def http_problem(app: Flask, status: int, request_id: str) -> dict[str, Any]:
    """Return the problem of a request that the server rejected before it reached `app`."""
    error, detail = _HTTP_ERRORS.get(status, _OTHER_HTTP_ERROR)
    return _problem(app, status, error, detail, request_id)


def _answer_problem(problem: Problem) -> Response:
    members = dict(problem.extensions or {})
    if problem.errors is not None:
        members["errors"] = problem.errors
    response = _response(problem.status, problem.error, problem.detail, members)
    response.headers.update(problem.headers or {})
    return response


def _answer_http_exception(exception: HTTPException) -> ResponseReturnValue:
    status = exception.code
    if status is None or status < HTTPStatus.BAD_REQUEST:
        return exception  # a redirect, which is a complete response
    error, detail = _HTTP_ERRORS.get(status, _OTHER_HTTP_ERROR)
    response = _response(status, error, detail)
    # Keep headers such as Allow and Retry-After, but not those of the HTML body that the problem replaces.
    for name, value in exception.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            response.headers[name] = value
    return response


def _answer_database_error(error: DBAPIError) -> Response:
    if (
        isinstance(error, OperationalError)
        or error.connection_invalidated
        or _database_code(error) in _TEMPORARY_ERRORS
    ):
        return _answer_database_outage(error)
    return _answer_unexpected(error)


def _answer_database_outage(exception: Exception) -> Response:
    # Only the database's code: the text may contain its address.
    _log.error("database_unavailable", cause=type(exception).__name__, code=_database_code(exception))
    response = _response(503, "temporarily_unavailable", "The database is temporarily unavailable.")
    response.headers["Retry-After"] = str(_RETRY_AFTER_SECONDS)
    return response


def _database_code(exception: Exception) -> str | None:
    """Return PostgreSQL's (`55P03`) or SQLite's (`SQLITE_FULL`) code of an error, None without one."""
    cause = getattr(exception, "orig", None)
    return getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None)


def _answer_unexpected(exception: Exception) -> Response:
    _log.exception("unexpected_error", exc_info=exception)
    return _response(500, *_HTTP_ERRORS[500])


def _response(status: int, error: str, detail: str, members: Mapping[str, Any] | None = None) -> Response:
    request.environ[ERROR_CODE] = error
    response = jsonify({**_problem(current_app, status, error, detail, request_id()), **(members or {})})
    response.status_code = status
    response.mimetype = "application/problem+json"
    return response


def _problem(app: Flask, status: int, error: str, detail: str, request_id: str) -> dict[str, Any]:
    kind = PROBLEM_TYPES.get(error)
    return {
        # RFC 9457 §4.2.1: with about:blank, the title is the status phrase.
        "type": f"{app.extensions[_BASE]}{kind.slug}" if kind else "about:blank",
        "title": kind.title if kind else HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        "error": error,
        "request_id": request_id,
    }
