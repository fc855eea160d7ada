"""The id of a request: the caller's own where it is harmless, else one made here; on every answer and log line."""

import random
import re

from flask import request

REQUEST_ID_HEADER = "X-Request-ID"
_VARIABLE = "HTTP_X_REQUEST_ID"
# Kept in the WSGI environment: `g` is shared by requests under an application context from outside, and looks at it
# cost several times as much.
_ID = "device-api.request_id"
_USABLE = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id() -> str:
    """Return the current request's id, made here where the request came without a usable one."""
    environ = request.environ
    known: str | None = environ.get(_ID)
    if known is None:
        offered = environ.get(_VARIABLE, "")
        # Unique is enough, and each process has a sequence of its own: it is seeded anew after a fork.
        known = offered if _USABLE.fullmatch(offered) else f"{random.getrandbits(128):032x}"
        environ[_ID] = known
    return known
