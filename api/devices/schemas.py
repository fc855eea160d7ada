"""The bodies and queries of the device routes, as the contract has them."""

from marshmallow import Schema, fields
from marshmallow.validate import Length, OneOf, Range

from api.fields import QueryInteger, Timestamp

from .models import KINDS, METRICS, STATUSES

DEFAULT_DEVICES = 20
MAX_DEVICES = 100
DEFAULT_READINGS = 100
MAX_READINGS = 1_000
MAX_CURSOR_CHARS = 200


class DeviceSchema(Schema):
    """A device."""

    id = fields.String(required=True)
    name = fields.String(required=True)
    kind = fields.String(required=True, validate=OneOf(KINDS))
    model = fields.String(required=True)
    location = fields.String(required=True, allow_none=True)
    status = fields.String(required=True, validate=OneOf(STATUSES))
    created_at = Timestamp(required=True)
    last_seen_at = Timestamp(required=True, allow_none=True)


class DeviceListSchema(Schema):
    """A page of devices; `next_cursor` is null on the last one."""

    items = fields.List(fields.Nested(DeviceSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class ReadingSchema(Schema):
    """A reading."""

    time = Timestamp(required=True)
    metric = fields.String(required=True, validate=OneOf(METRICS))
    value = fields.Float(required=True)
    unit = fields.String(required=True)


class ReadingListSchema(Schema):
    """A page of readings; `next_cursor` is null on the last one."""

    items = fields.List(fields.Nested(ReadingSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


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
