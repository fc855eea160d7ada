"""/v1/devices: the caller's devices and their readings."""

import re
from datetime import datetime
from typing import cast

from flask import Blueprint, Response, current_app, jsonify, request, url_for

from api.auth import AccessToken, require_auth
from api.auth.flask.current import current_application, current_request
from api.devices.storage.store import DeviceStore, IdempotencyKeyReused, VersionMismatch
from api.problems.problem import Problem
from api.web.body import MERGE_PATCH, read_body
from api.web.caller import callers_token
from api.web.conditions import if_match_versions, keep_private, read_condition, set_validator
from api.web.json_response import json_response
from api.web.query import no_query, query_arguments

from .cursors import Listing, Position, decode_cursor, encode_cursor
from .idempotency import parse_idempotency_key
from .models import Device, Everyone, NewDevice, OwnerScope, Reading
from .ownership import READ_ALL, owner_of, readable_owners
from .representations import device_json, page_response, reading_json
from .schemas import DeviceChangesSchema, DevicesQuery, NewDeviceSchema, ReadingBatchSchema, ReadingsQuery

devices = Blueprint("devices", __name__, url_prefix="/v1/devices")


@devices.after_request
def set_common_headers(response: Response) -> Response:
    """Set the cache headers; list the patch formats in responses to OPTIONS (RFC 5789 §3.1)."""
    if current_request().method == "OPTIONS" and "PATCH" in response.allow:
        response.headers["Accept-Patch"] = ", ".join(MERGE_PATCH)
    return keep_private(response)


# Other ids cannot exist, and PostgreSQL rejects some of them, such as those with NUL.
_DEVICE_ID = re.compile(r"dev_[0-9a-f]{20}", re.ASCII)

_new_device = NewDeviceSchema()
_device_changes = DeviceChangesSchema()
_reading_batch = ReadingBatchSchema()


@devices.get("")
@require_auth(any_of=("read:devices", READ_ALL))
@query_arguments(DevicesQuery())
def list_devices(limit: int, cursor: str | None, kind: str | None, status: str | None) -> Response:
    """Return a page of the devices that the caller may read, the oldest first."""
    token = callers_token()
    owner_scope = readable_owners(token)
    listing = _listing("devices", token, owner_scope, None, (kind, status))
    # One more than `limit`, to see whether there is a next page.
    found = _store().list_devices(
        owner_scope, kind=kind, status=status, after=_position(listing, cursor), limit=limit + 1
    )
    items = found[:limit]
    next_cursor = _cursor(listing, items[-1].created_at, items[-1].id) if len(found) > limit else None
    return page_response(map(device_json, items), next_cursor)


@devices.post("")
@require_auth("write:devices")
@no_query
def create_device() -> Response:
    """Register a device of the caller; a repeated request with the same Idempotency-Key returns the same device."""
    body = read_body(_new_device)
    idempotency_key = parse_idempotency_key(request.headers.get("Idempotency-Key"), body)
    try:
        device = _store().create_device(owner_of(callers_token()), NewDevice(**body), idempotency_key)
    except IdempotencyKeyReused as exc:
        raise Problem(
            422, "idempotency_key_reused", "This Idempotency-Key was already used with another body."
        ) from exc
    response = _device_response(device)
    response.status_code = 201
    path = url_for(".get_device", device_id=device.id)
    response.headers["Location"] = f"{current_app.extensions['public_path']}{path}"
    return response


@devices.get("/<device_id>")
@require_auth(any_of=("read:devices", READ_ALL))
@no_query
def get_device(device_id: str) -> Response:
    """Return a device that the caller may read; 304 if the client's copy is current (RFC 9110 §13.1.2)."""
    if_match, if_none_match = read_condition("If-Match"), read_condition("If-None-Match")
    device = _readable_device(readable_owners(callers_token()), device_id)
    tag = str(device.version)
    # RFC 9110 §13.2.2 prescribes this order; §8.8.3.2 has the two comparisons.
    if if_match is not None and not if_match.contains(tag):
        raise _precondition_failed()
    if if_none_match is not None and if_none_match.contains_weak(tag):
        return set_validator(_empty(304), device.version)
    return _device_response(device)


@devices.patch("/<device_id>")
@require_auth("write:devices")
@no_query
def change_device(device_id: str) -> Response:
    """Apply a merge patch (RFC 7396) to a device of the caller, if it has a version that `If-Match` allows."""
    if_versions = if_match_versions()
    changes = read_body(_device_changes, MERGE_PATCH)
    try:
        device = _store().change_device(
            owner_of(callers_token()), _id_or_404(device_id), changes, if_versions=if_versions
        )
    except VersionMismatch as exc:
        raise _precondition_failed() from exc
    if device is None:
        raise _not_found()
    return _device_response(device)


@devices.delete("/<device_id>")
@require_auth("write:devices")
@no_query
def delete_device(device_id: str) -> Response:
    """Delete a device of the caller and its readings, if it has a version that `If-Match` allows."""
    if_versions = if_match_versions()
    try:
        if not _store().delete_device(owner_of(callers_token()), _id_or_404(device_id), if_versions=if_versions):
            raise _not_found()
    except VersionMismatch as exc:
        raise _precondition_failed() from exc
    return _empty(204)


@devices.get("/<device_id>/readings")
@require_auth(any_of=("read:readings", READ_ALL))
@query_arguments(ReadingsQuery())
def list_readings(
    device_id: str, limit: int, cursor: str | None, start: datetime | None, end: datetime | None
) -> Response:
    """Return a page of a device's readings, the newest first."""
    token = callers_token()
    owner_scope = readable_owners(token)
    bounds = tuple(None if time is None else time.isoformat() for time in (start, end))
    listing = _listing("readings", token, owner_scope, device_id, bounds)
    after = _position(listing, cursor)
    device = _readable_device(owner_scope, device_id)
    found = _store().list_readings(device, start=start, end=end, after=after, limit=limit + 1)
    items = found[:limit]
    next_cursor = _cursor(listing, items[-1].time, items[-1].metric) if len(found) > limit else None
    return page_response(map(reading_json, items), next_cursor)


@devices.post("/<device_id>/readings")
@require_auth("write:readings")
@no_query
def add_readings(device_id: str) -> Response:
    """Add a batch of readings to a device of the caller, all or none; existing readings are kept."""
    batch = [Reading(**one) for one in read_body(_reading_batch)["readings"]]
    added = _store().add_readings(owner_of(callers_token()), _id_or_404(device_id), batch)
    if added is None:
        raise _not_found()
    return jsonify(added=added, known=len(batch) - added)


def _store() -> DeviceStore:
    return cast("DeviceStore", current_application().extensions["device_store"])


def _listing(
    name: str, token: AccessToken, owner_scope: OwnerScope, device_id: str | None, filters: tuple[str | None, ...]
) -> Listing:
    """Return the requested list; its cursors are invalid for another caller, list or filters."""
    everyone = isinstance(owner_scope, Everyone)
    return Listing(name, token.issuer, token.subject, everyone, device_id, filters)


def _position(listing: Listing, unverified_cursor: str | None) -> Position | None:
    return None if unverified_cursor is None else decode_cursor(_store().cursor_key(), listing, unverified_cursor)


def _cursor(listing: Listing, time: datetime, tie_breaker: str) -> str:
    return encode_cursor(_store().cursor_key(), listing, Position(time, tie_breaker))


def _device_response(device: Device) -> Response:
    return set_validator(json_response(device_json(device)), device.version)


def _empty(status: int) -> Response:
    response = Response(status=status)
    del response.headers["Content-Type"]
    return response


def _readable_device(owner_scope: OwnerScope, device_id: str) -> Device:
    device = _store().get_device(owner_scope, _id_or_404(device_id))
    if device is None:
        raise _not_found()
    return device


def _id_or_404(unverified_id: str) -> str:
    if _DEVICE_ID.fullmatch(unverified_id) is None:
        raise _not_found()
    return unverified_id


def _not_found() -> Problem:
    return Problem(404, "not_found", "You have no device with this id.")


def _precondition_failed() -> Problem:
    return Problem(412, "precondition_failed", "If-Match does not name the device's current version.")
