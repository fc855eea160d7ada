"""Stricter marshmallow fields: times, numbers and texts in the formats of the contract."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from marshmallow import fields
from marshmallow.validate import Length, Regexp

# RFC 3339 §5.6. `fromisoformat` alone also accepts week dates, missing offsets and more of ISO 8601.
_RFC3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
# Without control characters (Unicode category Cc): PostgreSQL cannot store NUL, and terminals interpret others. Without
# format characters (Cf) and line separators (Zl, Zp): they make two names look the same, and U+202E reverses text. The
# joiners U+200C and U+200D are allowed: Persian, Indic scripts and emoji need them. (U+FE0F is not in Cf.)
_VISIBLE = re.compile(
    r"[^\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u180e\u200b\u200e-\u200f\u2028-\u202e"
    r"\u2060-\u206f\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]*\Z"
)
_DECIMAL = re.compile(r"-?\d{1,18}", re.ASCII)


class Timestamp(fields.Field[datetime]):
    """A time in RFC 3339 §5.6; dumped in UTC with `Z`."""

    default_error_messages = {"invalid": "Not an RFC 3339 time to the microsecond, such as 2026-11-21T10:00:00Z."}  # noqa: RUF012  # marshmallow's class attribute

    def _serialize(self, value: datetime | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        if value is None:
            return None
        return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> datetime:
        if not isinstance(value, str) or _RFC3339.fullmatch(value) is None:
            raise self.make_error("invalid")
        try:
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError) as exc:  # such as February 30th, or an offset that leads beyond year 9999
            raise self.make_error("invalid") from exc


class QueryInteger(fields.Integer):
    """A decimal integer in a query, of ASCII digits: `int` also accepts `1_0` and digits of other scripts."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        if not isinstance(value, str) or _DECIMAL.fullmatch(value) is None:
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)


class Number(fields.Field[float]):
    """A finite JSON number; no string and no boolean."""

    default_error_messages = {"invalid": "Not a number."}  # noqa: RUF012  # marshmallow's class attribute

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
    """A text of 1 to `max_chars` characters without control and invisible characters, except the joiners."""

    def __init__(self, *, max_chars: int, **kwargs: Any) -> None:
        visible = Regexp(_VISIBLE, error="Must not contain control characters or invisible ones, such as U+200B.")
        super().__init__(validate=[Length(1, max_chars), visible], **kwargs)
