"""One hostile request: its headers and query, the acceptable answers and the reason; and its JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

# A status, and the `error` of the Bearer challenge: None if the challenge has no error code (RFC 6750 §3.1, for
# requests without credentials) or there is no challenge. 200 stands for any 2xx.
Answer = tuple[int, str | None]
Answers = tuple[Answer, ...]

# The request with a valid token. An API that rejects it has another issuer, audience or scope.
GOOD_TOKEN = "good-token"  # noqa: S105  # a name

_OK: Answer = (200, None)
_NO_ERROR_CODE: Answer = (401, None)
_INVALID_REQUEST: Answer = (400, "invalid_request")
_INVALID_TOKEN: Answer = (401, "invalid_token")
_INSUFFICIENT_SCOPE: Answer = (403, "insufficient_scope")

ACCEPTED: Answers = (_OK,)
# RFC 6750 §3.1: no credentials, or credentials of a scheme that the API does not support.
NO_CREDENTIALS: Answers = (_NO_ERROR_CODE,)
INVALID_TOKEN: Answers = (_INVALID_TOKEN,)
INSUFFICIENT_SCOPE: Answers = (_INSUFFICIENT_SCOPE,)
# An API may treat an unreadable scope as an invalid token or as no scope.
UNREADABLE_SCOPE: Answers = (_INVALID_TOKEN, _INSUFFICIENT_SCOPE)
# Status 400 is only a SHOULD in RFC 6750 §3.1: a malformed header may count as an invalid token or as none.
MALFORMED: Answers = (_INVALID_REQUEST, _INVALID_TOKEN, _NO_ERROR_CODE)
# The HTTP server may reject these before the API sees them, without a challenge.
MALFORMED_HTTP: Answers = (*MALFORMED, (400, None))
TOO_LONG: Answers = (_INVALID_TOKEN, _INVALID_REQUEST, (431, None), (400, None), (413, None), (414, None))
# The RFCs allow both.
ACCEPTED_OR_INVALID_TOKEN: Answers = (_INVALID_TOKEN, _OK)
ACCEPTED_OR_MALFORMED: Answers = (*MALFORMED_HTTP, _OK)
ACCEPTED_OR_TOO_LONG: Answers = (_OK, *TOO_LONG)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileRequest:
    """A GET request for testing an API.

    Args:
        name: unique and stable.
        headers: name and value of each, in order; a repeated one is sent twice. Characters are sent as Latin-1.
        query: appended to the query of the tested URL; empty for none.
        answers: the acceptable answers, the recommended one first.
        why: the reason, with the section of the RFC.
    """

    name: str
    headers: tuple[tuple[str, str], ...]
    query: str = ""
    answers: Answers
    why: str

    @property
    def accepted(self) -> bool:
        """Whether the API must accept the request."""
        return self.answers == ACCEPTED

    @property
    def refused(self) -> bool:
        """Whether the API must reject the request."""
        return _OK not in self.answers


def bearer(name: str, answers: Answers, why: str, unverified_token: str, *, query: str = "") -> HostileRequest:
    """Return a request with a token in the Authorization header (RFC 6750 §2.1)."""
    headers = (("Authorization", f"Bearer {unverified_token}"),)
    return HostileRequest(name=name, headers=headers, query=query, answers=answers, why=why)


def to_json(request: HostileRequest) -> dict[str, Any]:
    """Return the members of a request's JSON object."""
    return asdict(request)


def from_json(members: Mapping[str, Any]) -> HostileRequest:
    """Return the request of a JSON object that `to_json` made.

    Raises ValueError, TypeError or KeyError for another structure. Does not check the types of strings and numbers.
    """
    return HostileRequest(
        name=members["name"],
        headers=tuple((name, value) for name, value in members["headers"]),
        query=members["query"],
        answers=tuple((status, error) for status, error in members["answers"]),
        why=members["why"],
    )
