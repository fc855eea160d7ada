"""One request of the table: what is sent, which answers are right, and why; and its form in JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

# A status, and the `error` of the Bearer challenge that comes with it. None: there is no error code (RFC 6750 §3.1, for
# requests without credentials), or no challenge is due. 200 stands for any 2xx.
Answer = tuple[int, str | None]
Answers = tuple[Answer, ...]

_OK: Answer = (200, None)
_NO_ERROR_CODE: Answer = (401, None)
_INVALID_REQUEST: Answer = (400, "invalid_request")
_INVALID_TOKEN: Answer = (401, "invalid_token")
_INSUFFICIENT_SCOPE: Answer = (403, "insufficient_scope")

ACCEPTED: Answers = (_OK,)
# RFC 6750 §3.1: a request without credentials, or with those of a scheme that the API does not have.
NO_CREDENTIALS: Answers = (_NO_ERROR_CODE,)
INVALID_TOKEN: Answers = (_INVALID_TOKEN,)
INSUFFICIENT_SCOPE: Answers = (_INSUFFICIENT_SCOPE,)
# A claim that cannot be read may be told as a broken token, or grant nothing.
NO_READABLE_SCOPE: Answers = (_INVALID_TOKEN, _INSUFFICIENT_SCOPE)
# RFC 6750 §3.1 says SHOULD of status 400, so that a header of the wrong form may count as a bad token or as none.
MALFORMED: Answers = (_INVALID_REQUEST, _INVALID_TOKEN, _NO_ERROR_CODE)
# What the HTTP server may refuse before the API sees it, and then without a challenge.
MALFORMED_HTTP: Answers = (*MALFORMED, (400, None))
TOO_LONG: Answers = (_INVALID_TOKEN, _INVALID_REQUEST, (431, None), (400, None), (413, None), (414, None))
# The RFCs leave these to the API.
TOKEN_EITHER_WAY: Answers = (_INVALID_TOKEN, _OK)
REQUEST_EITHER_WAY: Answers = (*MALFORMED_HTTP, _OK)
LENGTH_EITHER_WAY: Answers = (_OK, *TOO_LONG)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileRequest:
    """A GET request to try an API with.

    `name` is unique and does not change. `headers` are sent as they stand, in this order, repeated ones apart, their
    characters as Latin-1. `query` is added to the URL's, empty for none. `answers` are all that are right, the
    recommended one first. `why` names the section of an RFC that decides.
    """

    name: str
    headers: tuple[tuple[str, str], ...]
    query: str = ""
    answers: Answers
    why: str

    @property
    def accepted(self) -> bool:
        """Whether the API has to let it in."""
        return self.answers == ACCEPTED

    @property
    def refused(self) -> bool:
        """Whether the API must not let it in."""
        return _OK not in self.answers


def bearer(name: str, answers: Answers, why: str, unverified_token: str, *, query: str = "") -> HostileRequest:
    """Return a request with a token in the Authorization header."""
    headers = (("Authorization", f"Bearer {unverified_token}"),)
    return HostileRequest(name=name, headers=headers, query=query, answers=answers, why=why)


def as_json(request: HostileRequest) -> dict[str, Any]:
    """Return what `json.dumps` takes; tuples become lists on the way."""
    return asdict(request)


def from_json(members: Mapping[str, Any]) -> HostileRequest:
    """Return the request that `as_json` made this of.

    Raises ValueError, TypeError or KeyError for anything of another form. Does not check the types of texts.
    """
    return HostileRequest(
        name=members["name"],
        headers=tuple((name, value) for name, value in members["headers"]),
        query=members["query"],
        answers=tuple((status, error) for status, error in members["answers"]),
        why=members["why"],
    )
