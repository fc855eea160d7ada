"""The bodies and queries of the device routes, as the contract has them."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validates_schema
from marshmallow.validate import Length, OneOf, Range

from api.web.fields import Number, QueryInteger, Text, Timestamp

from .models import KINDS, METRICS, STATUSES, UNITS

DEFAULT_DEVICES = 20
MAX_DEVICES = 100
DEFAULT_READINGS = 100
MAX_READINGS = 1_000
MAX_BATCH = 1_000
MAX_CURSOR_CHARS = 200
MAX_TEXT_CHARS = 100
# Beyond what any of the metrics can be; a float keeps three decimals of it.
MAX_VALUE = 1e12


class DeviceSchema(Schema):
    """A device."""

    id = fields.String(required=True)
    name = Text(max_chars=MAX_TEXT_CHARS, required=True)
    kind = fields.String(required=True, validate=OneOf(KINDS))
    model = Text(max_chars=MAX_TEXT_CHARS, required=True)
    location = Text(max_chars=MAX_TEXT_CHARS, required=True, allow_none=True)
    status = fields.String(required=True, validate=OneOf(STATUSES))
    created_at = Timestamp(required=True)
    last_seen_at = Timestamp(required=True, allow_none=True)


class NewDeviceSchema(Schema):
    """What a caller says of a device that it registers; the rest is the server's to say."""

    name = Text(max_chars=MAX_TEXT_CHARS, required=True)
    kind = fields.String(required=True, validate=OneOf(KINDS))
    model = Text(max_chars=MAX_TEXT_CHARS, required=True)
    location = Text(max_chars=MAX_TEXT_CHARS, allow_none=True)
    status = fields.String(validate=OneOf(STATUSES))


class DeviceChangesSchema(Schema):
    """A merge patch of a device (RFC 7396): what is absent stays, and null takes away what may be missing."""

    name = Text(max_chars=MAX_TEXT_CHARS)
    kind = fields.String(validate=OneOf(KINDS))
    model = Text(max_chars=MAX_TEXT_CHARS)
    location = Text(max_chars=MAX_TEXT_CHARS, allow_none=True)
    status = fields.String(validate=OneOf(STATUSES))


class DeviceListSchema(Schema):
    """A page of devices; `next_cursor` is null on the last one."""

    items = fields.List(fields.Nested(DeviceSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class ReadingSchema(Schema):
    """A reading: the same for reading and for writing."""

    time = Timestamp(required=True)
    metric = fields.String(required=True, validate=OneOf(METRICS))
    value = Number(required=True, validate=Range(-MAX_VALUE, MAX_VALUE))
    unit = fields.String(required=True, validate=OneOf(UNITS))

    @validates_schema
    def check_unit(self, data: dict[str, Any], **_kwargs: Any) -> None:
        """Refuse another unit than the metric's own: readings that cannot be compared are worth little."""
        if data["unit"] != METRICS[data["metric"]]:
            raise ValidationError("Not the unit of this metric.", "unit")


class ReadingListSchema(Schema):
    """A page of readings; `next_cursor` is null on the last one."""

    items = fields.List(fields.Nested(ReadingSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class ReadingBatchSchema(Schema):
    """Readings to add, all or none."""

    readings = fields.List(fields.Nested(ReadingSchema), required=True, validate=Length(1, MAX_BATCH))

    @validates_schema
    def check_agreement(self, data: dict[str, Any], **_kwargs: Any) -> None:
        """Refuse two values for one metric at one time; the same reading twice is harmless."""
        values: dict[tuple[Any, str], float] = {}
        wrong: dict[int, dict[str, list[str]]] = {}
        for number, one in enumerate(data["readings"]):
            if values.setdefault((one["time"], one["metric"]), one["value"]) != one["value"]:
                wrong[number] = {"value": ["Contradicts an earlier reading of this batch."]}
        if wrong:
            raise ValidationError({"readings": wrong})


class ReadingBatchResultSchema(Schema):
    """What became of a batch: how many readings are new, and how many were there already."""

    added = fields.Integer(required=True, validate=Range(0, MAX_BATCH))
    known = fields.Integer(required=True, validate=Range(0, MAX_BATCH))


class DevicesQuery(Schema):
    """Which devices."""

    limit = QueryInteger(load_default=DEFAULT_DEVICES, validate=Range(1, MAX_DEVICES))
    cursor = fields.String(load_default=None, allow_none=False, validate=Length(1, MAX_CURSOR_CHARS))
    kind = fields.String(load_default=None, allow_none=False, validate=OneOf(KINDS))
    status = fields.String(load_default=None, allow_none=False, validate=OneOf(STATUSES))


class ReadingsQuery(Schema):
    """Which readings: from `from` on, and before `to`."""

    limit = QueryInteger(load_default=DEFAULT_READINGS, validate=Range(1, MAX_READINGS))
    cursor = fields.String(load_default=None, allow_none=False, validate=Length(1, MAX_CURSOR_CHARS))
    start = Timestamp(data_key="from", load_default=None, allow_none=False)
    end = Timestamp(data_key="to", load_default=None, allow_none=False)
