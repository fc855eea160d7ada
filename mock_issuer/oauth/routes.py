"""The OAuth endpoints: device authorization (RFC 8628), token (RFC 6749), revocation (7009), introspection (7662)."""

from collections.abc import Mapping

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidRequestError, UnauthorizedClientError
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE
from flask import Blueprint, Response, jsonify, request

from mock_issuer.config import (
    AUTHORIZATION_CODE_GRANT_TYPE,
    CLIENT_CREDENTIALS_GRANT_TYPE,
    REFRESH_TOKEN_GRANT_TYPE,
    Client,
)
from mock_issuer.flow.issuer import Issuer, current_issuer
from mock_issuer.oauth.dpop import NonceNeededError, nonce_headers, proven_key
from mock_issuer.oauth.grants import token_response
from mock_issuer.oauth.introspection import introspection_response
from mock_issuer.oauth.request import (
    OAuthRequest,
    UnsupportedTokenTypeError,
    authenticate,
    error_response,
    read_request,
    unverified_client_id,
    unverified_parameters,
)
from mock_issuer.oauth.requested_access import requested_user_access
from mock_issuer.oauth.tokens import verify_access_token

_JWT_DOTS = 2
_OTHER_CLIENT = "The token belongs to another client."
# The event code of a failed token request, by grant type.
_FAILURE_EVENTS = {
    AUTHORIZATION_CODE_GRANT_TYPE: "feacft",
    DEVICE_CODE_GRANT_TYPE: "fede",
    REFRESH_TOKEN_GRANT_TYPE: "fertft",
    CLIENT_CREDENTIALS_GRANT_TYPE: "feccft",
}
# Every device gets these until its user has decided, or before its first nonce; they are no failure.
_UNLOGGED_ERRORS = {"authorization_pending", "slow_down", NonceNeededError.error}

blueprint = Blueprint("oauth", __name__, url_prefix="/oauth")


@blueprint.post("/device/code")
def device_code() -> Response:
    """Start a device request and return its codes (RFC 8628 §3.1, §3.2)."""
    issuer = current_issuer()
    unverified = _read()
    client = authenticate(unverified, issuer.config)
    _require_device_client(client)
    access = requested_user_access(issuer, client, unverified)
    grant = issuer.state.start_grant(
        client,
        access,
        address=unverified.address,
        now=issuer.clock(),
        # As a pushed authorization request is bound (RFC 9449 §10.1).
        key_thumbprint=proven_key(issuer, unverified) or "",
    )
    return jsonify(
        device_code=grant.device_code,
        user_code=grant.user_code,
        verification_uri=issuer.verification_uri,
        verification_uri_complete=issuer.verification_uri_complete(grant.user_code),
        expires_in=issuer.config.device_code_seconds,
        interval=issuer.config.poll_interval_seconds,
    )


@blueprint.post("/token")
def token() -> Response:
    """Return tokens for a grant (RFC 6749 §3.2)."""
    return jsonify(token_response(_read()))


@blueprint.post("/revoke")
def revoke() -> Response:
    """Revoke a refresh token and its whole family, or an opaque access token (RFC 7009 §2).

    The access tokens of a family stay valid until they expire.
    """
    issuer = current_issuer()
    unverified = _read()
    client = authenticate(unverified, issuer.config)
    unverified_token = unverified.parameters.get("token")
    if unverified_token is None:
        raise InvalidRequestError("The token is missing.")
    if unverified_token.count(".") == _JWT_DOTS:
        raise UnsupportedTokenTypeError("A signed access token cannot be revoked; it lives until it expires.")
    # RFC 7009 §2.1, §2.2: an unknown token is answered like a revoked one; token_type_hint may be ignored.
    family = issuer.state.revoke(unverified_token, client, now=issuer.clock())
    if family is not None and family.client_id != client.client_id:
        raise InvalidGrantError(_OTHER_CLIENT)
    if family is None:
        _revoke_access_token(issuer, client, unverified_token)
    else:
        issuer.log_event("srrt", client_id=client.client_id, ip=unverified.address, user_id=family.sub)
    return jsonify({})


def _revoke_access_token(issuer: Issuer, client: Client, unverified_token: str) -> None:
    verified = verify_access_token(issuer, unverified_token)
    if verified is not None and verified.client_id != client.client_id:
        raise InvalidGrantError(_OTHER_CLIENT)
    issuer.state.revoke_opaque_token(unverified_token)


@blueprint.post("/introspect")
def introspect() -> Response:
    """Tell a confidential client whether a token is valid, and its content (RFC 7662 §2)."""
    return jsonify(introspection_response(_read()))


@blueprint.errorhandler(OAuth2Error)
def handle_error(error: OAuth2Error) -> Response:
    """Return an error response (RFC 6749 §5.2), and log a failed device or token request."""
    issuer = current_issuer()
    parameters = unverified_parameters(request, issuer.config)
    event = _failure_event(parameters)
    if event is not None and error.error not in _UNLOGGED_ERRORS:
        issuer.log_event(
            event,
            description=error.description or "",
            client_id=unverified_client_id(request, parameters),
            ip=request.remote_addr or "",
            audience=parameters.get("audience", ""),
            scope=parameters.get("scope", ""),
        )
    return error_response(error, issuer.config.profile)


@blueprint.after_request
def add_nonce(response: Response) -> Response:
    """Give the client the nonce for its next DPoP proof, if nonces are configured (RFC 9449 §8.2)."""
    response.headers.update(nonce_headers(current_issuer()))
    return response


def _read() -> OAuthRequest:
    return read_request(request, current_issuer().config)


def _failure_event(parameters: Mapping[str, str]) -> str | None:
    match request.endpoint:
        case "oauth.device_code":
            return "fdeaz"
        case "oauth.token":
            return _FAILURE_EVENTS.get(parameters.get("grant_type", ""))
        case _:
            return None


def _require_device_client(client: Client) -> None:
    # Auth0's conditions for the device flow: the grant enabled, a native application, no secret, and not registered
    # dynamically (RFC 7591).
    if not client.allows_grant(DEVICE_CODE_GRANT_TYPE):
        raise UnauthorizedClientError("The client may not use the device flow.")
    if client.application_type != "native":
        raise UnauthorizedClientError("Only native applications may use the device flow.")
    if client.secret is not None:
        raise UnauthorizedClientError("A confidential client may not use the device flow.")
    if client.dynamically_registered:
        raise UnauthorizedClientError("A dynamically registered client may not use the device flow.")
