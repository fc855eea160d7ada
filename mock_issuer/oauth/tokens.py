"""What a request is granted: audience and scopes (RFC 6749 §3.3), and the tokens that say so."""

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


def split_scope(scope: str) -> tuple[str, ...]:
    """Split on U+0020 and nothing else, and drop repetitions; the order stays."""
    return tuple(dict.fromkeys(word for word in scope.split(" ") if word))


def user_access(issuer: Issuer, client: Client, form: dict[str, str]) -> Access:
    """Tell what a client asks a user for.

    Without an audience a request is for `/userinfo`, and needs `openid`. Without a scope it is for all scopes of
    the API. `offline_access` is left out where the API or the client has no refresh tokens.

    Raises InvalidRequestError for a missing audience, InvalidTargetError for an unknown one, InvalidScopeError for
    a scope that is neither the API's nor OpenID Connect's.
    """
    scopes = split_scope(form.get("scope", ""))
    if "audience" not in form and ("openid" not in scopes or not OPENID_SCOPES.keys() >= set(scopes)):
        raise InvalidRequestError("The audience is missing; only OpenID Connect scopes with openid do without.")
    api = _find_api(issuer, form["audience"]) if "audience" in form else issuer.userinfo
    _check(scopes, {*api.scopes, *OPENID_SCOPES})
    scopes = scopes or tuple(api.scopes)
    if not (api.allow_offline_access and client.check_grant_type(REFRESH_TOKEN_GRANT_TYPE)):
        scopes = tuple(scope for scope in scopes if scope != "offline_access")
    return Access(audience=api.audience, scopes=scopes)


def machine_access(issuer: Issuer, form: dict[str, str]) -> Access:
    """Tell what a client asks for itself: exactly the scopes it names, or all of the API.

    Raises as user_access does; there is no user, so OpenID Connect's scopes are unknown here.
    """
    if "audience" not in form:
        raise InvalidRequestError("The audience is missing.")
    api = _find_api(issuer, form["audience"])
    scopes = split_scope(form.get("scope", ""))
    _check(scopes, set(api.scopes))
    return Access(audience=api.audience, scopes=scopes or tuple(api.scopes))


def _find_api(issuer: Issuer, audience: str) -> Api:
    api = issuer.config.find_api(audience)
    if api is None:
        raise InvalidTargetError("No API has this audience.")
    return api


def _check(scopes: tuple[str, ...], known: set[str]) -> None:
    if not known.issuperset(scopes):
        raise InvalidScopeError("A requested scope is unknown.")


# `typ` of an access token. RFC 9068 §2.1, and what Auth0 sends by default.
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
    """Make the response for a user's tokens: an ID token with `openid`, a refresh token where there is one.

    The rules' `claims` come first, so that they cannot replace the issuer's own.
    """
    own = _access_claims(issuer, client, access, sub=user.sub) | {"auth_time": auth_time}
    response = _response(issuer, {**claims.access_token, **own})
    if refresh_token is not None:
        response["refresh_token"] = refresh_token
    if "openid" in access.scopes:
        response["id_token"] = _id_token(issuer, client, access, user, auth_time=auth_time, claims=claims)
    return response


def machine_tokens(issuer: Issuer, client: Client, access: Access) -> dict[str, Any]:
    """Make the response for a client that speaks for itself: an access token and no other."""
    claims = _access_claims(issuer, client, access, sub=f"{client.client_id}@clients")
    if issuer.config.token_dialect == "auth0":  # noqa: S105  # the name of a dialect
        claims["gty"] = CLIENT_CREDENTIALS_GRANT_TYPE.replace("_", "-")
    return _response(issuer, claims)


def any_token(
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
    """Make an access token that a test asks for.

    `claims` and `header` replace what would stand there; None omits it.
    """
    client, access = Client(client_id=client_id), Access(audience=audience, scopes=split_scope(scope))
    own = _access_claims(issuer, client, access, sub=sub) | {"exp": int(issuer.clock() + expires_in)}
    typ = ACCESS_TOKEN_TYPES[issuer.config.token_dialect]
    present = {name: value for name, value in {**own, **claims}.items() if value is not None}
    return issuer.keys.sign(present, typ=typ, header=header)


def profile_claims(user: User, scopes: tuple[str, ...]) -> dict[str, Any]:
    """Return what the scopes let a client know about a user (OpenID Connect Core §5.4), `sub` always."""
    claims: dict[str, Any] = {"sub": user.sub}
    if "profile" in scopes:
        claims |= {"name": user.name, "preferred_username": user.username}
    if "email" in scopes:
        claims |= {"email": user.email, "email_verified": True}
    return claims


def _access_claims(issuer: Issuer, client: Client, access: Access, *, sub: str) -> dict[str, Any]:
    now = int(issuer.clock())
    audiences = [access.audience]
    if "openid" in access.scopes and issuer.userinfo.audience not in audiences:
        audiences.append(issuer.userinfo.audience)
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
    now = int(issuer.clock())
    own = profile_claims(user, access.scopes) | {
        "iss": issuer.config.issuer,
        "aud": client.client_id,
        "iat": now,
        "exp": now + issuer.config.id_token_seconds,
        "auth_time": auth_time,
    }
    return issuer.keys.sign({**claims.id_token, **own}, typ="JWT")


def _response(issuer: Issuer, claims: dict[str, Any]) -> dict[str, Any]:
    return {
        "access_token": issuer.keys.sign(claims, typ=ACCESS_TOKEN_TYPES[issuer.config.token_dialect]),
        "token_type": "Bearer",
        "expires_in": issuer.config.access_token_seconds,
        "scope": claims["scope"],
    }
