"""/v1/devices: the caller's devices and what they measured."""

import re
from datetime import datetime
from typing import cast

from flask import Blueprint, Response, current_app, jsonify

from api.arguments import query_arguments
from api.auth import current_token, require_auth
from api.caching import keep_private
from api.problems import Problem

from .cursors import Position, decode_cursor, encode_cursor
from .models import Device, Owner
from .schemas import DeviceListSchema, DeviceSchema, DevicesQuery, ReadingListSchema, ReadingsQuery
from .store import DeviceStore

devices = Blueprint("devices", __name__, url_prefix="/v1/devices")
devices.after_request(keep_private)

# Anything else is nobody's id, and no text for a database.
_DEVICE_ID = re.compile(r"dev_[0-9a-f]{20}", re.ASCII)

_device = DeviceSchema()
_device_list = DeviceListSchema()
_reading_list = ReadingListSchema()


@devices.get("")
@require_auth("read:devices")
@query_arguments(DevicesQuery, location="query")
def list_devices(limit: int, cursor: str | None, kind: str | None, status: str | None) -> Response:
    """Answer with a page of the caller's devices, the oldest first."""
    after = None if cursor is None else decode_cursor("devices", cursor)
    # One more than asked tells whether there is a next page.
    found = _store().list_devices(_caller(), kind=kind, status=status, after=after, limit=limit + 1)
    items = found[:limit]
    next_cursor = None
    if len(found) > limit:
        next_cursor = encode_cursor("devices", Position(items[-1].created_at, items[-1].id))
    return jsonify(_device_list.dump({"items": items, "next_cursor": next_cursor}))


@devices.get("/<device_id>")
@require_auth("read:devices")
@query_arguments({}, location="query")
def get_device(device_id: str) -> Response:
    """Answer with one of the caller's devices."""
    return jsonify(_device.dump(_device_or_404(device_id)))


@devices.get("/<device_id>/readings")
@require_auth("read:readings")
@query_arguments(ReadingsQuery, location="query")
def list_readings(
    device_id: str, limit: int, cursor: str | None, start: datetime | None, end: datetime | None
) -> Response:
    """Answer with a page of a device's readings, the newest first."""
    after = None if cursor is None else decode_cursor("readings", cursor)
    device = _device_or_404(device_id)
    found = _store().list_readings(device, start=start, end=end, after=after, limit=limit + 1)
    items = found[:limit]
    next_cursor = None
    if len(found) > limit:
        next_cursor = encode_cursor("readings", Position(items[-1].time, items[-1].metric))
    return jsonify(_reading_list.dump({"items": items, "next_cursor": next_cursor}))


def _store() -> DeviceStore:
    return cast("DeviceStore", current_app.extensions["device_store"])


def _caller() -> Owner:
    return Owner(current_token.issuer, current_token.subject)


def _device_or_404(device_id: str) -> Device:
    device = _store().get_device(_caller(), device_id) if _DEVICE_ID.fullmatch(device_id) else None
    if device is None:
        raise Problem(404, "not_found", "You have no device of this id.")
    return device
