"""Events and `logging` records → lines of JSON, one object per line, in ASCII."""

import json
import logging
import os
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from flask import has_request_context

from api.request_id import request_id

# json.dumps makes an encoder for each call with a `default`.
_encode = json.JSONEncoder(default=repr).encode
# There are few routes.
_encode_route = lru_cache(maxsize=256)(_encode)


@lru_cache(maxsize=1)
def _date_and_time(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")


def _timestamp() -> str:
    """Return the present time (RFC 3339). `isoformat` for each line would take half of what a line costs."""
    second, microseconds = divmod(time.time_ns() // 1_000, 1_000_000)
    return f"{_date_and_time(second)}.{microseconds:06}+00:00"


def json_line(event: str, level: str, members: Mapping[str, Any]) -> str:
    """Return an event as a line, with the time, the process id and `members`, which are already free of secrets."""
    return _encode({"timestamp": _timestamp(), "level": level, "event": event, "pid": os.getpid(), **members}) + "\n"


def request_line(
    level: str,
    *,
    request_id: str,
    method: str,
    route: str | None,
    status: int,
    duration_ms: float,
    more: Mapping[str, Any] | None,
) -> str:
    """Return the line of a request: as `json_line` does, but in half the time, which is 3 % of GET /v1/me.

    `request_id` and `method` must need no escaping.
    """
    end = f", {_encode(more)[1:]}\n" if more else "}\n"
    return (
        f'{{"timestamp": "{_timestamp()}", "level": "{level}", "event": "request", "pid": {os.getpid()}, '
        f'"request_id": "{request_id}", "method": "{method}", "route": {_encode_route(route)}, "status": {status}, '
        f'"duration_ms": {duration_ms}{end}'
    )


def current_request() -> dict[str, str]:
    """Return the member that tells which request a line belongs to; none outside of requests."""
    return {"request_id": request_id()} if has_request_context() else {}


class RecordFormatter(logging.Formatter):
    """Return the line of a `logging` record, without the line break: the event is `library`."""

    event = "library"

    def format(self, record: logging.LogRecord) -> str:
        """Return a JSON object with the message and, for an exception, the traceback."""
        members = {"logger": record.name, "message": _message(record), **current_request()}
        if record.exc_info and record.exc_info[1]:
            members["exception"] = self.traceback_of(record.exc_info[1])
        return json_line(self.event, record.levelname.lower(), members).rstrip("\n")

    def traceback_of(self, error: BaseException) -> str:
        """Return the traceback, as Python prints it."""
        return "".join(traceback.format_exception(error)).rstrip("\n")


class ServerFormatter(RecordFormatter):
    """The same for a record of the server: the event is `server`."""

    event = "server"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage().strip()
    except (KeyError, TypeError, ValueError):  # the arguments do not fit the text
        return str(record.msg)
