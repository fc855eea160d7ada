"""The `Idempotency-Key` header, which makes a POST safe to repeat (draft-ietf-httpapi-idempotency-key-header)."""

import hashlib
import json
import re
from collections.abc import Mapping

from api.problems.problem import Problem

from .models import IdempotencyKey

# The draft's quoted string, or the bare token that most clients send. A bare comma is refused: servers join repeated
# headers with one.
_KEY = re.compile(r'"(?P<quoted>[ !#-\[\]-~]{1,255})"|(?P<bare>[!#-+\--~]{1,255})', re.ASCII)


def parse_idempotency_key(unverified_header: str | None, body: Mapping[str, object]) -> IdempotencyKey | None:
    """Return the key in the header, with a digest of the validated body; None without a header.

    Raises Problem (400) for a malformed header.
    """
    if unverified_header is None:
        return None
    found = _KEY.fullmatch(unverified_header)
    if found is None:
        raise Problem(
            400,
            "invalid_request",
            "The Idempotency-Key header is malformed.",
            errors={
                "Idempotency-Key": [
                    "Must be 1 to 255 printable ASCII characters in quotes, or unquoted without spaces and commas."
                ]
            },
        )
    fingerprint = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()
    return IdempotencyKey(found["quoted"] or found["bare"], fingerprint)
