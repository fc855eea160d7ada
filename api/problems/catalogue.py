"""The problem types: every error code of the API, its meaning and its remedy."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A problem type (RFC 9457 §3.1.1). `meaning` and `remedy` are shown on its page.

    `error` is the code that programs act on. `title` is the same for every occurrence.
    """

    error: str
    statuses: tuple[int, ...]
    title: str
    meaning: str
    remedy: str

    @property
    def slug(self) -> str:
        """Return the last segment of the path of its page."""
        return self.error.replace("_", "-")


_TYPES = (
    ProblemType(
        "invalid_request",
        (400,),
        "The request is malformed",
        "A query parameter, a header or the body is malformed, unknown or repeated. `errors` gives the reasons for each"
        " invalid parameter or header; `detail` says where a body is not JSON.",
        "Correct the request. Repeating it unchanged gives the same error.",
    ),
    ProblemType(
        "missing_credentials",
        (401,),
        "An access token is required",
        "The `Authorization` header is missing, has another scheme, or has a token without the word `Bearer` before"
        " it.",
        "Get a token from an issuer that `/.well-known/oauth-protected-resource` lists, and send it as"
        " `Authorization: Bearer …`.",
    ),
    ProblemType(
        "invalid_token",
        (401,),
        "The access token is invalid",
        "The token is malformed, expired, revoked, signed with an unknown key, or issued for another API.",
        "Get a new token: with the refresh token if you have one, otherwise by a new login.",
    ),
    ProblemType(
        "invalid_dpop_proof",
        (401,),
        "The DPoP proof is invalid",
        "The token is bound to a key, and the `DPoP` header has no proof for this request: `detail` says what does not"
        " fit (RFC 9449). A proof that was used counts as invalid, too.",
        "Make a new proof for each request: with the token's key, its method, its public address without the query, the"
        " present time, the hash of the token and a new `jti`.",
    ),
    ProblemType(
        "use_dpop_nonce",
        (401,),
        "The DPoP proof needs a nonce",
        "Proofs need the nonce that this API gave out last, and the proof has none or an old one (RFC 9449 §9).",
        "Repeat the request with a new proof that has the value of the `DPoP-Nonce` header as its `nonce`.",
    ),
    ProblemType(
        "insufficient_user_authentication",
        (401,),
        "A stronger or more recent login is required",
        "The token is valid, but its user logged in too long ago or with too weak a method for this route (RFC 9470).",
        "Have the user log in again, with the `max_age` or `acr_values` of the challenge.",
    ),
    ProblemType(
        "insufficient_scope",
        (403,),
        "The token lacks a scope",
        "The token is valid, but lacks a scope that this route requires.",
        "Request a token that has all words of `scope`, which is in the body and in the challenge.",
    ),
    ProblemType(
        "not_found",
        (404,),
        "Not found",
        "The path does not exist, or the resource does not exist or belongs to another caller.",
        "Check the path, and that the token belongs to the right user: `/v1/me` shows its `sub`.",
    ),
    ProblemType(
        "method_not_allowed",
        (405,),
        "Method not allowed",
        "The path does not support this method.",
        "Use a method in the `Allow` header.",
    ),
    ProblemType(
        "precondition_failed",
        (412,),
        "The precondition failed",
        "`If-Match` does not name the current version: the resource was changed since it was read.",
        "Read the resource again, and repeat the change with the new `ETag` in `If-Match`.",
    ),
    ProblemType(
        "content_too_large",
        (413,),
        "The body is too large",
        "The body of the request exceeds 1 MiB.",
        "Send a smaller body. Split readings into several batches.",
    ),
    ProblemType(
        "unsupported_media_type",
        (415,),
        "The body has the wrong media type",
        "The `Content-Type` is missing or not supported here, or the body is compressed.",
        "Send uncompressed JSON with the `Content-Type` that `Accept` or `Accept-Patch` in the response names.",
    ),
    ProblemType(
        "validation_failed",
        (422,),
        "The body has invalid members",
        "The body is JSON, but a member is missing, unknown, of the wrong type or out of range. `errors` names each"
        " invalid member with the reasons.",
        "Correct the members that `errors` names.",
    ),
    ProblemType(
        "idempotency_key_reused",
        (422,),
        "The idempotency key was used for another request",
        "This `Idempotency-Key` was already used with another body. The request had no effect.",
        "Use a new key for each new request, and the same key only to repeat a request.",
    ),
    ProblemType(
        "rate_limited",
        (429,),
        "Too many requests",
        "The request exceeds the caller's limit: too many requests in the time that the limit is for. A caller is an"
        " issuer, a `sub` and a client.",
        "Wait for the seconds in `Retry-After`, and repeat the request.",
    ),
    ProblemType(
        "http_error",
        (403, 406, 408, 411, 414, 416, 417, 428, 431, 501, 505),
        "The server rejected the request",
        "The HTTP server rejected the request before it reached the API: its request line, a header or its encoding is"
        " invalid or too large.",
        "See the status, and correct the request.",
    ),
    ProblemType(
        "internal_error",
        (500,),
        "Internal error",
        "The API failed unexpectedly. The request may have had an effect.",
        "Try again later. If the error persists, report the `request_id`.",
    ),
    ProblemType(
        "temporarily_unavailable",
        (503,),
        "Temporarily unavailable",
        "The token was not verified, because the issuer's keys, its answer about the token or the list of revoked"
        " tokens cannot be read; or the database is unreachable, overloaded, locked or read-only.",
        "Wait for the seconds in `Retry-After`, and repeat the request.",
    ),
    ProblemType(
        "not_ready",
        (503,),
        "The API is not ready",
        "A check of `/readyz` failed. `checks` shows which one.",
        "For operators: repair what `checks` shows. For clients: wait.",
    ),
)

PROBLEM_TYPES: Mapping[str, ProblemType] = MappingProxyType({kind.error: kind for kind in _TYPES})
"""Every problem type by its error code."""
