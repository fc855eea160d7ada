"""One hostile request: its headers and query, the acceptable answers and the reason; and its JSON."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

# A status, and the `error` of the challenge: None if the challenge has no error code (RFC 6750 §3.1, for
# requests without credentials) or there is no challenge. 200 stands for any 2xx.
Answer = tuple[int, str | None]
Answers = tuple[Answer, ...]
# MUST: an RFC requires it, by that word or by the grammar. SHOULD: an RFC recommends it.
Level = Literal["MUST", "SHOULD"]
ChallengeScheme = Literal["Bearer", "DPoP"]

# The request with a valid token. An API that rejects it has another issuer, audience or scope.
GOOD_TOKEN = "good-token"  # noqa: S105  # a name

_OK: Answer = (200, None)
_NO_ERROR_CODE: Answer = (401, None)
_INVALID_REQUEST: Answer = (400, "invalid_request")
_INVALID_TOKEN: Answer = (401, "invalid_token")
_INSUFFICIENT_SCOPE: Answer = (403, "insufficient_scope")
_INVALID_PROOF: Answer = (401, "invalid_dpop_proof")

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
ACCEPTED_OR_UNREADABLE_SCOPE: Answers = (*UNREADABLE_SCOPE, _OK)
ACCEPTED_OR_TOO_LONG: Answers = (_OK, *TOO_LONG)
ACCEPTED_OR_NO_CREDENTIALS: Answers = (*NO_CREDENTIALS, _OK)
# An API that reads tokens from the query judges this one; any other sees no credentials.
INVALID_TOKEN_OR_NO_CREDENTIALS: Answers = (*NO_CREDENTIALS, _INVALID_TOKEN)

# RFC 9449 §7.1: a proof by another key is an example for invalid_token there.
INVALID_PROOF: Answers = (_INVALID_PROOF, _INVALID_TOKEN)
# Some APIs see malformed credentials, RFC 6750 §3.1.
MALFORMED_PROOF: Answers = (*INVALID_PROOF, _INVALID_REQUEST, (400, "invalid_dpop_proof"), (400, None))
NO_PROOF: Answers = (*MALFORMED_PROOF, _NO_ERROR_CODE)
# The token is refused, and not its proof.
NOT_BOUND: Answers = (_INVALID_TOKEN, _INVALID_PROOF)
NONCE_NEEDED: Answers = ((401, "use_dpop_nonce"), *INVALID_PROOF)

_SECTION = re.compile(r"RFC \d+ §[\d.]*\d")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileRequest:
    """A GET request for testing an API.

    Args:
        name: unique and stable.
        headers: name and value of each, in order; a repeated one is sent twice. Characters are sent as Latin-1.
        query: appended to the query of the tested URL; empty for none.
        answers: the acceptable answers, the recommended one first.
        why: the reason, with the section of the RFC.
        level: whether an RFC requires that such a token is accepted or refused, or only recommends it. The form of a
            refusal has its own rules.
        challenge: the scheme whose challenge has the error. With DPoP, that of Bearer may have it instead.
        times: how often it is sent; the last answer counts.
    """

    name: str
    headers: tuple[tuple[str, str], ...]
    query: str = ""
    answers: Answers
    why: str
    level: Level = "MUST"
    challenge: ChallengeScheme = "Bearer"
    times: int = 1

    @property
    def section(self) -> str:
        """The first section of an RFC that `why` names."""
        return find_section(self.why)

    @property
    def accepted(self) -> bool:
        """Whether the API must accept the request."""
        return self.answers == ACCEPTED

    @property
    def refused(self) -> bool:
        """Whether the API must reject the request."""
        return _OK not in self.answers


def find_section(why: str) -> str:
    """Return the first section of an RFC in a text, empty if it has none."""
    found = _SECTION.search(why)
    return found.group() if found else ""


def bearer(
    name: str, answers: Answers, why: str, unverified_token: str, *, query: str = "", level: Level = "MUST"
) -> HostileRequest:
    """Return a request with a token in the Authorization header (RFC 6750 §2.1)."""
    headers = (("Authorization", f"Bearer {unverified_token}"),)
    return HostileRequest(name=name, headers=headers, query=query, answers=answers, why=why, level=level)


def to_json(request: HostileRequest) -> dict[str, Any]:
    """Return the members of a request's JSON object; `challenge` and `times` only if they are not the usual ones."""
    usual = {"challenge": "Bearer", "times": 1}
    return {name: value for name, value in asdict(request).items() if value != usual.get(name, ...)}


def from_json(members: Mapping[str, Any]) -> HostileRequest:
    """Return the request of a JSON object that `to_json` made.

    Raises ValueError, TypeError or KeyError for another structure. Does not check the types of strings and numbers.
    """
    if members["level"] not in ("MUST", "SHOULD"):
        raise ValueError("The level is not MUST or SHOULD.")
    if members.get("challenge", "DPoP") != "DPoP":
        raise ValueError("The challenge is not DPoP.")
    return HostileRequest(
        name=members["name"],
        headers=tuple((name, value) for name, value in members["headers"]),
        query=members["query"],
        answers=tuple((status, error) for status, error in members["answers"]),
        why=members["why"],
        level=cast("Level", members["level"]),
        challenge="DPoP" if "challenge" in members else "Bearer",
        times=int(members.get("times", 1)),
    )
