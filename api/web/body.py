"""Parse and validate JSON bodies strictly; name each invalid member with the reasons."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from json import JSONDecodeError
from typing import Any, ClassVar

from flask import request
from marshmallow import Schema, ValidationError, fields
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from api.auth.strict_json import WHITE_SPACE, parse_object
from api.problems.problem import Problem

JSON = ("application/json",)
MERGE_PATCH = ("application/merge-patch+json", "application/json")
"""The media type of merge patches (RFC 7396 §4), and the one that many clients send instead."""

_UNKNOWN_MEMBER = [Schema().error_messages["unknown"]]
# A batch of a thousand invalid readings usually has one cause: more messages would not help, and each costs time.
_MAX_ERRORS = 20
# `errors` repeats the names of unknown members, which may be as long as the body.
_MAX_NAME_CHARS = 100


class BodySchema(Schema):
    """A schema of bodies. `max_punctuation` limits the commas and opening brackets of a body before it is parsed.

    Each item, member and level of a JSON text needs a comma or an opening bracket, so their number limits the time and
    the memory that parsing takes. Those within strings count too, so that counting is cheap: `max_punctuation` must be
    at least what a valid body can have with all its texts full of commas.
    """

    max_punctuation: ClassVar[int]


class Items(fields.List[dict[str, Any]]):
    """A list of `Nested` objects; runs its validators (Length) before it loads any item, and stops at 20 wrong ones."""

    inner: fields.Nested

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> list[Any]:  # noqa: ARG002  # marshmallow's signature
        if not isinstance(value, list):
            raise self.make_error("invalid")
        self._validate(value)
        schema = self.inner.schema
        loaded, errors = [], {}
        for number, item in enumerate(value):
            try:
                loaded.append(self.inner.deserialize(_shortened(schema, item), **kwargs))
            except ValidationError as error:
                errors[number] = error.messages
                if len(errors) == _MAX_ERRORS:
                    break
        if errors:
            raise ValidationError(errors)
        return loaded


def read_body(schema: BodySchema, media_types: Sequence[str] = JSON) -> dict[str, Any]:
    """Return the current request's body as `schema` loads it.

    Raises Problem: 415 for another media type, 400 for a body that is not one JSON object, is ambiguous, such as one
    with duplicate members (RFC 8259 §4, RFC 7493 §2.3), or has more than the schema's `max_punctuation`, 422 for
    invalid members. Raises Werkzeug's RequestEntityTooLarge (413) for a body of more than MAX_CONTENT_LENGTH bytes.
    """
    if request.mimetype not in media_types or request.headers.get("Content-Encoding", "identity") != "identity":
        # RFC 9110 §12.5.1 and §12.5.3, RFC 5789 §3.1: these headers list what is supported.
        name = "Accept-Patch" if request.method == "PATCH" else "Accept"
        headers = {name: ", ".join(media_types), "Accept-Encoding": "identity"}
        raise Problem(
            415, "unsupported_media_type", f"The body must be uncompressed {media_types[0]}.", headers=headers
        )
    unverified_body = b""
    try:
        unverified_body = _body_bytes()
        if _punctuation(unverified_body) > schema.max_punctuation:
            raise Problem(
                400, "invalid_request", "The body has more members, items or nested values than this request can have."
            )
        members = parse_object(unverified_body)
    except ValueError as exc:
        raise Problem(400, "invalid_request", _what_is_wrong(unverified_body, exc)) from exc
    try:
        loaded: dict[str, Any] = schema.load(_shortened(schema, members))
    except ValidationError as error:
        raise _invalid_members(error.normalized_messages()) from error  # type: ignore[no-untyped-call]  # no types
    return loaded


def _what_is_wrong(unverified_body: bytes, error: ValueError) -> str:
    """Return why a body is refused, with the place where one is known, and with nothing of the body."""
    if isinstance(error, UnicodeDecodeError):
        return f"The body is not UTF-8 ({_place(unverified_body[: error.start].decode())})."
    if isinstance(error, JSONDecodeError):
        text = unverified_body.decode()
        # The position counts from the first character that is not white space.
        start = len(text) - len(text.lstrip(WHITE_SPACE))
        return f"The body is not valid JSON ({_place(text[: start + error.pos])})."
    return "The body must be one JSON object in UTF-8, without duplicate members and without NaN or Infinity."


def _place(before: str) -> str:
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return f"line {line}, column {column}"


def _punctuation(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def _shortened(schema: Schema, unverified: Any) -> Any:
    """Return a value for `schema` to load: an object with many unknown members keeps as many as are reported."""
    if not isinstance(unverified, dict) or len(unverified) <= len(schema.fields) + _MAX_ERRORS:
        return unverified
    known = {name: value for name, value in unverified.items() if name in schema.fields}
    unknown = islice((name for name in unverified if name not in known), _MAX_ERRORS)
    return known | dict.fromkeys(unknown)


def _invalid_members(messages: Any) -> Problem:
    """Return the problem for invalid members; `messages` are marshmallow's, nested as the body is."""
    errors: dict[str, list[str]] = {}
    for path, texts in _by_path(messages):
        if len(errors) == _MAX_ERRORS:
            break
        errors[path] = texts
    return Problem(422, "validation_failed", "The body has invalid members.", errors=errors)


def _by_path(messages: Any, prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    if isinstance(messages, list):
        yield prefix, messages
        return
    for name, nested in messages.items():
        # marshmallow reports errors of a whole object as "_schema"; a client's member of that name is an unknown one.
        is_whole_object = name == "_schema" and nested != _UNKNOWN_MEMBER
        step = "" if is_whole_object else str(name)[:_MAX_NAME_CHARS]
        yield from _by_path(nested, f"{prefix}.{step}" if prefix and step else prefix or step)


def _body_bytes() -> bytes:
    try:
        body = request.get_data(cache=False)
        # Werkzeug truncates a chunked body at the limit without an error.
        may_be_truncated = request.content_length is None and len(body) == request.max_content_length
        is_truncated = may_be_truncated and request.environ["wsgi.input"].read(1)
    except HTTPException:
        raise
    except Exception as exc:  # every server raises its own errors for a malformed body
        raise ValueError("malformed body") from exc
    if is_truncated:
        raise RequestEntityTooLarge
    return body
