"""What caches may do with answers: with a caller's own, nothing but ask whether they still hold."""

from flask import Response

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
