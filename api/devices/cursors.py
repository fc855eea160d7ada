"""Opaque cursors: where a page ended ↔ the text that a client hands back to get the next one."""

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
# 128 bits: nobody hits one by trying.
_TAG_BYTES = 16


class Position(NamedTuple):
    """Where in a list a page ended: a time in UTC, and the word that tells apart what has the same time."""

    time: datetime
    word: str


class Listing(NamedTuple):
    """What a cursor is of, and nothing else: a list, who reads it, whether everyone's, which device, what filters."""

    name: str
    issuer: str
    subject: str
    everyone: bool
    device_id: str | None
    filters: tuple[str | None, ...]


def encode_cursor(key: bytes, listing: Listing, position: Position) -> str:
    """Return the cursor of a position in a list; `key` is the database's own."""
    place = _TIME.pack((position.time - _EPOCH) // _MICROSECOND) + position.word.encode()
    return base64.urlsafe_b64encode(place + _tag(key, listing, place)).decode().rstrip("=")


def decode_cursor(key: bytes, listing: Listing, unverified_cursor: str) -> Position:
    """Return the position that a cursor of this very listing stands for.

    Raises Problem (400) for another listing's cursor, or one that was not made with `key`, or was changed in any bit.
    """
    try:
        raw = base64.b64decode(unverified_cursor + "=" * (-len(unverified_cursor) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError) as exc:
        raise _not_a_cursor() from exc
    place, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
    if not hmac.compare_digest(tag, _tag(key, listing, place)):
        raise _not_a_cursor()
    position = Position(_EPOCH + _TIME.unpack_from(place)[0] * _MICROSECOND, place[_TIME.size :].decode())
    # base64 has spellings that differ in bits which stand for nothing.
    if encode_cursor(key, listing, position) != unverified_cursor:
        raise _not_a_cursor()
    return position


def _tag(key: bytes, listing: Listing, place: bytes) -> bytes:
    # JSON ends where it ends: no listing and place run into another pair's.
    return hmac.digest(key, json.dumps(listing).encode() + place, hashlib.sha256)[:_TAG_BYTES]


def _not_a_cursor() -> Problem:
    return Problem(
        400,
        "invalid_request",
        "A query parameter is wrong.",
        errors={"cursor": ["Not a cursor of this list with these filters; take `next_cursor` as it was given."]},
    )
