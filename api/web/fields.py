"""Field types that marshmallow has in a laxer form: times, numbers and texts as the contract spells them."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from marshmallow import fields
from marshmallow.validate import Length, Regexp

# RFC 3339 §5.6. `fromisoformat` alone also takes week dates, missing offsets and more of ISO 8601.
_RFC3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
# Control characters (Unicode's Cc): nothing that a screen shows, and NUL is no text for PostgreSQL.
_NO_CONTROLS = re.compile(r"[^\x00-\x1f\x7f-\x9f]*\Z")
_DECIMAL = re.compile(r"-?\d{1,18}", re.ASCII)


class Timestamp(fields.Field[datetime]):
    """A point in time as RFC 3339 spells it; UTC and `Z` on the way out."""

    default_error_messages = {"invalid": "Not an RFC 3339 time to the microsecond, such as 2026-11-21T10:00:00Z."}  # noqa: RUF012  # theirs

    def _serialize(self, value: datetime | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        if value is None:
            return None
        return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> datetime:
        if not isinstance(value, str) or _RFC3339.fullmatch(value) is None:
            raise self.make_error("invalid")
        try:
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError) as exc:  # February 30th; an offset that leads out of the calendar
            raise self.make_error("invalid") from exc


class QueryInteger(fields.Integer):
    """A decimal integer in a query: ASCII digits alone, where `int` also takes `1_0` and other scripts' digits."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        if not isinstance(value, str) or _DECIMAL.fullmatch(value) is None:
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)


class Number(fields.Field[float]):
    """A finite JSON number: no text that spells one, and no boolean."""

    default_error_messages = {"invalid": "Not a number."}  # noqa: RUF012  # theirs

    def _serialize(self, value: float | None, attr: str | None, obj: Any, **kwargs: Any) -> float | None:
        return value

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> float:
        if type(value) not in {int, float}:
            raise self.make_error("invalid")
        try:
            number = float(value)
        except OverflowError as exc:
            raise self.make_error("invalid") from exc
        if not math.isfinite(number):
            raise self.make_error("invalid")
        return number


class Text(fields.String):
    """A text of some length, counted in characters, without control characters."""

    def __init__(self, *, max_chars: int, **kwargs: Any) -> None:
        no_controls = Regexp(_NO_CONTROLS, error="Must not have control characters.")
        super().__init__(validate=[Length(1, max_chars), no_controls], **kwargs)
