"""`Idempotency-Key`: how a client that got no answer may ask again (draft-ietf-httpapi-idempotency-key-header)."""

import hashlib
import json
import re
from collections.abc import Mapping

from api.devices.storage.store import Once
from api.problems.problem import Problem

# A quoted string as the draft has it, or the bare word that most clients send; a comma would be two headers.
_KEY = re.compile(r'"(?P<quoted>[ !#-\[\]-~]{1,255})"|(?P<bare>[!#-+\--~]{1,255})', re.ASCII)


def requested_once(unverified_header: str | None, body: Mapping[str, object]) -> Once | None:
    """Return how a request is known when it comes again; None without the header.

    `body` is what was validated. Raises Problem (400) for a header that is no key.
    """
    if unverified_header is None:
        return None
    found = _KEY.fullmatch(unverified_header)
    if found is None:
        raise Problem(
            400,
            "invalid_request",
            "The Idempotency-Key header is wrong.",
            errors={
                "Idempotency-Key": [
                    "Not 1 to 255 printable ASCII characters in quotes, or without quotes, spaces and commas."
                ]
            },
        )
    fingerprint = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()
    return Once(found["quoted"] or found["bare"], fingerprint)
