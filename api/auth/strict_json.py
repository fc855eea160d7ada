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
    """Return the JSON object that `unverified` spells; objects and lists nest `max_depth` levels, 2 or more.

    Raises ValueError for anything else, and never another exception. Does not bound the length: the caller does.
    """
    text = unverified.decode("utf-8")  # UnicodeDecodeError is a ValueError
    if text[:1] != "{":
        # `raw_decode` takes no white space before the value. Hardly any document has it.
        text = text.lstrip(_WHITE_SPACE)
        if text[:1] != "{":
            raise ValueError("not an object")
    members: dict[str, Any]
    try:
        members, end = _decoder.raw_decode(text)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc
    if end != len(text) and text[end:].strip(_WHITE_SPACE):
        raise ValueError("more than one value")
    # A search for one character costs a third of a count, and most documents have one brace and one bracket at most.
    # Counts clear nearly all others; only a document with many brackets is walked.
    if (
        (text.rfind("{") > 0 or text.find("[") != text.rfind("["))
        and text.count("{") + text.count("[") > max_depth
        and _depth(members) > max_depth
    ):
        raise ValueError("nested too deeply")
    # An escape is the only way for a lone surrogate into a text that was UTF-8.
    if "\\" in text and "\\u" in text:
        json.dumps(members, ensure_ascii=False).encode("utf-8")
    return members
