"""The tokens, in the configured dialect: access tokens, signed and verified again, and ID tokens."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeGuard

from mock_issuer.config import Client, User
from mock_issuer.dialects.content import AccessContent, IdContent
from mock_issuer.dialects.vendors import FORMS, TokenForm
from mock_issuer.flow.issuer import Issuer
from mock_issuer.flow.records import Access
from mock_issuer.oauth.requested_access import split_scope
from mock_issuer.rules import ExtraClaims


class VerifiedToken(NamedTuple):
    """An access token that this issuer has signed and that is still valid. A test may have chosen its claims.

    Args:
        claims: its claims.
        client_id: the client that it was issued to, wherever the dialect has it; None without this claim.
        scopes: the scopes that it names.
        audiences: the APIs that it is for; None if the dialect has tokens that name none, and this is one.
    """

    claims: dict[str, Any]
    client_id: Any
    scopes: tuple[str, ...]
    audiences: list[Any] | None

    @property
    def key_thumbprint(self) -> str | None:
        """The key that it is bound to (RFC 9449 §6.1); None if it is bound to none, empty if to an unknown one."""
        confirmation = self.claims.get("cnf")
        if confirmation is None:
            return None
        thumbprint = confirmation.get("jkt") if isinstance(confirmation, dict) else None
        return thumbprint if isinstance(thumbprint, str) else ""


def user_tokens(
    issuer: Issuer,
    client: Client,
    access: Access,
    user: User,
    *,
    auth_time: int,
    claims: ExtraClaims,
    refresh_token: str | None,
    refreshed: bool = False,
    key_thumbprint: str | None = None,
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
        refreshed: whether they are for a refresh token.
        key_thumbprint: the key that the access token is bound to (RFC 9449 §6.1); None for none.
    """
    form, custom = _form(issuer), custom_claims(user, access.scopes)
    content = _access_content(issuer, client, access, sub=user.sub, auth_time=auth_time, refreshed=refreshed)
    access_claims = {**custom, **claims.access_token, **form.access_claims(content)}
    response = _response(issuer, client, access, access_claims, key_thumbprint)
    if refresh_token is not None:
        response["refresh_token"] = refresh_token
    if "openid" in access.scopes:
        access_token = response["access_token"]
        id_content = _id_content(issuer, client, access, user, auth_time=auth_time, access_token=access_token)
        id_claims = {**custom, **claims.id_token, **form.id_claims(id_content)}
        response["id_token"] = issuer.keys.sign(id_claims, typ=form.id_type)
    return response


def client_tokens(
    issuer: Issuer, client: Client, access: Access, *, key_thumbprint: str | None = None
) -> dict[str, Any]:
    """Return the token response for client credentials (RFC 6749 §4.4.3): an access token alone."""
    content = _access_content(issuer, client, access, sub=None)
    return _response(issuer, client, access, _form(issuer).access_claims(content), key_thumbprint)


def sign_access_token(
    issuer: Issuer,
    *,
    scope: str,
    sub: str | None,
    audience: str,
    client_id: str,
    expires_in: float,
    claims: Mapping[str, Any],
    header: Mapping[str, Any],
) -> str:
    """Return an access token with any content, for tests, opaque if the client's are. Checks nothing.

    Args:
        issuer: signs it.
        scope: its scopes, separated by spaces.
        sub: its subject, a user; None for the token of a machine, whose subject the dialect decides.
        audience: its audience.
        client_id: the client that it is issued to.
        expires_in: its lifetime in seconds; negative for an expired one.
        claims: claims to replace or add; a value of None omits the claim.
        header: the same for header parameters, which an opaque token has not.
    """
    client = issuer.config.find_client(client_id) or Client(client_id=client_id)
    access = Access(audience=audience, scopes=split_scope(scope))
    form = _form(issuer)
    own_claims = form.access_claims(_access_content(issuer, client, access, sub=sub))
    own_claims["exp"] = int(issuer.clock() + expires_in)
    present = {name: value for name, value in {**own_claims, **claims}.items() if value is not None}
    return _issue(issuer, client, present, expires_at=own_claims["exp"], header=header)


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


def verify_access_token(issuer: Issuer, unverified_token: str) -> VerifiedToken | None:
    """Return a valid access token of this issuer, or None.

    Checks signature and `typ` unless it is opaque, `iss`, `exp`, `nbf`, what tells it from an ID token in this dialect,
    and that its user was not removed. Does not check the audience. A test can have the issuer sign other claims with
    any value.
    """
    form = _form(issuer)
    opaque = issuer.state.read_opaque_token(unverified_token)
    claims = issuer.keys.verify(unverified_token, typ=form.access_type) if opaque is None else dict(opaque)
    if claims is None or claims.get("iss") != issuer.config.issuer or not form.is_access_token(claims):
        return None
    scopes = form.read_scopes(claims)
    now, expires_at, not_before = issuer.clock(), claims.get("exp"), claims.get("nbf", 0)
    if scopes is None or not _is_time(expires_at) or not _is_time(not_before) or not not_before <= now < expires_at:
        return None
    if issuer.was_removed(claims.get("sub")):
        return None
    audience = claims.get("aud")
    # RFC 7519 §4.1.3: a list, or one.
    audiences = audience if isinstance(audience, list) else [audience]
    unbound = audience is None and not form.names_audience
    return VerifiedToken(claims, claims.get(form.client_claim), scopes, None if unbound else audiences)


def is_for_userinfo(issuer: Issuer, verified: VerifiedToken) -> bool:
    """Return whether an access token is for `/userinfo` (OpenID Connect Core §5.3), if it has the scope `openid`.

    In some dialects its audience has to say so; the other vendors' endpoints take the tokens for other APIs too.
    """
    if not _form(issuer).userinfo_in_audience:
        return True
    return issuer.userinfo_api.audience in (verified.audiences or ())


def _is_time(value: object) -> TypeGuard[float]:
    # RFC 7519 §2: a NumericDate may have a fraction. Python reads infinite numbers from JSON, too.
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _form(issuer: Issuer) -> TokenForm:
    return FORMS[issuer.config.dialect]


def _access_content(
    issuer: Issuer,
    client: Client,
    access: Access,
    *,
    sub: str | None,
    auth_time: int | None = None,
    refreshed: bool = False,
) -> AccessContent:
    now = int(issuer.clock())
    user = None if sub is None else issuer.config.find_user(sub=sub)
    return AccessContent(
        issuer=issuer.config.issuer,
        audience=access.audience,
        scopes=access.scopes,
        sub=sub,
        client_id=client.client_id,
        has_secret=client.secret is not None,
        issued_at=now,
        expires_at=now + issuer.config.access_token_seconds,
        auth_time=auth_time,
        refreshed=refreshed,
        profile=profile_claims(user, access.scopes) if user else {},
        username=user.username if user else "",
        userinfo_audience=issuer.userinfo_api.audience,
    )


def _id_content(
    issuer: Issuer, client: Client, access: Access, user: User, *, auth_time: int, access_token: str
) -> IdContent:
    now = int(issuer.clock())
    return IdContent(
        issuer=issuer.config.issuer,
        client_id=client.client_id,
        sub=user.sub,
        issued_at=now,
        expires_at=now + issuer.config.id_token_seconds,
        auth_time=auth_time,
        profile=profile_claims(user, access.scopes),
        username=user.username,
        access_token=access_token,
    )


def _response(
    issuer: Issuer, client: Client, access: Access, claims: Mapping[str, Any], key_thumbprint: str | None
) -> dict[str, Any]:
    # RFC 9449 §5, §6.1.
    bound = claims if key_thumbprint is None else {**claims, "cnf": {"jkt": key_thumbprint}}
    return {
        "access_token": _issue(issuer, client, bound, expires_at=claims["exp"]),
        "token_type": "Bearer" if key_thumbprint is None else "DPoP",
        "expires_in": issuer.config.access_token_seconds,
        "scope": " ".join(access.scopes),
    }


def _issue(
    issuer: Issuer,
    client: Client,
    claims: Mapping[str, Any],
    *,
    expires_at: float,
    header: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    if (client.access_token_format or issuer.config.access_token_format) == "opaque":
        return issuer.state.issue_opaque_token(claims, expires_at=expires_at, now=issuer.clock())
    return issuer.keys.sign(claims, typ=_form(issuer).access_type, header=header)
