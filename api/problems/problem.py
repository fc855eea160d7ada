"""`Problem`: raised wherever a request cannot be answered as asked."""

import warnings
from collections.abc import Mapping
from typing import Any

from .catalogue import PROBLEM_TYPES


class Problem(Exception):
    """A request that cannot be answered as asked.

    `status` is the HTTP status, `error` the code that programs act on, `detail` a sentence for people, `errors` names
    each wrong field with its reasons, `extensions` are further members (RFC 9457 §3.2), and `headers` go with the
    answer. None of them may hold what only the server knows.

    Warns, which fails a test, where the catalogue lacks `error`: an answer without a page is still an answer.
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
