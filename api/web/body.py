"""Body of a request → validated members: JSON read strictly, and each wrong member named with its reasons."""

from collections.abc import Iterator, Sequence
from typing import Any

from flask import request
from marshmallow import Schema, ValidationError
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from api.auth.strict_json import parse_object
from api.problems.problem import Problem

JSON = ("application/json",)
MERGE_PATCH = ("application/merge-patch+json", "application/json")
"""A patch's own media type (RFC 7396 §4), and what many clients send for it."""

_UNKNOWN_MEMBER = [Schema().error_messages["unknown"]]
# Whoever gets a thousand readings wrong got one thing wrong, and need not be told so a thousand times.
_MAX_ERRORS = 100
# A client's own names come back to it in `errors`; one as long as the body would not help it.
_MAX_NAME_CHARS = 100


def read_body(schema: Schema, media_types: Sequence[str] = JSON) -> dict[str, Any]:
    """Return what the current request's body says, as `schema` loads it.

    Raises Problem: 415 for another media type, 400 for a body that is no JSON object or could be read in two ways
    (RFC 8259 §4, RFC 7493), 422 for members that are wrong. Werkzeug's 413 passes through.
    """
    if request.mimetype not in media_types or request.headers.get("Content-Encoding", "identity") != "identity":
        # RFC 9110 §12.5.1 and §12.5.3 and RFC 5789 §3.1 name the headers that say what would have been taken.
        name = "Accept-Patch" if request.method == "PATCH" else "Accept"
        headers = {name: ", ".join(media_types), "Accept-Encoding": "identity"}
        raise Problem(415, "unsupported_media_type", f"The body must be plain {media_types[0]}.", headers=headers)
    try:
        members = parse_object(_bytes())
    except ValueError as exc:
        raise Problem(
            400, "invalid_request", "The body is not one JSON object in UTF-8 without duplicate members."
        ) from exc
    try:
        loaded: dict[str, Any] = schema.load(members)
    except ValidationError as error:
        raise invalid_members(error.normalized_messages()) from error  # type: ignore[no-untyped-call]  # theirs
    return loaded


def invalid_members(messages: Any) -> Problem:
    """Return the problem of members that are wrong; `messages` nests as the body does, as marshmallow's do."""
    errors: dict[str, list[str]] = {}
    for path, texts in _by_path(messages):
        if len(errors) == _MAX_ERRORS:
            break
        errors[path] = texts
    return Problem(422, "validation_failed", "The body has members that are wrong.", errors=errors)


def _by_path(messages: Any, prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    if isinstance(messages, list):
        yield prefix, messages
        return
    for name, below in messages.items():
        # What is wrong with an object as a whole is filed under a name of marshmallow's; a client's own member of that
        # name is an unknown one.
        whole = name == "_schema" and below != _UNKNOWN_MEMBER
        step = "" if whole else str(name)[:_MAX_NAME_CHARS]
        yield from _by_path(below, f"{prefix}.{step}" if prefix and step else prefix or step)


def _bytes() -> bytes:
    try:
        body = request.get_data(cache=False)
        # Of a chunked body beyond the limit, Werkzeug gives the beginning as if that were all.
        may_go_on = request.content_length is None and len(body) == request.max_content_length
        goes_on = may_go_on and request.environ["wsgi.input"].read(1)
    except HTTPException:
        raise
    except Exception as exc:  # a broken body makes each server raise errors of its own
        raise ValueError("cannot be read") from exc
    if goes_on:
        raise RequestEntityTooLarge
    return body
