"""An issuer's answer → `AccessToken`, or why the token is refused (RFC 7662 §2.2)."""

import json
from typing import Any, NamedTuple

from ..claims import AccessToken, read_claims
from ..config import TrustedIssuer
from ..errors import InvalidToken
from ..reasons import Reason
from ..strict_json import parse_object

# Answers repeat claims, and some issuers add the permissions of the user.
_MAX_ANSWER_DEPTH = 10
# RFC 7662 §2.2: the type of RFC 6749 §5.1. Hydra before 2.0 says `access_token`.
_ACCESS_TOKEN_TYPES = frozenset({"bearer", "dpop", "access_token"})
# Keycloak's name for the kind of token.
_ACCESS_TYPES = ("Bearer", "DPoP")
# That of Cognito and Hydra.
_ACCESS_USES = ("access", "access_token")


class Refusal(NamedTuple):
    """Why a token is refused; an exception that is raised again would keep the frames of each request."""

    reason: Reason
    claim: str | None


Answer = AccessToken | Refusal


def read_answer(
    unverified_answer: bytes, issuer: TrustedIssuer, *, token_type_required: bool, otherwise_expires_at: int
) -> Answer:
    """Return what an answer of `issuer` says. Does not check audience and times.

    `token_type_required` tells whether it must say that the token is an access token. `otherwise_expires_at` stands for
    `exp` where the answer has none, in seconds since 1970.

    Raises ValueError if the answer is malformed.
    """
    answer = parse_object(unverified_answer, max_depth=_MAX_ANSWER_DEPTH)
    match answer.pop("active", None):
        case True:
            pass
        case False:
            return Refusal(Reason.INACTIVE, None)
        case _:
            raise ValueError("active is neither true nor false")
    try:
        _require_issuer(answer, issuer.identifier)
        _require_access_token(answer, is_type_required=token_type_required)
        answer.setdefault("exp", otherwise_expires_at)
        return read_claims(answer, json.dumps(answer, allow_nan=False).encode(), issuer)
    except InvalidToken as refusal:
        return Refusal(refusal.reason, refusal.claim)


def _require_issuer(answer: dict[str, Any], issuer: str) -> None:
    if answer.get("iss", issuer) != issuer:
        raise InvalidToken(Reason.ISSUER, claim="iss")


def _require_access_token(answer: dict[str, Any], *, is_type_required: bool) -> None:
    """Refuse what the answer calls another kind of token, or, if the type is required, does not call an access token.

    Removes Hydra's spelling of `token_use`, which `read_claims` would take for another kind.
    """
    token_type, use, typ = (answer.get(name) for name in ("token_type", "token_use", "typ"))
    kind = token_type.lower() if isinstance(token_type, str) else None
    if "token_type" in answer and kind not in _ACCESS_TOKEN_TYPES:
        raise InvalidToken(Reason.TOKEN_TYPE, claim="token_type")
    if is_type_required and kind is None and use not in _ACCESS_USES and typ not in _ACCESS_TYPES:
        raise InvalidToken(Reason.CLAIM_MISSING, claim="token_type")
    # RFC 9449 §5: a token of this type is bound to a key. Without the key, it would pass for a bearer token.
    if (kind == "dpop" or typ == "DPoP") and "cnf" not in answer:
        raise InvalidToken(Reason.CLAIM_MISSING, claim="cnf")
    if use == "access_token":
        answer["token_use"] = "access"
