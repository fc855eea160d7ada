"""Opaque, authenticated cursors: the position where a page of a list ended."""

import base64
import binascii
import hashlib
import hmac
import json
import struct
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from api.problems.problem import Problem

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIME = struct.Struct(">q")
# 128 bits: too many to guess.
_TAG_BYTES = 16


class Position(NamedTuple):
    """The sort key of a page's last item: a time in UTC, and a unique text that orders items of the same time."""

    time: datetime
    tie_breaker: str


class Listing(NamedTuple):
    """The list that a cursor is valid for; `everyone` means the devices of all owners."""

    name: str
    issuer: str
    subject: str
    everyone: bool
    device_id: str | None
    filters: tuple[str | None, ...]


def encode_cursor(key: bytes, listing: Listing, position: Position) -> str:
    """Return the cursor of a position in a list, authenticated with `key`."""
    encoded = _TIME.pack((position.time - _EPOCH) // _MICROSECOND) + position.tie_breaker.encode()
    return base64.urlsafe_b64encode(encoded + _tag(key, listing, encoded)).decode().rstrip("=")


def decode_cursor(key: bytes, listing: Listing, unverified_cursor: str) -> Position:
    """Return the position in a cursor.

    Raises Problem (400) for a cursor that was changed, belongs to another list, or was made with another key.
    """
    try:
        raw = base64.b64decode(unverified_cursor + "=" * (-len(unverified_cursor) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError) as exc:
        raise _invalid_cursor() from exc
    encoded, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
    if not hmac.compare_digest(tag, _tag(key, listing, encoded)):
        raise _invalid_cursor()
    position = Position(_EPOCH + _TIME.unpack_from(encoded)[0] * _MICROSECOND, encoded[_TIME.size :].decode())
    # Several base64 texts decode to the same bytes (RFC 4648 §3.5); only the canonical one is valid.
    if encode_cursor(key, listing, position) != unverified_cursor:
        raise _invalid_cursor()
    return position


def _tag(key: bytes, listing: Listing, encoded: bytes) -> bytes:
    # JSON is self-delimiting: no two pairs of listing and position give the same input.
    return hmac.digest(key, json.dumps(listing).encode() + encoded, hashlib.sha256)[:_TAG_BYTES]


def _invalid_cursor() -> Problem:
    return Problem(
        400,
        "invalid_request",
        "A query parameter is invalid.",
        errors={"cursor": ["Not a cursor of this list with these filters; send `next_cursor` unchanged."]},
    )
