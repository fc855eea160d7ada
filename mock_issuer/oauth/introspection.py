"""Token introspection (RFC 7662): whether a token is valid, and its content."""

from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError

from mock_issuer.config import Client
from mock_issuer.flow.issuer import Issuer, current_issuer
from mock_issuer.flow.records import RefreshFamily
from mock_issuer.oauth.request import OAuthRequest, authenticate, invalid_client
from mock_issuer.oauth.tokens import verify_access_token

_INACTIVE: dict[str, Any] = {"active": False}


def introspection_response(request: OAuthRequest) -> dict[str, Any]:
    """Return the response to an introspection request (RFC 7662 §2.2).

    That of an access token has all its claims, `client_id` and `scope` under these names in every dialect (RFC 7662
    §2.2 allows further members): an API with opaque tokens has no other place for them.

    A client learns about the tokens that were issued to it, and about those for the audiences that it may introspect.
    Any other token is inactive, like an expired, revoked or unknown one.

    Raises InvalidClientError (401) for a public client and for wrong credentials, InvalidRequestError without a token.
    """
    issuer = current_issuer()
    client = authenticate(request, issuer.config)
    if client.secret is None:
        # RFC 7662 §2.1: the endpoint requires authorization, which a public client cannot give.
        raise invalid_client("Only confidential clients may introspect tokens.")
    unverified_token = request.parameters.get("token")
    if unverified_token is None:
        raise InvalidRequestError("The token is missing.")
    # RFC 7662 §2.1: token_type_hint may be ignored.
    if family := issuer.state.find_current_family(unverified_token, now=issuer.clock()):
        return _refresh_token(issuer, client, family)
    return _access_token(issuer, client, unverified_token)


def _access_token(issuer: Issuer, client: Client, unverified_token: str) -> dict[str, Any]:
    verified = verify_access_token(issuer, unverified_token)
    if verified is None or issuer.state.is_revoked(unverified_token):
        return _INACTIVE
    if not _may_know(client, verified.client_id, verified.audiences):
        return _INACTIVE
    members = verified.claims | {"client_id": verified.client_id, "scope": " ".join(verified.scopes)}
    found = {name: value for name, value in members.items() if value is not None}
    # RFC 9449 §6.2.
    token_type = "Bearer" if verified.key_thumbprint is None else "DPoP"
    return found | {"active": True, "token_type": token_type} | _username(issuer, members.get("sub"))


def _refresh_token(issuer: Issuer, client: Client, family: RefreshFamily) -> dict[str, Any]:
    if not _may_know(client, family.client_id, [family.access.audience]):
        return _INACTIVE
    return {
        "active": True,
        "iss": issuer.config.issuer,
        "sub": family.sub,
        "aud": family.access.audience,
        "exp": int(family.expires_at),
        "iat": int(family.used_at),
        "scope": " ".join(family.access.scopes),
        "client_id": family.client_id,
    } | _username(issuer, family.sub)


def _may_know(client: Client, client_id: object, audiences: list[Any] | None) -> bool:
    # A token that names no API is for each.
    known = client.introspects if audiences is None else [one for one in client.introspects if one in audiences]
    return client_id == client.client_id or bool(known)


def _username(issuer: Issuer, sub: Any) -> dict[str, Any]:
    user = issuer.config.find_user(sub=sub)
    return {"username": user.username} if user else {}
