"""Query of a request → validated arguments; what the contract does not name is an error, not silence."""

from collections.abc import Mapping
from typing import Any, NoReturn

from flask import Request
from marshmallow import RAISE, Schema, ValidationError
from webargs.flaskparser import FlaskParser

from .problems import Problem


class _Parser(FlaskParser):
    # webargs passes unknown query parameters over unless told otherwise.
    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = {**FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION, "query": RAISE}  # noqa: RUF012  # theirs

    def load_querystring(self, req: Request, schema: Schema) -> Any:
        repeated = [name for name, values in req.args.lists() if len(values) > 1]
        if repeated:
            raise ValidationError({name: ["Given more than once."] for name in repeated})
        return super().load_querystring(req, schema)

    def handle_error(
        self,
        error: ValidationError,
        req: Request,
        schema: Schema,
        *,
        error_status_code: int | None,
        error_headers: Mapping[str, str] | None,
    ) -> NoReturn:
        raise Problem(400, "invalid_request", "A query parameter is wrong.", errors=_by_field(error)) from error


def _by_field(error: ValidationError) -> dict[str, list[str]]:
    """Return the messages for each field; webargs files them under the place that they were found in."""
    messages: dict[str, Any] = error.normalized_messages()  # type: ignore[no-untyped-call]  # theirs
    found = messages.get("query", messages)
    return {str(name): list(texts) for name, texts in found.items()}


_parser = _Parser()
query_arguments = _parser.use_kwargs
