"""Exception → response: RFC 9457 problem details, the one place where it happens."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, current_app, jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException

from api.auth import Auth, AuthError
from api.request_id import request_id

from .catalogue import PROBLEM_TYPES
from .problem import Problem

_log = structlog.stdlib.get_logger()

# What the framework refuses, as the contract names it and in our words: Werkzeug's would come in HTML.
_HTTP_ERRORS = {
    400: ("invalid_request", "The request cannot be understood."),
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take this method."),
    413: ("content_too_large", "The body is larger than this API reads."),
    414: ("http_error", "The address is longer than this API reads."),
    415: ("unsupported_media_type", "The body must be JSON."),
    431: ("http_error", "The headers are larger than this API reads."),
    500: ("internal_error", "Something went wrong here; the request id helps us to find out what."),
}
# PostgreSQL's codes for what ends without a new version of this code: a table or a column that `device-api db upgrade`
# has yet to make, and a server that only reads, as after a failover.
_PASSING = frozenset({"42P01", "42703", "25006"})
# A database that restarts is back within seconds.
_RETRY_AFTER_SECONDS = 2
_UNNAMED_ERROR = ("http_error", "The request cannot be answered.")
_BASE = "problem_base"


def init_app(app: Flask, auth: Auth, *, public_url: str | None = None) -> None:
    """Answer every exception on `app` with a problem; after `auth.init_app`, whose plainer answers this replaces.

    `public_url` is the API's address as clients know it; without it, problems name their pages by a path alone.
    """
    app.extensions[_BASE] = f"{(public_url or '').rstrip('/')}/problems/"

    def answer_auth_error(error: AuthError) -> Response:
        response = _response(error.status, error.error or "missing_credentials", error.detail)
        response.headers.update(auth.headers(error))
        return response

    app.register_error_handler(AuthError, answer_auth_error)
    app.register_error_handler(Problem, _answer_problem)
    app.register_error_handler(DBAPIError, _answer_database_error)
    app.register_error_handler(PoolTimeoutError, _answer_database_outage)
    app.register_error_handler(HTTPException, _answer_http_exception)
    app.register_error_handler(Exception, _answer_unexpected)


def http_problem(app: Flask, status: int, request_id: str) -> dict[str, Any]:
    """Return the problem of a request that never reached `app`: what the server refuses by itself."""
    error, detail = _HTTP_ERRORS.get(status, _UNNAMED_ERROR)
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
        return exception  # a redirect is complete as it is
    error, detail = _HTTP_ERRORS.get(status, _UNNAMED_ERROR)
    response = _response(status, error, detail)
    # Allow, Retry-After and their like; the content's own headers are of the page that this replaces.
    for name, value in exception.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            response.headers[name] = value
    return response


def _answer_database_error(error: DBAPIError) -> Response:
    if isinstance(error, OperationalError) or error.connection_invalidated or _database_code(error) in _PASSING:
        return _answer_database_outage(error)
    return _answer_unexpected(error)


def _answer_database_outage(exception: Exception) -> Response:
    # The code, where the database gave one: the text may hold its address.
    _log.error("database_unavailable", cause=type(exception).__name__, code=_database_code(exception))
    response = _response(503, "temporarily_unavailable", "The database cannot be used at the moment.")
    response.headers["Retry-After"] = str(_RETRY_AFTER_SECONDS)
    return response


def _database_code(exception: Exception) -> str | None:
    """Return what PostgreSQL (`55P03`) or SQLite (`SQLITE_FULL`) calls an error."""
    cause = getattr(exception, "orig", None)
    return getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None)


def _answer_unexpected(exception: Exception) -> Response:
    _log.exception("unexpected_error", exc_info=exception)
    return _response(500, *_HTTP_ERRORS[500])


def _response(status: int, error: str, detail: str, members: Mapping[str, Any] | None = None) -> Response:
    response = jsonify({**_problem(current_app, status, error, detail, request_id()), **(members or {})})
    response.status_code = status
    response.mimetype = "application/problem+json"
    return response


def _problem(app: Flask, status: int, error: str, detail: str, request_id: str) -> dict[str, Any]:
    kind = PROBLEM_TYPES.get(error)
    return {
        # RFC 9457 §4.2.1: without a page of its own, the title is the status's phrase.
        "type": f"{app.extensions[_BASE]}{kind.slug}" if kind else "about:blank",
        "title": kind.title if kind else HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        "error": error,
        "request_id": request_id,
    }
