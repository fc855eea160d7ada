"""Untrusted bytes → JSON object, refusing whatever JSON parsers disagree about (RFC 8259, RFC 8725 §2.4 and §3.7).

If two parsers read a document differently, a check in one says nothing about a use in the other. So no duplicate names,
no `NaN` and `Infinity`, no lone surrogates, no encoding but UTF-8, and no deeper nesting than the caller allows.
"""

import json
from typing import Any, Never

# A token's claims nest two or three levels: the payload, `cnf` or `address`, a list in it.
MAX_DEPTH = 8
WHITE_SPACE = " \t\n\r"  # RFC 8259 §2; str.strip() alone also removes other characters


def parse_object(unverified: bytes, *, max_depth: int = MAX_DEPTH) -> dict[str, Any]:
    """Return the JSON object in `unverified` (RFC 8259 §4), at most `max_depth` levels of objects and arrays deep.

    Raises ValueError for everything else, and no other exception: a `json.JSONDecodeError` or a `UnicodeDecodeError`,
    which have a position, if a character is wrong. Does not limit the length: the caller does.
    """
    text = unverified.decode("utf-8").strip(WHITE_SPACE)  # UnicodeDecodeError is a ValueError
    if not text.startswith("{"):
        raise ValueError("not an object")
    members: dict[str, Any]
    try:
        # Not decode(): it looks for white space on both ends again, 0.3 µs of the 3 that a payload takes.
        members, end = _decoder.raw_decode(text)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc
    if end != len(text):
        raise json.JSONDecodeError("more than one value", text, len(text) - len(text[end:].lstrip(WHITE_SPACE)))
    # No document nests deeper than it has opening brackets. Walking each document would cost 2.5 µs a token.
    if text.count("{") + text.count("[") > max_depth and _is_deeper(members, max_depth):
        raise ValueError("nested too deeply")
    # The text was UTF-8, so a lone surrogate can only have come from an escape, \ud800. UTF-8 cannot encode it.
    if "\\" in text:
        json.dumps(members, ensure_ascii=False).encode("utf-8")
    return members


def equal_json(one: Any, other: Any) -> bool:
    """Return whether two values are the same JSON: 1 is 1.0 (RFC 8259 §6), but not true, unlike in Python."""
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(equal_json(one[name], other[name]) for name in one)
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(equal_json, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("duplicate name")
    return members


def _refuse_constant(_name: str) -> Never:
    raise ValueError("NaN or Infinity")


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant)


def _is_deeper(members: dict[str, Any], max_depth: int) -> bool:
    """Return whether an object nests deeper; level by level, since a hostile document could exhaust a recursion."""
    level: list[Any] = [members]
    for _ in range(max_depth):
        children = [node.values() if type(node) is dict else node for node in level]
        level = [child for each in children for child in each if type(child) is dict or type(child) is list]
        if not level:
            return False
    return True
