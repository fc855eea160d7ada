"""Untrusted bytes → JSON object, with all that parsers disagree about refused (RFC 8259, RFC 8725 §2.4 and §3.7).

Two parsers that read one document differently are a hole: so no duplicate members, no `NaN`, no lone surrogates, no
encoding but UTF-8, no nesting beyond what tokens need.
"""

import json
from typing import Any, Never

# A token's claims nest two or three levels: an object, `cnf` or `address` in it, a list in that.
MAX_DEPTH = 8
_WHITE_SPACE = " \t\n\r"  # RFC 8259 §2; `str.strip` alone takes much more


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("duplicate member")
    return members


def _refuse_constant(_name: str) -> Never:
    raise ValueError("NaN or Infinity")


_decoder = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_refuse_constant)


def _depth(value: Any) -> int:
    deepest = 0
    pending = [(value, 1)]
    while pending:
        node, depth = pending.pop()
        if isinstance(node, dict):
            children: Any = node.values()
        elif isinstance(node, list):
            children = node
        else:
            continue
        deepest = max(deepest, depth)
        pending.extend((child, depth + 1) for child in children)
    return deepest


def parse_object(unverified: bytes, *, max_depth: int = MAX_DEPTH) -> dict[str, Any]:
    """Return the JSON object that `unverified` spells; `max_depth` counts objects and lists within each other.

    Raises ValueError for anything else, and never another exception. Does not bound the length: the caller does.
    """
    text = unverified.decode("utf-8")  # UnicodeDecodeError is a ValueError
    try:
        # `decode` looks for white space around the value too, which hardly any document has and all would pay for.
        value, end = _decoder.raw_decode(text) if text[:1] == "{" else (_decoder.decode(text), len(text))
        if end != len(text) and text[end:].strip(_WHITE_SPACE):
            raise ValueError("more than one value")
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004  # what the bytes spell is a matter of value, not of type
    # Counting brackets is enough to clear nearly every document; only one with many is walked.
    if text.count("{") + text.count("[") > max_depth and _depth(value) > max_depth:
        raise ValueError("nested too deeply")
    # An escape is the only way for a lone surrogate into a text that was UTF-8.
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value
