"""The claims of a verified signature → `AccessToken`, held against what is trusted (RFC 7519, RFC 9068)."""

import re
from collections.abc import Container, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from .errors import InvalidToken, Reason
from .strict_json import parse_object


class AccessToken(NamedTuple):
    """A token whose signature, issuer, audience and times have been verified.

    Times are NumericDates, seconds since 1970 in UTC (RFC 7519 §2). `scopes` are those of `scope` and `scp`,
    `permissions` those of the claim of that name, as far as the configuration reads them. `client_id` falls back to
    `azp`. `payload` is the JSON that was signed.
    """

    issuer: str
    subject: str
    audiences: tuple[str, ...]
    expires_at: float
    not_before: float | None
    issued_at: float | None
    auth_time: float | None
    acr: str | None
    client_id: str | None
    token_id: str | None
    scopes: frozenset[str]
    permissions: frozenset[str]
    payload: bytes

    def __repr__(self) -> str:
        """Say nothing of whom the token speaks for: what is printed ends in logs."""
        return f"<AccessToken of {self.issuer}>"

    @property
    def granted(self) -> frozenset[str]:
        """Return all that the token may do: its scopes and its permissions."""
        return self.scopes | self.permissions if self.permissions else self.scopes

    @property
    def claims(self) -> dict[str, Any]:
        """Return all claims, parsed anew: a dict of the caller's own, so that no view can change another's token."""
        return parse_object(self.payload)

    def check_times(self, now: float, leeway_seconds: float) -> None:
        """Hold the token against the clock; `now` is a NumericDate.

        Raises InvalidToken once `exp` has come (RFC 7519 §4.1.4), and before `nbf` or `iat` has (§4.1.5, §4.1.6).
        """
        if self.expires_at + leeway_seconds <= now:
            raise InvalidToken(Reason.EXPIRED)
        latest = now + leeway_seconds
        not_before, issued_at = self.not_before, self.issued_at
        if (not_before is not None and not_before > latest) or (issued_at is not None and issued_at > latest):
            raise InvalidToken(Reason.NOT_YET_VALID)

    def check_audience(self, accepted: Container[str]) -> None:
        """Raise InvalidToken unless the token is meant for one of `accepted` (RFC 7519 §4.1.3)."""
        for audience in self.audiences:
            if audience in accepted:
                return
        raise InvalidToken(Reason.AUDIENCE)


_SCOPE_CHARACTERS = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]+")
# The last second of the year 9999: what comes after it no calendar here can show.
_MAX_NUMERIC_DATE = 253_402_300_799
# Claims that only other kinds of token carry: ID tokens (OpenID Connect Core §3.3.2.11), logout and event tokens
# (RFC 8417 §2.2), DPoP proofs (RFC 9449 §4.2). Keycloak names the kind in
# `typ`, Cognito in `token_use`.
_FOREIGN_CLAIMS = frozenset({"at_hash", "c_hash", "s_hash", "events", "htm", "htu"})
_FOREIGN_KINDS = frozenset({"ID", "Refresh", "Offline", "Logout"})
# Any of these calls for a closer look.
_REVEALING_CLAIMS = _FOREIGN_CLAIMS | {"cnf", "nonce", "token_use", "typ"}
_NONE: frozenset[str] = frozenset()


def read_claims(
    payload: Mapping[str, Any], payload_json: bytes, issuer: str, scope_claims: tuple[str, ...]
) -> AccessToken:
    """Return the access token that a payload describes, its signature by a key of `issuer` having been verified.

    Raises InvalidToken where a claim is missing or malformed, or the token is of another kind. Does not look at the
    clock or for an audience: `AccessToken.check_times` and `check_audience` do, and again whenever a token is used.
    """
    # This runs for every token that was not seen before: what the usual token has costs a comparison here, and anything
    # else, good or bad, is looked into by a function of its own.
    if not _REVEALING_CLAIMS.isdisjoint(payload):
        _refuse_other_kinds(payload)
    subject = payload.get("sub")
    if type(subject) is not str or not subject or "\0" in subject:
        raise _missing_or_malformed(payload, "sub")
    expires_at = payload.get("exp")
    if type(expires_at) is not int or not 0 <= expires_at <= _MAX_NUMERIC_DATE:
        expires_at = _whole_seconds(payload)
    audience = payload.get("aud")
    if type(audience) is list:
        audiences = tuple(_strings(audience))
    elif type(audience) is str:
        audiences = (audience,)
    else:
        raise _missing_or_malformed(payload, "aud")
    not_before = _numeric_date(payload, "nbf") if "nbf" in payload else None
    issued_at = payload.get("iat")
    if type(issued_at) is not int or not 0 <= issued_at <= _MAX_NUMERIC_DATE:
        issued_at = _numeric_date(payload, "iat") if "iat" in payload else None
    auth_time = payload.get("auth_time")
    if type(auth_time) is not int or not 0 <= auth_time <= _MAX_NUMERIC_DATE:
        auth_time = _numeric_date(payload, "auth_time") if "auth_time" in payload else None
    acr = _string(payload, "acr") if "acr" in payload else None
    client_id = payload.get("client_id")
    if type(client_id) is not str or "azp" in payload:
        client_id = _client_id(payload)
    token_id = payload.get("jti")
    if type(token_id) is not str:
        token_id = _string(payload, "jti") if "jti" in payload else None
    scope = payload.get("scope")
    usual = type(scope) is str and scope_claims == ("scope",)
    scopes = _words(scope) if usual else _scopes(payload, scope_claims)
    permissions = _permissions(payload) if "permissions" in scope_claims else _NONE
    # Not by the constructor: a NamedTuple's is a Python function, and takes twice as long. A test checks the order.
    return tuple.__new__(
        AccessToken,
        (
            issuer,
            subject,
            audiences,
            expires_at,
            not_before,
            issued_at,
            auth_time,
            acr,
            client_id,
            token_id,
            scopes,
            permissions,
            payload_json,
        ),
    )


def _refuse_other_kinds(payload: Mapping[str, Any]) -> None:
    if "cnf" in payload:
        raise InvalidToken(Reason.KEY_BOUND)  # RFC 7800: to take it as a bearer token would undo the binding
    kind = payload.get("typ")
    if not _FOREIGN_CLAIMS.isdisjoint(payload) or (isinstance(kind, str) and kind in _FOREIGN_KINDS):
        raise InvalidToken(Reason.TOKEN_TYPE)
    # A nonce is an ID token's (OpenID Connect Core §2). Keycloak put it into access tokens too, until release 25.
    if ("nonce" in payload and kind != "Bearer") or payload.get("token_use", "access") != "access":
        raise InvalidToken(Reason.TOKEN_TYPE)


def _missing_or_malformed(payload: Mapping[str, Any], name: str) -> InvalidToken:
    return InvalidToken(Reason.CLAIM_MALFORMED if name in payload else Reason.CLAIM_MISSING)


def _whole_seconds(payload: Mapping[str, Any]) -> int:
    """Return `exp` rounded down: a fraction must not outlive what other implementations grant."""
    if "exp" not in payload:
        raise InvalidToken(Reason.CLAIM_MISSING)
    return int(_numeric_date(payload, "exp"))


def _numeric_date(payload: Mapping[str, Any], name: str) -> float:
    value = payload[name]
    # The exact type, since True is an int too; the range refuses infinities (1e400) along with the absurd.
    kind = type(value)
    if (kind is int or kind is float) and 0 <= value <= _MAX_NUMERIC_DATE:
        return value  # type: ignore[no-any-return]  # a number, as was just checked
    raise InvalidToken(Reason.CLAIM_MALFORMED)


def _string(payload: Mapping[str, Any], name: str) -> str:
    value = payload[name]
    if isinstance(value, str):
        return value
    raise InvalidToken(Reason.CLAIM_MALFORMED)


def _client_id(payload: Mapping[str, Any]) -> str | None:
    """Return `client_id`, else `azp`; either has to be a string where it is there."""
    authorized_party = _string(payload, "azp") if "azp" in payload else None
    return _string(payload, "client_id") if "client_id" in payload else authorized_party


def _scopes(payload: Mapping[str, Any], scope_claims: tuple[str, ...]) -> frozenset[str]:
    scopes = _NONE
    if "scope" in payload and "scope" in scope_claims:
        scopes = _words(_string(payload, "scope"))
    if "scp" in payload and "scp" in scope_claims:
        # Okta sends a list, Microsoft Entra a string.
        scp = payload["scp"]
        scopes |= _words(scp) if isinstance(scp, str) else frozenset(_strings(scp))
    return scopes


def _permissions(payload: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(_strings(payload["permissions"])) if "permissions" in payload else _NONE


# Tokens of one app ask for the same scopes; remembered ones also share the set.
@lru_cache(maxsize=256)
def _words(scope: str) -> frozenset[str]:
    """Return the words of a scope (RFC 6749 §3.3): single spaces separate them, 0x20 and nothing else that is white."""
    if not scope:
        return _NONE  # some issuers send "" for no scope at all
    words = frozenset(scope.split(" "))
    if "" in words or _SCOPE_CHARACTERS.fullmatch(scope) is None:
        raise InvalidToken(Reason.CLAIM_MALFORMED)
    return words


def _strings(value: Any) -> list[str]:
    if type(value) is list:
        for item in value:
            if type(item) is not str:
                break
        else:
            return value
    raise InvalidToken(Reason.CLAIM_MALFORMED)
