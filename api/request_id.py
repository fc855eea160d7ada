"""The id of the current request, for its response and its log lines."""

import random
import re
from typing import Any

from flask import request

REQUEST_ID_HEADER = "X-Request-ID"
_ENVIRON_HEADER = "HTTP_X_REQUEST_ID"
# In the WSGI environment, not in `g`: requests inside an outer application context share its `g`.
_ENVIRON_KEY = "device-api.request_id"
_VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id() -> str:
    """Return the client's X-Request-ID if it is valid, else an id generated on the first call."""
    return request_id_of(request.environ)


def request_id_of(environ: dict[str, Any]) -> str:
    """Return the same for the request with this WSGI environment."""
    known: str | None = environ.get(_ENVIRON_KEY)
    if known is None:
        offered = environ.get(_ENVIRON_HEADER, "")
        # Ids need to be unique, not secret: `random` saves 2 % of GET /v1/devices over uuid4. Python reseeds it after
        # a fork.
        known = offered if _VALID_ID.fullmatch(offered) else f"{random.getrandbits(128):032x}"
        environ[_ENVIRON_KEY] = known
    return known
