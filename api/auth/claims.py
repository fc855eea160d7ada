"""The payload of a JWS whose signature holds → `AccessToken` (RFC 7519 §4, RFC 9068 §2.2).

`read_claims` checks each claim's type and refuses other kinds of token, by the rules of the issuer. `AccessToken`
checks the values that depend on the moment and on the route: times and audience.
"""

import re
from collections.abc import Container, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from .config import AudienceClaim, TrustedIssuer
from .errors import InvalidToken
from .reasons import Reason
from .strict_json import equal_json, parse_object

_JSON_NUMBERS = frozenset({int, float})
_STRING_OR_LIST = frozenset({str, list})
# The last second of the year 9999, the last that Python's datetime can show.
_MAX_NUMERIC_DATE = 253_402_300_799
# Claims of other kinds of token: ID tokens (OpenID Connect Core §3.3.2.11; s_hash: FAPI 1.0), logout and security event
# tokens (RFC 8417 §2.2), DPoP proofs (RFC 9449 §4.2).
_FOREIGN_CLAIMS = ("at_hash", "c_hash", "s_hash", "events", "htm", "htu")
# Values of the claim `typ`, in which Keycloak names the kind of token.
_FOREIGN_TYPES = frozenset({"ID", "Refresh", "Offline", "Logout"})
_CLAIMS_OF_OTHER_KINDS = frozenset({*_FOREIGN_CLAIMS, "nonce", "token_use", "typ"})
# scope-token *( SP scope-token ), RFC 6749 §3.3; _split_scope checks that single spaces separate the words.
_SCOPE_CHARACTERS = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]+")
# The members of `cnf` that name a key, as a thumbprint: RFC 9449 §6.1, RFC 8705 §3.1.
_THUMBPRINTS = ("jkt", "x5t#S256")
# SHA-256 has 43 characters in base64url.
_MAX_THUMBPRINT_CHARS = 64
# One object for all tokens: frozenset() makes a new one of 216 bytes each time.
_NONE: frozenset[str] = frozenset()


class AccessToken(NamedTuple):
    """An access token whose signature, issuer, audience and times have been verified.

    Times are NumericDates: seconds since 1970 in UTC (RFC 7519 §2). The rules of `TrustedIssuer` say which claims the
    others come from: `audiences` (`aud`, or the client's id), `client_id` (by default, `azp` if the token has no
    `client_id`), `scopes` (of `scope` and `scp`), `permissions` (of `permissions` and `roles`). `subject_or_none` is
    `sub`: None only where the issuer's rules do not require one. `payload` is the signed JSON, or what the issuer says
    of an opaque token (RFC 7662).

    A token that is bound to a key has the thumbprint of that key in `key_thumbprint` (`cnf.jkt`, RFC 9449 §6.1) or of a
    client certificate in `certificate_thumbprint` (`cnf["x5t#S256"]`, RFC 8705 §3.1), or in both.
    """

    issuer: str
    subject_or_none: str | None
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
    key_thumbprint: str | None = None
    certificate_thumbprint: str | None = None

    def __repr__(self) -> str:
        """Return a text without the subject: tokens get printed into logs."""
        return f"<AccessToken of {self.issuer}>"

    @property
    def subject(self) -> str:
        """Return `sub`.

        Raises InvalidToken if the token has none: a route that needs the subject answers 401. The client's id is no
        substitute, since a user may have the same one (RFC 9068 §5).
        """
        if self.subject_or_none is None:
            raise InvalidToken(Reason.CLAIM_MISSING, claim="sub")
        return self.subject_or_none

    @property
    def granted(self) -> frozenset[str]:
        """Return the scopes and the permissions together."""
        return self.scopes | self.permissions

    @property
    def claims(self) -> dict[str, Any]:
        """Return all claims in a new dict: cached tokens are shared, so no view may change another's claims."""
        return parse_object(self.payload)

    def check_times(self, now: float, leeway_seconds: float) -> None:
        """Raise InvalidToken on or after `exp` (RFC 7519 §4.1.4), or before `nbf` (§4.1.5) or `iat` (§4.1.6).

        `now` is a NumericDate.
        """
        if self.expires_at + leeway_seconds <= now:
            raise InvalidToken(Reason.EXPIRED, claim="exp")
        latest = now + leeway_seconds
        if self.not_before is not None and self.not_before > latest:
            raise InvalidToken(Reason.NOT_YET_VALID, claim="nbf")
        if self.issued_at is not None and self.issued_at > latest:
            raise InvalidToken(Reason.NOT_YET_VALID, claim="iat")

    def check_audience(self, accepted: Container[str], claim: AudienceClaim = "aud") -> None:
        """Raise InvalidToken unless `audiences` has one of `accepted` (RFC 7519 §4.1.3, RFC 9068 §4).

        `claim` is the claim that they come from, for the error.
        """
        # Not any(): its generator costs 0.4 µs, 15 % of verifying a cached token.
        for audience in self.audiences:
            if audience in accepted:
                return
        raise InvalidToken(Reason.AUDIENCE, claim=claim)


def read_claims(payload: Mapping[str, Any], payload_json: bytes, issuer: TrustedIssuer) -> AccessToken:
    """Return the access token that a payload describes, by the rules of its issuer (RFC 9068 §2.2).

    The caller has verified the signature with a key of `issuer`, and its type. `payload_json` is the JSON that
    `payload` was read from.

    Raises InvalidToken if a claim is missing or malformed, or if the token is of another kind. Does not check times
    and audience: `AccessToken.check_times` and `AccessToken.check_audience` do, each time a token is used.
    """
    _refuse_other_kinds(payload)
    key_thumbprint, certificate_thumbprint = _confirmation(payload["cnf"]) if "cnf" in payload else _UNBOUND
    if issuer.required_claims or issuer.one_of_claims:
        _require_marks(payload, issuer, is_key_bound=key_thumbprint is not None)
    granting = issuer.scope_claims
    if issuer.app_scope_claims and payload.keys().isdisjoint(granting):
        granting = issuer.app_scope_claims
    # By position, in the order of the fields (a test checks it): keywords would take 0.5 µs more.
    return AccessToken(
        issuer.identifier,
        _subject(payload, required=issuer.subject_required),
        _audiences(payload) if issuer.audience_claim == "aud" else _clients_as_audiences(payload, issuer),
        _expires_at(payload),
        _numeric_date(payload, "nbf"),
        _numeric_date(payload, "iat"),
        _numeric_date(payload, "auth_time"),
        _string(payload, "acr"),
        _client_id(payload, issuer.client_id_claims),
        _string(payload, "jti"),
        _scopes(payload, granting, may_be_list=issuer.scope_list),
        _permissions(payload, granting),
        payload_json,
        key_thumbprint,
        certificate_thumbprint,
    )


def _refuse_other_kinds(payload: Mapping[str, Any]) -> None:
    if _CLAIMS_OF_OTHER_KINDS.isdisjoint(payload):
        return
    for name in _FOREIGN_CLAIMS:
        if name in payload:
            raise InvalidToken(Reason.TOKEN_TYPE, claim=name)
    kind = payload.get("typ")
    if isinstance(kind, str) and kind in _FOREIGN_TYPES:
        raise InvalidToken(Reason.TOKEN_TYPE, claim="typ")
    # OpenID Connect Core §2: `nonce` is a claim of ID tokens. Keycloak before 25 puts it into access tokens too, and
    # marks those with the claim `typ` `Bearer`, or `DPoP` if they are bound to a key.
    if "nonce" in payload and kind not in ("Bearer", "DPoP"):
        raise InvalidToken(Reason.TOKEN_TYPE, claim="nonce")
    # Cognito names the kind of token in `token_use`.
    if payload.get("token_use", "access") != "access":
        raise InvalidToken(Reason.TOKEN_TYPE, claim="token_use")


_UNBOUND = (None, None)


def _confirmation(confirmation: Any) -> tuple[str | None, str | None]:
    """Return the thumbprints of the key and of the certificate that a token is bound to, from `cnf` (RFC 7800 §3.1)."""
    if not isinstance(confirmation, dict):
        raise InvalidToken(Reason.CLAIM_MALFORMED, claim="cnf")
    key_thumbprint, certificate_thumbprint = map(confirmation.get, _THUMBPRINTS)
    for name, value in zip(_THUMBPRINTS, (key_thumbprint, certificate_thumbprint), strict=True):
        if name in confirmation and not (isinstance(value, str) and 0 < len(value) <= _MAX_THUMBPRINT_CHARS):
            raise InvalidToken(Reason.CLAIM_MALFORMED, claim="cnf")
    # Only the holder of the key may use the token. Where we cannot tell who that is, nobody may.
    if key_thumbprint is None and certificate_thumbprint is None:
        raise InvalidToken(Reason.KEY_BOUND, claim="cnf")
    return key_thumbprint, certificate_thumbprint


def _require_marks(payload: Mapping[str, Any], issuer: TrustedIssuer, *, is_key_bound: bool) -> None:
    """Refuse a token without what marks the issuer's access tokens."""
    for name, wanted in issuer.required_claims.items():
        if name not in payload:
            raise InvalidToken(Reason.CLAIM_MISSING, claim=name)
        if not equal_json(wanted, payload[name]) and not (
            # Keycloak says `DPoP` in place of `Bearer` in tokens that are bound to a key.
            is_key_bound and name == "typ" and wanted == "Bearer" and payload[name] == "DPoP"
        ):
            raise InvalidToken(Reason.TOKEN_TYPE, claim=name)
    for group in issuer.one_of_claims:
        # Not any(): its generator costs 0.4 µs.
        for name in group:
            if (value := payload.get(name)) and type(value) in _STRING_OR_LIST:
                break
        else:
            raise InvalidToken(Reason.CLAIM_MISSING, claim=" or ".join(group))


def _subject(payload: Mapping[str, Any], *, required: bool) -> str | None:
    subject = payload.get("sub")
    # NUL: PostgreSQL stores none, and C code ends a text there, so that two subjects would become one.
    if not isinstance(subject, str) or not subject or "\0" in subject:
        if not required and "sub" not in payload:
            return None
        raise _missing_or_malformed(payload, "sub")
    return subject


def _expires_at(payload: Mapping[str, Any]) -> int:
    expires_at = _numeric_date(payload, "exp")
    if expires_at is None:
        raise InvalidToken(Reason.CLAIM_MISSING, claim="exp")
    # Rounded down: other implementations drop the fraction, and we accept no token for longer than they do.
    return int(expires_at)


def _audiences(payload: Mapping[str, Any]) -> tuple[str, ...]:
    audience = payload.get("aud")
    if isinstance(audience, str):
        return (audience,)
    if not isinstance(audience, list):
        raise _missing_or_malformed(payload, "aud")
    return tuple(_strings(audience, "aud"))


def _clients_as_audiences(payload: Mapping[str, Any], issuer: TrustedIssuer) -> tuple[str, ...]:
    """Return the client's id in place of `aud`, for an issuer whose tokens have no `aud`, or not all of them."""
    # RFC 7519 §4.1.3: whoever is not named in an `aud` that is present must refuse the token.
    if "aud" in payload and set(issuer.resource_audiences).isdisjoint(_audiences(payload)):
        raise InvalidToken(Reason.AUDIENCE, claim="aud")
    client_id = _string(payload, "client_id")
    if client_id is None:
        raise InvalidToken(Reason.CLAIM_MISSING, claim="client_id")
    return (client_id,)


def _client_id(payload: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    client_id = None
    for name in names:
        # Those that do not count are checked as well.
        if (value := _string(payload, name)) is not None and client_id is None:
            client_id = value
    return client_id


def _scopes(payload: Mapping[str, Any], granting: tuple[str, ...], *, may_be_list: bool) -> frozenset[str]:
    scopes = _NONE
    if "scope" in granting and "scope" in payload:
        scope = payload["scope"]
        if isinstance(scope, list) and may_be_list:
            scopes = frozenset(_strings(scope, "scope"))
        elif isinstance(scope, str):
            scopes = _split_scope(scope, "scope")
        else:
            raise InvalidToken(Reason.CLAIM_MALFORMED, claim="scope")
    if "scp" in granting and "scp" in payload:
        # Okta sends a list, Microsoft Entra a string.
        scp = payload["scp"]
        scopes |= _split_scope(scp, "scp") if isinstance(scp, str) else frozenset(_strings(scp, "scp"))
    return scopes


def _permissions(payload: Mapping[str, Any], granting: tuple[str, ...]) -> frozenset[str]:
    permissions = _NONE
    if "permissions" in granting and "permissions" in payload:
        permissions = frozenset(_strings(payload["permissions"], "permissions"))
    if "roles" in granting and "roles" in payload:
        permissions |= frozenset(_strings(payload["roles"], "roles"))
    return permissions


# The tokens of one app have equal scopes. Caching saves 0.9 µs, 3 % of verifying an unseen token, and cached tokens
# share one set instead of holding 0.5 KiB each.
@lru_cache(maxsize=256)
def _split_scope(scope: str, name: str) -> frozenset[str]:
    """Return the words of a scope (RFC 6749 §3.3): separated by single spaces, U+0020 and no other white space."""
    if not scope:
        return _NONE  # sent by some issuers in place of no claim
    words = frozenset(scope.split(" "))
    if "" in words or _SCOPE_CHARACTERS.fullmatch(scope) is None:
        raise InvalidToken(Reason.CLAIM_MALFORMED, claim=name)
    return words


def _numeric_date(payload: Mapping[str, Any], name: str) -> float | None:
    """Return a claim that is a NumericDate (RFC 7519 §2), or None if it is absent."""
    value: Any = payload.get(name)
    # Not isinstance: JSON's `true` is an int to it. The range also excludes infinity, which json reads `1e400` as.
    if type(value) in _JSON_NUMBERS and 0 <= value <= _MAX_NUMERIC_DATE:
        return value  # type: ignore[no-any-return]  # a number, as was just checked
    if name in payload:
        raise InvalidToken(Reason.CLAIM_MALFORMED, claim=name)
    return None


def _string(payload: Mapping[str, Any], name: str) -> str | None:
    """Return a claim that is a string, or None if it is absent; JSON's `null` is not absent, but malformed."""
    value: Any = payload.get(name)
    if isinstance(value, str):
        return value
    if name in payload:
        raise InvalidToken(Reason.CLAIM_MALFORMED, claim=name)
    return None


def _strings(value: Any, name: str) -> list[str]:
    if not isinstance(value, list):
        raise InvalidToken(Reason.CLAIM_MALFORMED, claim=name)
    for item in value:
        if not isinstance(item, str):
            raise InvalidToken(Reason.CLAIM_MALFORMED, claim=name)
    return value


def _missing_or_malformed(payload: Mapping[str, Any], name: str) -> InvalidToken:
    return InvalidToken(Reason.CLAIM_MALFORMED if name in payload else Reason.CLAIM_MISSING, claim=name)
