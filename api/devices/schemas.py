"""The schemas of the device routes' bodies and queries; tests compare them with openapi.yaml."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validates_schema
from marshmallow.validate import Length, OneOf, Range

from api.web.body import BodySchema, Items
from api.web.fields import Number, QueryInteger, Text, Timestamp

from .models import KINDS, METRICS, STATUSES, UNITS

DEFAULT_DEVICES = 20
MAX_DEVICES = 100
DEFAULT_READINGS = 100
MAX_READINGS = 1_000
MAX_BATCH = 1_000
MAX_CURSOR_CHARS = 200
MAX_TEXT_CHARS = 100
# BodySchema.max_punctuation. A device has a bracket, four commas between members, and three texts of commas at most.
# A batch has two brackets; a reading one, and four commas. Twice as much, so that a body that is only somewhat too long
# gets messages about its members.
_MAX_DEVICE_PUNCTUATION = 2 * (5 + 3 * MAX_TEXT_CHARS)
_MAX_BATCH_PUNCTUATION = 2 * (2 + 5 * MAX_BATCH)
# Larger than any real value of these metrics; at this size a float still has three decimals.
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


class NewDeviceSchema(BodySchema):
    """The body that registers a device."""

    max_punctuation = _MAX_DEVICE_PUNCTUATION

    name = Text(max_chars=MAX_TEXT_CHARS, required=True)
    kind = fields.String(required=True, validate=OneOf(KINDS))
    model = Text(max_chars=MAX_TEXT_CHARS, required=True)
    location = Text(max_chars=MAX_TEXT_CHARS, allow_none=True)
    status = fields.String(validate=OneOf(STATUSES))


class DeviceChangesSchema(BodySchema):
    """A merge patch of a device (RFC 7396): absent members stay unchanged, and null removes `location`."""

    max_punctuation = _MAX_DEVICE_PUNCTUATION

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
    """A reading, in answers and in batches."""

    time = Timestamp(required=True)
    metric = fields.String(required=True, validate=OneOf(METRICS))
    value = Number(required=True, validate=Range(-MAX_VALUE, MAX_VALUE))
    unit = fields.String(required=True, validate=OneOf(UNITS))

    @validates_schema
    def check_unit(self, data: dict[str, Any], **_kwargs: Any) -> None:
        """Raise ValidationError unless the unit is the metric's own: readings of a metric must be comparable."""
        if data["unit"] != METRICS[data["metric"]]:
            raise ValidationError("Not the unit of this metric.", "unit")


class ReadingListSchema(Schema):
    """A page of readings; `next_cursor` is null on the last one."""

    items = fields.List(fields.Nested(ReadingSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class ReadingBatchSchema(BodySchema):
    """The body that adds readings, all or none."""

    max_punctuation = _MAX_BATCH_PUNCTUATION
    readings = Items(fields.Nested(ReadingSchema), required=True, validate=Length(1, MAX_BATCH))

    @validates_schema
    def check_contradictions(self, data: dict[str, Any], **_kwargs: Any) -> None:
        """Raise ValidationError for two values of one metric at one time; an exact repetition is allowed."""
        values: dict[tuple[Any, str], float] = {}
        wrong: dict[int, dict[str, list[str]]] = {}
        for number, reading in enumerate(data["readings"]):
            if values.setdefault((reading["time"], reading["metric"]), reading["value"]) != reading["value"]:
                wrong[number] = {"value": ["Contradicts an earlier reading of this batch."]}
        if wrong:
            raise ValidationError({"readings": wrong})


class ReadingBatchResultSchema(Schema):
    """The result of a batch: how many readings were new, and how many already existed."""

    added = fields.Integer(required=True, validate=Range(0, MAX_BATCH))
    known = fields.Integer(required=True, validate=Range(0, MAX_BATCH))


class DevicesQuery(Schema):
    """The query of a list of devices."""

    limit = QueryInteger(load_default=DEFAULT_DEVICES, validate=Range(1, MAX_DEVICES))
    cursor = fields.String(load_default=None, allow_none=False, validate=Length(1, MAX_CURSOR_CHARS))
    kind = fields.String(load_default=None, allow_none=False, validate=OneOf(KINDS))
    status = fields.String(load_default=None, allow_none=False, validate=OneOf(STATUSES))


class ReadingsQuery(Schema):
    """The query of a list of readings, with times in [from, to)."""

    limit = QueryInteger(load_default=DEFAULT_READINGS, validate=Range(1, MAX_READINGS))
    cursor = fields.String(load_default=None, allow_none=False, validate=Length(1, MAX_CURSOR_CHARS))
    start = Timestamp(data_key="from", load_default=None, allow_none=False)
    end = Timestamp(data_key="to", load_default=None, allow_none=False)
