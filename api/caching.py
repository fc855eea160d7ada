"""What caches may do with answers: with a caller's own, nothing."""

from flask import Response


def keep_private(response: Response) -> Response:
    """Keep every cache from storing an answer, and from handing it to another caller (RFC 9111 §5.2.2.5, §4.1)."""
    response.headers.setdefault("Cache-Control", "private, no-store")
    response.vary.add("Authorization")
    return response
