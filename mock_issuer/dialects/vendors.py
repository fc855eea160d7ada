"""The dialects: names, forms and values of the claims, as each vendor documents its tokens; the README has the table.

What a vendor calls opaque is random here; what identifies something is the same in every token about it.
"""

import base64
import hashlib
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from mock_issuer.config import Dialect
from mock_issuer.dialects.content import AccessContent, IdContent

Claims = dict[str, Any]

_TOKEN_ID_BYTES = 16
# RFC 9068 §2.1.
_ACCESS_TOKEN_TYPE = "at+jwt"  # noqa: S105  # a media type
_ENTRA_VERSION = "2.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenForm:
    """The form of one vendor's tokens.

    Args:
        access_type: the header `typ` of access tokens; None for a header without it.
        id_type: the same for ID tokens.
        access_claims: returns the claims of an access token.
        id_claims: returns the claims of an ID token.
        client_claim: the claim of access tokens that names the client.
        scope_claims: the claims of access tokens that name scopes, each with its type: `str` (separated by spaces) or
            `list`. A user's token has the first, a machine's the last.
        marks: claims that every access token has with these values, and no other token.
        names_audience: whether `aud` of an access token names the API.
        userinfo_in_audience: whether `aud` names `/userinfo` too if the token is also for that.
    """

    access_type: str | None
    id_type: str | None
    access_claims: Callable[[AccessContent], Claims]
    id_claims: Callable[[IdContent], Claims]
    client_claim: str
    scope_claims: Mapping[str, type] = field(default_factory=lambda: MappingProxyType({"scope": str}))
    marks: Mapping[str, str] = field(default_factory=dict)
    names_audience: bool = True
    userinfo_in_audience: bool = False

    def read_scopes(self, claims: Mapping[str, Any]) -> tuple[str, ...] | None:
        """Return the scopes that an access token names, or None if it has no claim for them, or one of another type."""
        present = [(claims[name], kind) for name, kind in self.scope_claims.items() if name in claims]
        if not present or not all(isinstance(value, kind) for value, kind in present):
            return None
        words = [word for value, _ in present for word in (value.split(" ") if isinstance(value, str) else value)]
        return tuple(dict.fromkeys(word for word in words if isinstance(word, str) and word))

    def is_access_token(self, claims: Mapping[str, Any]) -> bool:
        """Return whether claims are an access token's, where the header may be that of an ID token too."""
        if self.access_type != self.id_type:
            return True
        marked = all(claims.get(name) == value for name, value in self.marks.items())
        return marked and isinstance(claims.get(self.client_claim), str)


def _times(content: AccessContent | IdContent) -> Claims:
    return {"iss": content.issuer, "iat": content.issued_at, "exp": content.expires_at}


def _login_time(content: AccessContent) -> int:
    # A test can have a token signed without any login.
    return content.issued_at if content.auth_time is None else content.auth_time


def _random() -> str:
    return secrets.token_urlsafe(_TOKEN_ID_BYTES)


def _identifier(*names: object) -> str:
    """Return the same GUID for the same names."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, "\0".join(map(str, names))))


def _access_token_hash(content: IdContent) -> str:
    # OpenID Connect Core §3.1.3.6: the left half of the hash, for RS256.
    digest = hashlib.sha256(content.access_token.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


# --- RFC 9068, and OpenID Connect Core §2 ---


def _rfc9068_access(content: AccessContent) -> Claims:
    claims = _auth0_common(content) | {"client_id": content.client_id, "jti": _random()}
    return claims if content.auth_time is None else claims | {"auth_time": content.auth_time}


def _rfc9068_id(content: IdContent) -> Claims:
    about = {"sub": content.sub, "aud": content.client_id, "auth_time": content.auth_time}
    return {**content.profile, **_times(content), **about}


# --- Auth0: "Access Token Profiles" (the Auth0 profile), "ID Token Structure" ---


def _auth0_common(content: AccessContent) -> Claims:
    audience: str | list[str] = content.audience
    if "openid" in content.scopes and content.userinfo_audience != content.audience:
        audience = [content.audience, content.userinfo_audience]
    sub = f"{content.client_id}@clients" if content.sub is None else content.sub
    return _times(content) | {"sub": sub, "aud": audience, "scope": " ".join(content.scopes)}


def _auth0_access(content: AccessContent) -> Claims:
    claims = _auth0_common(content) | {"azp": content.client_id}
    if content.sub is None:
        return claims | {"gty": "client-credentials"}
    return claims | {"gty": "refresh_token"} if content.refreshed else claims


def _auth0_id(content: IdContent) -> Claims:
    claims = _rfc9068_id(content)
    if "preferred_username" in claims:
        claims["nickname"] = claims.pop("preferred_username")
    return claims


# --- Microsoft Entra ID, version 2: "Access token claims reference", "ID token claims reference" ---


def _entra_common(content: AccessContent | IdContent, *, sub: str, object_id: str) -> Claims:
    names = {name: content.profile[name] for name in ("name", "preferred_username") if name in content.profile}
    return names | {
        **_times(content),
        "nbf": content.issued_at,
        "sub": sub,
        "oid": object_id,
        "tid": _identifier(content.issuer),
        "aio": _random(),
        "rh": _random(),
        "uti": _random(),
        "ver": _ENTRA_VERSION,
    }


def _entra_access(content: AccessContent) -> Claims:
    client = {"aud": content.audience, "azp": content.client_id, "azpacr": "1" if content.has_secret else "0"}
    if content.sub is None:
        # The subject is the object id of the client's service principal.
        principal = _identifier(content.issuer, content.client_id)
        common = _entra_common(content, sub=principal, object_id=principal)
        return common | client | {"roles": list(content.scopes)}
    common = _entra_common(content, sub=content.sub, object_id=_identifier(content.issuer, content.sub))
    return common | client | {"scp": " ".join(content.scopes)}


def _entra_id(content: IdContent) -> Claims:
    claims = _entra_common(content, sub=content.sub, object_id=_identifier(content.issuer, content.sub))
    claims["aud"] = content.client_id
    return claims | {"email": content.profile["email"]} if "email" in content.profile else claims


# --- Okta, custom authorization server: "OpenID Connect & OAuth 2.0 API", "Claims" ---


def _okta_access(content: AccessContent) -> Claims:
    claims = _times(content) | {
        "ver": 1,
        "jti": f"AT.{_random()}",
        "aud": content.audience,
        "cid": content.client_id,
        "scp": list(content.scopes),
    }
    if content.sub is None:
        return claims | {"sub": content.client_id}
    return claims | {"sub": content.sub, "uid": content.sub, "auth_time": _login_time(content)}


def _okta_id(content: IdContent) -> Claims:
    # Without claims about the user: they are at /userinfo if an access token comes along.
    return _times(content) | {
        "sub": content.sub,
        "ver": 1,
        "aud": content.client_id,
        "jti": f"ID.{_random()}",
        "amr": ["pwd"],
        "idp": _identifier(content.issuer, "idp"),
        "auth_time": content.auth_time,
        "at_hash": _access_token_hash(content),
    }


# --- Keycloak: Server Administration Guide, "Audience support"; `AccessToken`, `TokenUtil` ---


def _keycloak_access(content: AccessContent) -> Claims:
    claims = {
        **content.profile,
        **_times(content),
        "jti": str(uuid.uuid4()),
        "aud": content.audience,
        "typ": "Bearer",
        "azp": content.client_id,
        "acr": "1",
        "allowed-origins": [],
        "realm_access": {"roles": []},
        "resource_access": {},
        "scope": " ".join(content.scopes),
    }
    if content.sub is None:
        address = "127.0.0.1"
        service_account = _identifier(content.issuer, content.client_id)
        client = {"client_id": content.client_id, "clientHost": address, "clientAddress": address}
        return claims | client | {"sub": service_account}
    auth_time = _login_time(content)
    return claims | {"sub": content.sub, "auth_time": auth_time, "sid": _identifier(content.sub, auth_time)}


def _keycloak_id(content: IdContent) -> Claims:
    return {
        **content.profile,
        **_times(content),
        "sub": content.sub,
        "jti": str(uuid.uuid4()),
        "aud": content.client_id,
        "typ": "ID",
        "azp": content.client_id,
        "acr": "1",
        "auth_time": content.auth_time,
        "sid": _identifier(content.sub, content.auth_time),
        "at_hash": _access_token_hash(content),
    }


# --- Amazon Cognito: Developer Guide, "Understanding the access token", "Understanding the identity (ID) token" ---


def _cognito_access(content: AccessContent) -> Claims:
    # Without `aud`, which tokens have only after a resource binding; a machine's never.
    claims = _times(content) | {
        "version": 2,
        "client_id": content.client_id,
        "token_use": "access",
        "scope": " ".join(content.scopes),
        "auth_time": _login_time(content),
        "jti": str(uuid.uuid4()),
    }
    if content.sub is None:
        return claims | {"sub": content.client_id}
    return claims | {
        "sub": content.sub,
        "username": content.username or content.sub,
        "origin_jti": _identifier(content.sub, claims["auth_time"]),
        "event_id": str(uuid.uuid4()),
    }


def _cognito_id(content: IdContent) -> Claims:
    return {
        **{name: value for name, value in content.profile.items() if name != "preferred_username"},
        **_times(content),
        "sub": content.sub,
        "aud": content.client_id,
        "token_use": "id",
        "auth_time": content.auth_time,
        "cognito:username": content.username,
        "origin_jti": _identifier(content.sub, content.auth_time),
        "event_id": str(uuid.uuid4()),
        "jti": str(uuid.uuid4()),
    }


# --- Duende IdentityServer: "API Resources", "IdentityServer Options" ---


def _duende_session(sub: str, auth_time: int) -> Claims:
    session = _identifier(sub, auth_time)
    return {"sub": sub, "auth_time": auth_time, "idp": "local", "amr": ["pwd"], "sid": session}


def _duende_access(content: AccessContent) -> Claims:
    claims = _times(content) | {
        "nbf": content.issued_at,
        "aud": content.audience,
        "scope": list(content.scopes),
        "client_id": content.client_id,
        "jti": _random(),
    }
    # `sub` is a user's: a machine's token has none.
    return claims if content.sub is None else claims | _duende_session(content.sub, _login_time(content))


def _duende_id(content: IdContent) -> Claims:
    # Without claims about the user, unless the client asks for them with AlwaysIncludeUserClaimsInIdToken.
    session = _duende_session(content.sub, content.auth_time)
    at_hash = _access_token_hash(content)
    return _times(content) | session | {"nbf": content.issued_at, "aud": content.client_id, "at_hash": at_hash}


FORMS: Mapping[Dialect, TokenForm] = MappingProxyType(
    {
        "rfc9068": TokenForm(
            access_type=_ACCESS_TOKEN_TYPE,
            id_type="JWT",
            access_claims=_rfc9068_access,
            id_claims=_rfc9068_id,
            client_claim="client_id",
            userinfo_in_audience=True,
        ),
        "auth0": TokenForm(
            access_type="JWT",
            id_type="JWT",
            access_claims=_auth0_access,
            id_claims=_auth0_id,
            client_claim="azp",
            userinfo_in_audience=True,
        ),
        "entra": TokenForm(
            access_type="JWT",
            id_type="JWT",
            access_claims=_entra_access,
            id_claims=_entra_id,
            client_claim="azp",
            scope_claims=MappingProxyType({"scp": str, "roles": list}),
        ),
        "okta": TokenForm(
            access_type=None,
            id_type=None,
            access_claims=_okta_access,
            id_claims=_okta_id,
            client_claim="cid",
            scope_claims=MappingProxyType({"scp": list}),
        ),
        "keycloak": TokenForm(
            access_type="JWT",
            id_type="JWT",
            access_claims=_keycloak_access,
            id_claims=_keycloak_id,
            client_claim="azp",
            marks=MappingProxyType({"typ": "Bearer"}),
        ),
        "cognito": TokenForm(
            access_type=None,
            id_type=None,
            access_claims=_cognito_access,
            id_claims=_cognito_id,
            client_claim="client_id",
            marks=MappingProxyType({"token_use": "access"}),
            names_audience=False,
        ),
        "duende": TokenForm(
            access_type=_ACCESS_TOKEN_TYPE,
            id_type="JWT",
            access_claims=_duende_access,
            id_claims=_duende_id,
            client_claim="client_id",
            scope_claims=MappingProxyType({"scope": list}),
        ),
    }
)
