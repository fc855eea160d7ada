"""The requested audience and scopes (RFC 6749 §3.3), and the tokens issued for them."""

import secrets
from collections.abc import Mapping
from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError, InvalidScopeError

from mock_issuer.config import (
    CLIENT_CREDENTIALS_GRANT_TYPE,
    OPENID_SCOPES,
    REFRESH_TOKEN_GRANT_TYPE,
    Api,
    Client,
    TokenDialect,
    User,
)
from mock_issuer.flow.issuer import Issuer
from mock_issuer.flow.records import Access
from mock_issuer.oauth.request import InvalidTargetError
from mock_issuer.rules import ExtraClaims

# The header `typ` of access tokens: RFC 9068 §2.1, and what Auth0 sends by default.
ACCESS_TOKEN_TYPES: dict[TokenDialect, str] = {"rfc9068": "at+jwt", "auth0": "JWT"}
_TOKEN_ID_BYTES = 16


def split_scope(scope: str) -> tuple[str, ...]:
    """Split a scope parameter at U+0020 alone (RFC 6749 §3.3); keep the order, drop duplicates."""
    return tuple(dict.fromkeys(word for word in scope.split(" ") if word))


def requested_user_access(issuer: Issuer, client: Client, form: Mapping[str, str]) -> Access:
    """Return the access for a device request (RFC 8628 §3.1).

    Without `audience`, it is the access to `/userinfo`, and the scope must have `openid`. Without `scope`, it is every
    scope of the API. `offline_access` is dropped if the API or the client has no refresh tokens.

    Raises InvalidRequestError for a missing audience, InvalidTargetError for an unknown one, InvalidScopeError for a
    scope that neither the API nor OpenID Connect defines.
    """
    scopes = split_scope(form.get("scope", ""))
    if "audience" not in form and ("openid" not in scopes or not OPENID_SCOPES.keys() >= set(scopes)):
        raise InvalidRequestError("The audience is missing; it is optional only for openid with OpenID Connect scopes.")
    api = _find_api(issuer, form["audience"]) if "audience" in form else issuer.userinfo_api
    _check_scopes(scopes, {*api.scopes, *OPENID_SCOPES})
    scopes = scopes or tuple(api.scopes)
    if not (api.allow_offline_access and client.allows_grant(REFRESH_TOKEN_GRANT_TYPE)):
        scopes = tuple(scope for scope in scopes if scope != "offline_access")
    return Access(audience=api.audience, scopes=scopes)


def requested_client_access(issuer: Issuer, form: Mapping[str, str]) -> Access:
    """Return the access for client credentials (RFC 6749 §4.4.2): the requested scopes, or every scope of the API.

    Raises as requested_user_access does. There is no user, so OpenID Connect's scopes are unknown here.
    """
    if "audience" not in form:
        raise InvalidRequestError("The audience is missing.")
    api = _find_api(issuer, form["audience"])
    scopes = split_scope(form.get("scope", ""))
    _check_scopes(scopes, set(api.scopes))
    return Access(audience=api.audience, scopes=scopes or tuple(api.scopes))


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

    It has an ID token if `openid` was granted. A rule's claims never replace the issuer's own.

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
    response = _response(issuer, {**claims.access_token, **own_claims})
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


def _find_api(issuer: Issuer, audience: str) -> Api:
    api = issuer.config.find_api(audience)
    if api is None:
        raise InvalidTargetError("No API has this audience.")
    return api


def _check_scopes(scopes: tuple[str, ...], known: set[str]) -> None:
    if not known.issuperset(scopes):
        raise InvalidScopeError("A requested scope is unknown.")


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
    return issuer.keys.sign({**claims.id_token, **own_claims}, typ="JWT")


def _response(issuer: Issuer, claims: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "access_token": issuer.keys.sign(claims, typ=ACCESS_TOKEN_TYPES[issuer.config.token_dialect]),
        "token_type": "Bearer",
        "expires_in": issuer.config.access_token_seconds,
        "scope": claims["scope"],
    }
