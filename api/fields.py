"""Field types that marshmallow has in a laxer form: RFC 3339 times, and integers as the contract spells them."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from marshmallow import fields

# RFC 3339 §5.6. `fromisoformat` alone also takes week dates, missing offsets and more of ISO 8601.
_RFC3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_DECIMAL = re.compile(r"-?\d{1,18}", re.ASCII)


class Timestamp(fields.Field[datetime]):
    """A point in time as RFC 3339 spells it; UTC and `Z` on the way out."""

    default_error_messages = {"invalid": "Not an RFC 3339 time, such as 2026-11-21T10:00:00Z."}  # noqa: RUF012  # theirs

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
