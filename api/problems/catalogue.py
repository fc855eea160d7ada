"""The catalogue of problems: every error code that the API answers with, what it means, and what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A kind of problem (RFC 9457 §3.1.1): its code, its statuses, its title, and two texts for its page.

    `error` is the code that programs act on. `title` is the same for every occurrence.
    """

    error: str
    statuses: tuple[int, ...]
    title: str
    meaning: str
    remedy: str

    @property
    def slug(self) -> str:
        """Return the last part of the address that explains it."""
        return self.error.replace("_", "-")


_TYPES = (
    ProblemType(
        "invalid_request",
        (400,),
        "The request is malformed",
        "A query parameter, a header or the body could not be read: it is unknown, given twice, or not in the form that"
        " the contract asks for. Where fields are wrong, `errors` names each with its reasons.",
        "Correct the request. Sending the same one again brings the same answer.",
    ),
    ProblemType(
        "missing_credentials",
        (401,),
        "An access token is needed",
        "The request brought no bearer token in its `Authorization` header.",
        "Get a token from one of the issuers that `/.well-known/oauth-protected-resource` names, and send it as"
        " `Authorization: Bearer …`.",
    ),
    ProblemType(
        "invalid_token",
        (401,),
        "The access token is not accepted",
        "The token is malformed, expired, revoked, signed with an unknown key, or meant for another API.",
        "Get a new token: with the refresh token if you have one, otherwise by logging in again.",
    ),
    ProblemType(
        "insufficient_user_authentication",
        (401,),
        "A stronger or more recent login is needed",
        "The token is good, but its user logged in too long ago or too weakly for this (RFC 9470).",
        "Have the user log in again with the `max_age` or `acr_values` of the challenge.",
    ),
    ProblemType(
        "insufficient_scope",
        (403,),
        "The access token does not reach this far",
        "The token is good, but it lacks a scope that this needs.",
        "Ask for a token with the `scope` of the challenge.",
    ),
    ProblemType(
        "not_found",
        (404,),
        "There is nothing here",
        "The address leads nowhere, or to something that does not belong to the caller: the two cannot be told apart.",
        "Check the address and the account that the token speaks for.",
    ),
    ProblemType(
        "method_not_allowed",
        (405,),
        "The address does not take this method",
        "The address exists, but not for this method.",
        "Use one of the methods in the `Allow` header.",
    ),
    ProblemType(
        "precondition_failed",
        (412,),
        "It has changed since it was read",
        "`If-Match` names a version that is no longer the current one: somebody else has changed it in the meantime.",
        "Read it again, decide anew, and send the change with the new `ETag` in `If-Match`.",
    ),
    ProblemType(
        "content_too_large",
        (413,),
        "The body is too large",
        "The body of the request is larger than this API reads.",
        "Send less at a time; readings can be split into several batches.",
    ),
    ProblemType(
        "unsupported_media_type",
        (415,),
        "The body has the wrong media type",
        "The `Content-Type` of the request is missing or is not one that this address takes.",
        "Send JSON, and say so in `Content-Type`.",
    ),
    ProblemType(
        "validation_failed",
        (422,),
        "The body has members that are wrong",
        "The body is JSON, but a member is missing, unknown, of another type or out of bounds. `errors` names each with"
        " its reasons.",
        "Correct the members that are named.",
    ),
    ProblemType(
        "idempotency_key_reused",
        (422,),
        "The idempotency key was used for another request",
        "The `Idempotency-Key` was sent before, with another body. Nothing was done.",
        "Make a new key for each request that is not a repetition.",
    ),
    ProblemType(
        "rate_limited",
        (429,),
        "Too many requests",
        "This caller has sent more requests than it is allowed in the current window.",
        "Wait for as many seconds as `Retry-After` says.",
    ),
    ProblemType(
        "http_error",
        (400, 403, 406, 408, 411, 414, 416, 417, 428, 431, 501, 505),
        "The request cannot be answered",
        "The server refused the request before the API looked at it: its line, a header or its coding is not HTTP that"
        " can be answered.",
        "Look at the status; correct the request.",
    ),
    ProblemType(
        "internal_error",
        (500,),
        "Something went wrong on the server",
        "The API failed in a way that it does not know. The request may or may not have had an effect.",
        "Try again later. If it stays, report the `request_id`.",
    ),
    ProblemType(
        "temporarily_unavailable",
        (503,),
        "Something that the API needs is out of reach",
        "The issuer's keys cannot be had, so the token was not judged; or the database cannot be reached, is locked, or"
        " takes no changes.",
        "Wait for as many seconds as `Retry-After` says, and send the same request again.",
    ),
    ProblemType(
        "not_ready",
        (503,),
        "The API is not ready",
        "A check of `/readyz` failed; `checks` says which.",
        "Nothing for callers; operators see to what failed.",
    ),
)

PROBLEM_TYPES: Mapping[str, ProblemType] = MappingProxyType({kind.error: kind for kind in _TYPES})
"""Every kind of problem by its error code, in the order of their statuses."""
