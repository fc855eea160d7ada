"""Opaque cursors: where a page ended ↔ the text that a client hands back to get the next one."""

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import NamedTuple

from api.problems import Problem

_SPELLING = re.compile(r"(devices|readings)\|([0-9T:.+-]{19,32})\|([a-z0-9_]{1,64})", re.ASCII)


class Position(NamedTuple):
    """Where in a list a page ended: a time in UTC, and the word that tells apart what has the same time."""

    time: datetime
    word: str


def encode_cursor(list_name: str, position: Position) -> str:
    """Return the cursor of a position in the list called `list_name`."""
    spelling = f"{list_name}|{position.time.astimezone(UTC).isoformat()}|{position.word}"
    return base64.urlsafe_b64encode(spelling.encode()).decode().rstrip("=")


def decode_cursor(list_name: str, unverified_cursor: str) -> Position:
    """Return the position that a cursor of `list_name` stands for.

    Raises Problem (400) for a cursor of another list or of nobody's making. A position says nothing of whose devices
    may be seen: queries ask for the owner's alone, whatever the cursor.
    """
    try:
        spelling = base64.b64decode(unverified_cursor + "=" * (-len(unverified_cursor) % 4), b"-_", validate=True)
        match = _SPELLING.fullmatch(spelling.decode("ascii"))
        position = match and Position(datetime.fromisoformat(match[2]), match[3])
    except (binascii.Error, ValueError):
        position = None
    # Only our own spelling comes out again as it went in.
    if position is None or position.time.tzinfo is None or encode_cursor(list_name, position) != unverified_cursor:
        raise Problem(
            400,
            "invalid_request",
            "A query parameter is wrong.",
            errors={"cursor": ["Not a cursor of this list; take `next_cursor` as it was given."]},
        )
    return position
