"""`Problem`: the exception that becomes an error response."""

import warnings
from collections.abc import Mapping
from typing import Any

from .catalogue import PROBLEM_TYPES


class Problem(Exception):
    """An error response (RFC 9457).

    `status` is the HTTP status, `error` the code that programs act on, `detail` a sentence for people. `errors` maps
    each invalid field to the reasons, `extensions` are further members (RFC 9457 §3.2), `headers` are response headers.
    All of them are sent to the client: they must hold nothing confidential.

    Warns if the catalogue lacks the error with this status: that fails a test, but not a request in production.
    """

    def __init__(
        self,
        status: int,
        error: str,
        detail: str,
        *,
        errors: Mapping[str, list[str]] | None = None,
        extensions: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(error)
        if error not in PROBLEM_TYPES or status not in PROBLEM_TYPES[error].statuses:
            warnings.warn(f"{error} with status {status} is not in the catalogue of problems", stacklevel=2)
        self.status = status
        self.error = error
        self.detail = detail
        self.errors = errors
        self.extensions = extensions
        self.headers = headers
