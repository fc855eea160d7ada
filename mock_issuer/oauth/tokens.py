"""The tokens: access tokens (RFC 9068), signed and verified again, and ID tokens (OpenID Connect Core §2)."""

import math
import secrets
from collections.abc import Mapping
from typing import Any, TypeGuard

from mock_issuer.config import CLIENT_CREDENTIALS_GRANT_TYPE, Client, TokenDialect, User
from mock_issuer.flow.issuer import Issuer
from mock_issuer.flow.records import Access
from mock_issuer.oauth.requested_access import split_scope
from mock_issuer.rules import ExtraClaims

# The header `typ` of access tokens: RFC 9068 §2.1, and what Auth0 sends by default.
ACCESS_TOKEN_TYPES: dict[TokenDialect, str] = {"rfc9068": "at+jwt", "auth0": "JWT"}
_TOKEN_ID_BYTES = 16


def user_tokens(
    issuer: Issuer,
    client: Client,
    access: Access,
    user: User,
    *,
    auth_time: int,
    claims: ExtraClaims,
    refresh_token: str | None,
) -> dict[str, Any]:
    """Return the token response for a user (RFC 6749 §5.1; OpenID Connect Core §3.1.3.3).

    It has an ID token if `openid` was granted. A rule's claims replace the user's custom claims, but never the issuer's
    own.

    Args:
        issuer: signs the tokens.
        client: the client that they are issued to.
        access: their audience and scopes.
        user: their subject.
        auth_time: when the user logged in, in seconds since the epoch.
        claims: the claims that the rules added.
        refresh_token: returned with them; None for none.
    """
    own_claims = _access_claims(issuer, client, access, sub=user.sub) | {"auth_time": auth_time}
    response = _response(issuer, {**custom_claims(user, access.scopes), **claims.access_token, **own_claims})
    if refresh_token is not None:
        response["refresh_token"] = refresh_token
    if "openid" in access.scopes:
        response["id_token"] = _id_token(issuer, client, access, user, auth_time=auth_time, claims=claims)
    return response


def client_tokens(issuer: Issuer, client: Client, access: Access) -> dict[str, Any]:
    """Return the token response for client credentials (RFC 6749 §4.4.3): an access token alone."""
    claims = _access_claims(issuer, client, access, sub=f"{client.client_id}@clients")
    if issuer.config.token_dialect == "auth0":  # noqa: S105  # the name of a dialect
        claims["gty"] = CLIENT_CREDENTIALS_GRANT_TYPE.replace("_", "-")
    return _response(issuer, claims)


def sign_access_token(
    issuer: Issuer,
    *,
    scope: str,
    sub: str,
    audience: str,
    client_id: str,
    expires_in: float,
    claims: Mapping[str, Any],
    header: Mapping[str, Any],
) -> str:
    """Return an access token with any content, for tests. Checks nothing.

    Args:
        issuer: signs it.
        scope: its scopes, separated by spaces.
        sub: its subject.
        audience: its audience.
        client_id: the client that it is issued to.
        expires_in: its lifetime in seconds; negative for an expired one.
        claims: claims to replace or add; a value of None omits the claim.
        header: the same for header parameters.
    """
    client, access = Client(client_id=client_id), Access(audience=audience, scopes=split_scope(scope))
    own_claims = _access_claims(issuer, client, access, sub=sub) | {"exp": int(issuer.clock() + expires_in)}
    typ = ACCESS_TOKEN_TYPES[issuer.config.token_dialect]
    present = {name: value for name, value in {**own_claims, **claims}.items() if value is not None}
    return issuer.keys.sign(present, typ=typ, header=header)


def profile_claims(user: User, scopes: tuple[str, ...]) -> dict[str, Any]:
    """Return the claims about a user that the scopes release (OpenID Connect Core §5.4); `sub` always."""
    claims: dict[str, Any] = {"sub": user.sub}
    if "profile" in scopes:
        claims |= {"name": user.name, "preferred_username": user.username}
    if "email" in scopes:
        claims |= {"email": user.email, "email_verified": True}
    return claims


def custom_claims(user: User, scopes: tuple[str, ...]) -> dict[str, Any]:
    """Return the user's custom claims whose names are among the scopes."""
    return {name: value for name, value in user.claims.items() if name in scopes}


def verify_access_token(issuer: Issuer, unverified_token: str) -> dict[str, Any] | None:
    """Return the claims of a valid access token of this issuer, or None.

    Checks signature, `typ`, `iss`, `exp`, `nbf`, and that its user was not removed. Does not check the audience. The
    claim `scope` is a string; a test can have the issuer sign other claims with any value.
    """
    claims = issuer.keys.verify(unverified_token, typ=ACCESS_TOKEN_TYPES[issuer.config.token_dialect])
    if claims is None or claims.get("iss") != issuer.config.issuer or not isinstance(claims.get("scope"), str):
        return None
    now, expires_at, not_before = issuer.clock(), claims.get("exp"), claims.get("nbf", 0)
    if not _is_time(expires_at) or not _is_time(not_before) or not not_before <= now < expires_at:
        return None
    return None if issuer.was_removed(claims.get("sub")) else claims


def _is_time(value: object) -> TypeGuard[float]:
    # RFC 7519 §2: a NumericDate may have a fraction. Python reads infinite numbers from JSON, too.
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def audiences_of(claims: Mapping[str, Any]) -> list[Any]:
    """Return the claim `aud` as a list (RFC 7519 §4.1.3)."""
    audience = claims.get("aud")
    return audience if isinstance(audience, list) else [audience]


def _access_claims(issuer: Issuer, client: Client, access: Access, *, sub: str) -> dict[str, Any]:
    # RFC 9068 §2.2, or Auth0's default access token.
    now = int(issuer.clock())
    audiences = [access.audience]
    if "openid" in access.scopes and issuer.userinfo_api.audience not in audiences:
        audiences.append(issuer.userinfo_api.audience)
    claims: dict[str, Any] = {
        "iss": issuer.config.issuer,
        "sub": sub,
        "aud": audiences if len(audiences) > 1 else audiences[0],
        "iat": now,
        "exp": now + issuer.config.access_token_seconds,
        "scope": " ".join(access.scopes),
    }
    if issuer.config.token_dialect == "auth0":  # noqa: S105  # the name of a dialect
        return claims | {"azp": client.client_id}
    return claims | {"client_id": client.client_id, "jti": secrets.token_urlsafe(_TOKEN_ID_BYTES)}


def _id_token(
    issuer: Issuer, client: Client, access: Access, user: User, *, auth_time: int, claims: ExtraClaims
) -> str:
    # OpenID Connect Core §2.
    now = int(issuer.clock())
    own_claims = profile_claims(user, access.scopes) | {
        "iss": issuer.config.issuer,
        "aud": client.client_id,
        "iat": now,
        "exp": now + issuer.config.id_token_seconds,
        "auth_time": auth_time,
    }
    custom = custom_claims(user, access.scopes)
    return issuer.keys.sign({**custom, **claims.id_token, **own_claims}, typ="JWT")


def _response(issuer: Issuer, claims: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "access_token": issuer.keys.sign(claims, typ=ACCESS_TOKEN_TYPES[issuer.config.token_dialect]),
        "token_type": "Bearer",
        "expires_in": issuer.config.access_token_seconds,
        "scope": claims["scope"],
    }
