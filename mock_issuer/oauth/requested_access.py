"""The audience and the scopes that a request asks for (RFC 6749 §3.3, RFC 8707)."""

import re

from authlib.oauth2.rfc6749 import InvalidRequestError, InvalidScopeError

from mock_issuer.config import OPENID_SCOPES, REFRESH_TOKEN_GRANT_TYPE, Api, Client, is_namespaced
from mock_issuer.flow.issuer import Issuer
from mock_issuer.flow.records import Access
from mock_issuer.oauth.request import InvalidTargetError, OAuthRequest

# RFC 3986 §4.3: absolute-URI, which has no fragment (RFC 8707 §2).
_ABSOLUTE_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!$%&'()*+,/0-9:;=?@A-Z\[\]_a-z~.-]+")


def split_scope(scope: str) -> tuple[str, ...]:
    """Split a scope parameter at U+0020 alone (RFC 6749 §3.3); keep the order, drop duplicates."""
    return tuple(dict.fromkeys(word for word in scope.split(" ") if word))


def requested_user_access(issuer: Issuer, client: Client, request: OAuthRequest) -> Access:
    """Return the access for a device request (RFC 8628 §3.1).

    The audience is `audience`, or else `resource` (RFC 8707 §2), the client's default, the issuer's default,
    `/userinfo`. Without `scope`, it is every scope of the API, or `openid` for `/userinfo`. `offline_access` is dropped
    if the API or the client has no refresh tokens.

    Raises InvalidTargetError for an unknown audience, InvalidScopeError for a scope that neither the API nor OpenID
    Connect defines and that does not name a custom claim.
    """
    api = _requested_api(issuer, client, request) or issuer.userinfo_api
    scopes = split_scope(request.parameters.get("scope", ""))
    if not {*api.scopes, *OPENID_SCOPES}.issuperset(scope for scope in scopes if not is_namespaced(scope)):
        if api == issuer.userinfo_api:
            raise InvalidScopeError("A requested scope is unknown to /userinfo; name an API with audience or resource.")
        raise InvalidScopeError("A requested scope is unknown.")
    scopes = scopes or tuple(api.scopes)
    if not (api.allow_offline_access and client.allows_grant(REFRESH_TOKEN_GRANT_TYPE)):
        scopes = tuple(scope for scope in scopes if scope != "offline_access")
    return Access(audience=api.audience, scopes=scopes)


def requested_client_access(issuer: Issuer, client: Client, request: OAuthRequest) -> Access:
    """Return the access for client credentials (RFC 6749 §4.4.2): the requested scopes, or every scope of the API.

    The audience is found as in requested_user_access, but must be an API's. There is no user, so the scopes of OpenID
    Connect and those that name custom claims are unknown here.

    Raises InvalidRequestError for a missing audience, InvalidTargetError for an unknown one, InvalidScopeError for a
    scope that the API does not define.
    """
    api = _requested_api(issuer, client, request)
    if api is None:
        raise InvalidRequestError("The audience is missing.")
    if api == issuer.userinfo_api:
        raise InvalidTargetError("Without a user, no token is for /userinfo.")
    scopes = split_scope(request.parameters.get("scope", ""))
    if not set(api.scopes).issuperset(scopes):
        raise InvalidScopeError("A requested scope is unknown.")
    return Access(audience=api.audience, scopes=scopes or tuple(api.scopes))


def check_resources(request: OAuthRequest, access: Access) -> None:
    """Raise InvalidTargetError if a token request names another resource than was granted (RFC 8707 §2.2)."""
    _check_uris(request)
    if not {access.audience}.issuperset(request.resources):
        raise InvalidTargetError("This resource was not granted.")


def _requested_api(issuer: Issuer, client: Client, request: OAuthRequest) -> Api | None:
    _check_uris(request)
    audience = request.parameters.get("audience")
    # As Auth0 documents: with both parameters, the audience decides.
    if audience is None and request.resources:
        if len(set(request.resources)) > 1:
            raise InvalidTargetError("A token is for one resource only.")
        audience = request.resources[0]
    audience = audience or client.default_audience or issuer.config.default_audience
    if not audience:
        return None
    api = issuer.userinfo_api if audience == issuer.userinfo_api.audience else issuer.config.find_api(audience)
    if api is None:
        raise InvalidTargetError("No API has this audience.")
    return api


def _check_uris(request: OAuthRequest) -> None:
    if not all(map(_ABSOLUTE_URI.fullmatch, request.resources)):
        raise InvalidTargetError("A resource must be an absolute URI without a fragment.")
