"""Conditional requests: entity tags, what requests ask of them, and what caches may keep (RFC 9110 §13, RFC 9111)."""

import re
from dataclasses import dataclass

from flask import Response, request

from api.problems.problem import Problem

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*")
_VERSION = re.compile(r'"([1-9]\d{0,8})"', re.ASCII)


@dataclass(frozen=True, slots=True)
class EntityTags:
    """What `If-Match` or `If-None-Match` names: any representation at all, or those with one of these tags."""

    tags: frozenset[str]
    any: bool = False

    def match_strongly(self, tag: str) -> bool:
        """Say whether a strong tag is among these, weak ones not counting (RFC 9110 §8.8.3.2)."""
        return self.any or tag in self.tags

    def match_weakly(self, tag: str) -> bool:
        """Say whether a strong tag is among these, weak ones counting too (RFC 9110 §8.8.3.2)."""
        return self.any or tag in self.tags or f"W/{tag}" in self.tags

    def versions(self) -> frozenset[int] | None:
        """Return the versions whose tags are among these, weak ones not counting; None for any version."""
        return None if self.any else frozenset(int(found[1]) for tag in self.tags if (found := _VERSION.fullmatch(tag)))


def version_tag(version: int) -> str:
    """Return the strong entity tag of a version."""
    return f'"{version}"'


def condition(name: str) -> EntityTags | None:
    """Return the current request's condition in the header called `name`; None without that header.

    Raises Problem (400) for one that cannot be read: a condition is not to be passed over.
    """
    value = request.headers.get(name)
    if value is None:
        return None
    if value.strip(" \t") == "*":
        return EntityTags(frozenset(), any=True)
    if _TAGS.fullmatch(value) is None:
        raise Problem(
            400,
            "invalid_request",
            f"The {name} header cannot be read.",
            errors={name: ['Not "*", nor entity tags in their quotes with commas between.']},
        )
    return EntityTags(frozenset(re.findall(_TAG, value)))


def expected_versions() -> frozenset[int] | None:
    """Return the versions that `If-Match` of the current request allows to change; None where it allows all.

    Raises Problem (400), also for `If-None-Match`: a change must not be made against it (RFC 9110 §13.1.2).
    """
    if "If-None-Match" in request.headers:
        raise Problem(
            400,
            "invalid_request",
            "The If-None-Match header goes with reading alone.",
            errors={"If-None-Match": ["Not for a change, which takes If-Match."]},
        )
    tags = condition("If-Match")
    return None if tags is None else tags.versions()


_NEVER_STORED = "private, no-store"
_ASKED_EACH_TIME = "private, no-cache"


def keep_private(response: Response) -> Response:
    """Keep every cache from storing an answer, and from handing it to another caller (RFC 9111 §5.2.2.5, §4.1)."""
    headers = response.headers
    if "Cache-Control" not in headers:
        headers.add("Cache-Control", _NEVER_STORED)
    # Werkzeug's view of the header costs as much as the rest of this; nearly no answer has one yet.
    if "Vary" in headers:
        response.vary.add("Authorization")
    else:
        headers.add("Vary", "Authorization")
    return response


def let_client_revalidate(response: Response, tag: str) -> Response:
    """Let the client itself store an answer, to ask by its entity tag whether it still holds (RFC 9111 §5.2.2.4)."""
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = _ASKED_EACH_TIME
    return response
