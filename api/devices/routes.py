"""/v1/devices: the caller's devices and what they measured."""

import re
from datetime import datetime
from typing import NamedTuple, cast

from flask import Blueprint, Response, current_app, jsonify, request, url_for

from api.auth import current_token, require_auth
from api.devices.storage.store import DeviceStore, KeyReused, VersionMismatch
from api.problems.problem import Problem
from api.web.body import MERGE_PATCH, read_body
from api.web.conditions import if_match_versions, keep_private, read_condition, set_validator
from api.web.query import no_query, query_arguments

from .cursors import Listing, Position, decode_cursor, encode_cursor
from .idempotency import requested_once
from .models import Device, Everyone, NewDevice, Reading, Whose
from .ownership import READ_ALL, owner, visible_to
from .representations import device_json, json_response, page_response, reading_json
from .schemas import DeviceChangesSchema, DevicesQuery, NewDeviceSchema, ReadingBatchSchema, ReadingsQuery

devices = Blueprint("devices", __name__, url_prefix="/v1/devices")


@devices.after_request
def finish(response: Response) -> Response:
    """Keep answers private, and say in the one to OPTIONS which patches are taken (RFC 5789 §3.1)."""
    if request.method == "OPTIONS" and "PATCH" in response.allow:
        response.headers["Accept-Patch"] = ", ".join(MERGE_PATCH)
    return keep_private(response)


# Anything else is nobody's id, and no text for a database.
_DEVICE_ID = re.compile(r"dev_[0-9a-f]{20}", re.ASCII)

_new_device = NewDeviceSchema()
_device_changes = DeviceChangesSchema()
_reading_batch = ReadingBatchSchema()


@devices.get("")
@require_auth(any_of=("read:devices", READ_ALL))
@query_arguments(DevicesQuery())
def list_devices(limit: int, cursor: str | None, kind: str | None, status: str | None) -> Response:
    """Answer with a page of the devices that the caller may look at, the oldest first."""
    store, whose = _store(), visible_to(current_token)
    listing = _Listed("devices", whose, None, (kind, status))
    # One more than asked tells whether there is a next page.
    found = store.list_devices(whose, kind=kind, status=status, after=listing.position(cursor), limit=limit + 1)
    items = found[:limit]
    following = listing.cursor(items[-1].created_at, items[-1].id) if len(found) > limit else None
    return page_response(map(device_json, items), following)


@devices.post("")
@require_auth("write:devices")
@no_query
def create_device() -> Response:
    """Register a device of the caller's; with an idempotency key, only once."""
    body = read_body(_new_device)
    once = requested_once(request.headers.get("Idempotency-Key"), body)
    try:
        device = _store().create_device(owner(current_token), NewDevice(**body), once)
    except KeyReused as exc:
        raise Problem(422, "idempotency_key_reused", "This Idempotency-Key came with another body before.") from exc
    response = _device_response(device)
    response.status_code = 201
    address = url_for(".get_device", device_id=device.id)
    response.headers["Location"] = f"{current_app.extensions['public_path']}{address}"
    return response


@devices.get("/<device_id>")
@require_auth(any_of=("read:devices", READ_ALL))
@no_query
def get_device(device_id: str) -> Response:
    """Answer with a device that the caller may look at, or with 304 where the caller has it as it is."""
    if_match, if_none_match = read_condition("If-Match"), read_condition("If-None-Match")
    device = _visible_device(visible_to(current_token), device_id)
    tag = str(device.version)
    # RFC 9110 §13.2.2 prescribes this order; §8.8.3.2 has the two comparisons.
    if if_match is not None and not if_match.contains(tag):
        raise _changed_meanwhile()
    if if_none_match is not None and if_none_match.contains_weak(tag):
        return set_validator(_empty(304), device.version)
    return _device_response(device)


@devices.patch("/<device_id>")
@require_auth("write:devices")
@no_query
def change_device(device_id: str) -> Response:
    """Change a device of the caller's by a merge patch; where `If-Match` is sent, only the version that it names."""
    if_versions = if_match_versions()
    changes = read_body(_device_changes, MERGE_PATCH)
    try:
        device = _store().change_device(owner(current_token), _id_or_404(device_id), changes, if_versions=if_versions)
    except VersionMismatch as exc:
        raise _changed_meanwhile() from exc
    if device is None:
        raise _not_found()
    return _device_response(device)


@devices.delete("/<device_id>")
@require_auth("write:devices")
@no_query
def delete_device(device_id: str) -> Response:
    """Delete a device of the caller's with its readings; where `If-Match` is sent, only the version that it names."""
    if_versions = if_match_versions()
    try:
        if not _store().delete_device(owner(current_token), _id_or_404(device_id), if_versions=if_versions):
            raise _not_found()
    except VersionMismatch as exc:
        raise _changed_meanwhile() from exc
    return _empty(204)


@devices.get("/<device_id>/readings")
@require_auth(any_of=("read:readings", READ_ALL))
@query_arguments(ReadingsQuery())
def list_readings(
    device_id: str, limit: int, cursor: str | None, start: datetime | None, end: datetime | None
) -> Response:
    """Answer with a page of a device's readings, the newest first."""
    whose = visible_to(current_token)
    bounds = tuple(None if time is None else time.isoformat() for time in (start, end))
    listing = _Listed("readings", whose, device_id, bounds)
    after = listing.position(cursor)
    device = _visible_device(whose, device_id)
    found = _store().list_readings(device, start=start, end=end, after=after, limit=limit + 1)
    items = found[:limit]
    following = listing.cursor(items[-1].time, items[-1].metric) if len(found) > limit else None
    return page_response(map(reading_json, items), following)


@devices.post("/<device_id>/readings")
@require_auth("write:readings")
@no_query
def add_readings(device_id: str) -> Response:
    """Add a batch of readings to a device of the caller's, all or none; those that are there already stay."""
    batch = [Reading(**one) for one in read_body(_reading_batch)["readings"]]
    added = _store().add_readings(owner(current_token), _id_or_404(device_id), batch)
    if added is None:
        raise _not_found()
    return jsonify(added=added, known=len(batch) - added)


def _store() -> DeviceStore:
    return cast("DeviceStore", current_app.extensions["device_store"])


class _Listed(NamedTuple):
    """The list that the current request asks for, whose cursors no other list takes."""

    name: str
    whose: Whose
    device_id: str | None
    filters: tuple[str | None, ...]

    def position(self, unverified_cursor: str | None) -> Position | None:
        if unverified_cursor is None:
            return None
        return decode_cursor(_store().cursor_key(), self._listing(), unverified_cursor)

    def cursor(self, time: datetime, word: str) -> str:
        return encode_cursor(_store().cursor_key(), self._listing(), Position(time, word))

    def _listing(self) -> Listing:
        everyone = isinstance(self.whose, Everyone)
        token = current_token
        return Listing(self.name, token.issuer, token.subject, everyone, self.device_id, self.filters)


def _device_response(device: Device) -> Response:
    return set_validator(json_response(device_json(device)), device.version)


def _empty(status: int) -> Response:
    response = Response(status=status)
    del response.headers["Content-Type"]
    return response


def _visible_device(whose: Whose, device_id: str) -> Device:
    device = _store().get_device(whose, _id_or_404(device_id))
    if device is None:
        raise _not_found()
    return device


def _id_or_404(unverified_id: str) -> str:
    if _DEVICE_ID.fullmatch(unverified_id) is None:
        raise _not_found()
    return unverified_id


def _not_found() -> Problem:
    return Problem(404, "not_found", "You have no device of this id.")


def _changed_meanwhile() -> Problem:
    return Problem(412, "precondition_failed", "The device has changed since the version that If-Match names.")
