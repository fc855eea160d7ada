"""Devices and readings → JSON, as the schemas dump them, in a fraction of the time: lists are asked for all the time.

A test holds each against its schema.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

from flask import Response

from .models import Device, Reading

_UTC_OFFSET_CHARS = len("+00:00")
# Half a kilobyte each.
_REMEMBERED_DEVICES = 4_096
_text = json.JSONEncoder().encode


# A device changes rarely and is shown often. All that is shown of it is in the key: nothing old comes out.
@lru_cache(maxsize=_REMEMBERED_DEVICES)
def device_json(device: Device) -> str:
    """Return what DeviceSchema dumps. Ids, kinds and statuses have no character that JSON would escape."""
    device_id, name, kind, model, location, status, created_at, last_seen_at, _ = device
    return (
        f'{{"id":"{device_id}","name":{_text(name)},"kind":"{kind}","model":{_text(model)},'
        f'"location":{_text(location)},"status":"{status}","created_at":{_timestamp(created_at)},'
        f'"last_seen_at":{"null" if last_seen_at is None else _timestamp(last_seen_at)}}}'
    )


def reading_json(reading: Reading) -> str:
    """Return what ReadingSchema dumps."""
    time, metric, value, unit = reading
    return f'{{"time":{_timestamp(time)},"metric":"{metric}","value":{value!r},"unit":{_text(unit)}}}'


def page(items: Iterable[str], next_cursor: str | None) -> Response:
    """Return the answer with a page of a list."""
    return document(f'{{"items":[{",".join(items)}],"next_cursor":{_text(next_cursor)}}}')


def document(text: str) -> Response:
    """Return the answer with one JSON value."""
    return Response(f"{text}\n", content_type="application/json")


def _timestamp(time: datetime) -> str:
    """Return RFC 3339 of a time in UTC, which those of the store all are."""
    return f'"{time.isoformat()[:-_UTC_OFFSET_CHARS]}Z"'
