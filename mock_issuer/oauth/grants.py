"""The grants of the token endpoint: device code, authorization code, refresh token and client credentials.

Only Authlib's errors are used, not its grants: docs/decisions/no-authlib-grants.md says why.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import (
    AccessDeniedError,
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    UnauthorizedClientError,
)
from authlib.oauth2.rfc8628 import (
    DEVICE_CODE_GRANT_TYPE,
    AuthorizationPendingError,
    ExpiredTokenError,
    SlowDownError,
)

from mock_issuer.config import (
    AUTHORIZATION_CODE_GRANT_TYPE,
    CLIENT_CREDENTIALS_GRANT_TYPE,
    REFRESH_TOKEN_GRANT_TYPE,
    Client,
    User,
)
from mock_issuer.flow.decisions import apply_script, run_rules
from mock_issuer.flow.issuer import Issuer, current_issuer
from mock_issuer.flow.records import Access, CodeRefusal, PollRefusal
from mock_issuer.oauth.dpop import InvalidProofError, check_binding, proven_key
from mock_issuer.oauth.request import OAuthRequest, authenticate
from mock_issuer.oauth.requested_access import check_resources, requested_client_access, split_scope
from mock_issuer.oauth.tokens import client_tokens, user_tokens
from mock_issuer.rules import REFRESH_PROTOCOL, ExtraClaims, RuleDenied

_BAD_REFRESH_TOKEN = "The refresh token is unknown, revoked, used before, or another client's."  # noqa: S105  # a text
# RFC 7636 §4.1.
_CODE_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


def token_response(request: OAuthRequest) -> dict[str, Any]:
    """Return the response to a token request (RFC 6749 §5.1), and log its success.

    Raises OAuth2Error for each case of RFC 6749 §5.2 and RFC 8628 §3.5.
    """
    grant_type = _required(request, "grant_type")
    if grant_type not in _GRANTS:
        raise OAuth2Error("This grant_type is not supported.", error="unsupported_grant_type")
    issuer = current_issuer()
    client = authenticate(request, issuer.config)
    if not client.allows_grant(grant_type):
        raise UnauthorizedClientError("The client may not use this grant_type.")
    key_thumbprint = proven_key(issuer, request)
    if client.dpop_bound_access_tokens and key_thumbprint is None:
        # RFC 9449 §5.2.
        raise InvalidProofError("The client is registered to send a DPoP proof with each token request.")
    return _GRANTS[grant_type](issuer, client, request, key_thumbprint)


def _device_code(issuer: Issuer, client: Client, request: OAuthRequest, key: str | None) -> dict[str, Any]:
    # RFC 8628 §3.4, §3.5.
    device_code = _required(request, "device_code")
    if requested := issuer.state.find_grant(device_code, client):
        check_resources(request, requested.access)
        check_binding(requested.key_thumbprint, key)
    if scripted := issuer.state.find_due_scripted_grant(device_code, client, now=issuer.clock()):
        apply_script(issuer, scripted)
    result = issuer.state.poll(device_code, client, now=issuer.clock(), key_thumbprint=key or "")
    if isinstance(result, PollRefusal):
        raise _poll_error(result)
    grant, user = result.grant, _find_user(issuer, result.grant.sub)
    _log_success(issuer, "sede", client, request, access=grant.access, user=user)
    return user_tokens(
        issuer,
        client,
        grant.access,
        user,
        auth_time=grant.auth_time,
        claims=grant.claims,
        refresh_token=result.refresh_token,
        key_thumbprint=key,
    )


def _authorization_code(issuer: Issuer, client: Client, request: OAuthRequest, key: str | None) -> dict[str, Any]:
    # RFC 6749 §4.1.3, RFC 7636 §4.5.
    code, redirect_uri = _required(request, "code"), _required(request, "redirect_uri")
    code_verifier = _required(request, "code_verifier")
    if not _CODE_VERIFIER.fullmatch(code_verifier):
        raise InvalidGrantError("The code_verifier is not 43 to 128 unreserved characters.")
    if requested := issuer.state.find_code(code, client):
        check_resources(request, requested.request.access)
        check_binding(requested.request.key_thumbprint, key)
    result = issuer.state.redeem_code(
        code,
        client,
        redirect_uri=redirect_uri,
        code_challenge=_code_challenge(code_verifier),
        address=request.address,
        now=issuer.clock(),
        key_thumbprint=key or "",
    )
    if isinstance(result, CodeRefusal):
        raise InvalidGrantError(_CODE_REFUSALS[result])
    granted, access = result.code, result.code.request.access
    user = _find_user(issuer, granted.sub)
    # OpenID Connect Core §3.1.3.7: the ID token repeats the nonce.
    nonce = {"nonce": granted.request.nonce} if granted.request.nonce else {}
    _log_success(issuer, "seacft", client, request, access=access, user=user)
    response = user_tokens(
        issuer,
        client,
        access,
        user,
        auth_time=granted.auth_time,
        claims=replace(granted.claims, id_token={**granted.claims.id_token, **nonce}),
        refresh_token=result.refresh_token,
        key_thumbprint=key,
    )
    issuer.state.add_access_token(code, response["access_token"], now=issuer.clock())
    return response


def _refresh_token(issuer: Issuer, client: Client, request: OAuthRequest, key: str | None) -> dict[str, Any]:
    # RFC 6749 §6; rotation and reuse detection: RFC 9700 §4.14.2.
    refresh_token = _required(request, "refresh_token")
    family = issuer.state.find_family(refresh_token, client, now=issuer.clock())
    if family is None:
        raise InvalidGrantError(_BAD_REFRESH_TOKEN)
    # Before the reuse of a token is noticed: who lacks the key can neither use a token nor revoke its family.
    check_binding(family.key_thumbprint, key)
    access, user, claims = family.access, _find_user(issuer, family.sub), ExtraClaims()
    # Resource, scope and rules are not checked for a reused token: it must revoke its family below.
    if family.current_token == refresh_token:
        check_resources(request, access)
        # RFC 6749 §6: the scopes granted first, or fewer. The family keeps them all for the next refresh.
        scopes = split_scope(request.parameters.get("scope", "")) or access.scopes
        if not set(access.scopes).issuperset(scopes):
            raise InvalidScopeError("A requested scope was not granted to this refresh token.")
        access = Access(audience=access.audience, scopes=scopes)
        try:
            claims = run_rules(issuer, user, client, access, REFRESH_PROTOCOL)
        except RuleDenied as exc:
            raise AccessDeniedError("A rule refused the refresh.") from exc
    successor = issuer.state.use_refresh_token(
        refresh_token, client, address=request.address, now=issuer.clock(), key_thumbprint=key or ""
    )
    if successor is None:
        issuer.log_event("ferrt", client_id=client.client_id, ip=request.address, user_id=user.sub)
        raise InvalidGrantError(_BAD_REFRESH_TOKEN)
    _log_success(issuer, "sertft", client, request, access=access, user=user)
    response = user_tokens(
        issuer,
        client,
        access,
        user,
        auth_time=family.auth_time,
        claims=claims,
        refresh_token=successor if client.rotate_refresh_tokens else None,
        refreshed=True,
        key_thumbprint=key,
    )
    issuer.state.add_access_token(family.code, response["access_token"], now=issuer.clock())
    return response


def _client_credentials(issuer: Issuer, client: Client, request: OAuthRequest, key: str | None) -> dict[str, Any]:
    # RFC 6749 §4.4.
    access = requested_client_access(issuer, client, request)
    _log_success(issuer, "seccft", client, request, access=access)
    return client_tokens(issuer, client, access, key_thumbprint=key)


_GRANTS: Mapping[str, Callable[[Issuer, Client, OAuthRequest, str | None], dict[str, Any]]] = MappingProxyType(
    {
        AUTHORIZATION_CODE_GRANT_TYPE: _authorization_code,
        DEVICE_CODE_GRANT_TYPE: _device_code,
        REFRESH_TOKEN_GRANT_TYPE: _refresh_token,
        CLIENT_CREDENTIALS_GRANT_TYPE: _client_credentials,
    }
)


_CODE_REFUSALS: Mapping[CodeRefusal, str] = MappingProxyType(
    {
        CodeRefusal.UNKNOWN: "The code is unknown, used before, or another client's.",
        CodeRefusal.EXPIRED: "The code has expired.",
        CodeRefusal.OTHER_REDIRECT_URI: "The redirect_uri is not the one of the authorization request.",
        CodeRefusal.WRONG_VERIFIER: "The code_verifier does not fit the code_challenge.",
    }
)


def _code_challenge(code_verifier: str) -> str:
    # RFC 7636 §4.2: S256.
    return base64.urlsafe_b64encode(hashlib.sha256(code_verifier.encode()).digest()).rstrip(b"=").decode()


def _required(request: OAuthRequest, name: str) -> str:
    if name not in request.parameters:
        raise InvalidRequestError(f"The {name} is missing.")
    return request.parameters[name]


def _find_user(issuer: Issuer, sub: str) -> User:
    user = issuer.config.find_user(sub=sub)
    if user is None:
        # A test removed the user after the approval. RFC 6749 §5.2: the grant is no longer valid.
        raise InvalidGrantError("The user who approved this no longer exists.")
    return user


def _poll_error(refusal: PollRefusal) -> OAuth2Error:
    match refusal:
        case PollRefusal.PENDING:
            return AuthorizationPendingError("The user has not answered yet.")
        case PollRefusal.TOO_FAST:
            return SlowDownError("The device polls faster than the interval allows.")
        case PollRefusal.EXPIRED:
            return ExpiredTokenError("The device_code has expired; start again.")
        case PollRefusal.DENIED:
            return AccessDeniedError("The request was refused.")
        case PollRefusal.UNKNOWN:
            return InvalidGrantError("The device_code is unknown, used before, or another client's.")


def _log_success(
    issuer: Issuer, event: str, client: Client, request: OAuthRequest, *, access: Access, user: User | None = None
) -> None:
    issuer.log_event(
        event,
        client_id=client.client_id,
        ip=request.address,
        user_id=user.sub if user else "",
        user_name=user.name if user else "",
        audience=access.audience,
        scope=" ".join(access.scopes),
    )
