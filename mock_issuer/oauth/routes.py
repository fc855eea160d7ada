"""The OAuth endpoints: device authorization (RFC 8628), token (RFC 6749) and revocation (RFC 7009)."""

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidRequestError, UnauthorizedClientError
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE
from flask import Blueprint, Response, jsonify, request

from mock_issuer.config import CLIENT_CREDENTIALS_GRANT_TYPE, REFRESH_TOKEN_GRANT_TYPE, Client
from mock_issuer.flow.issuer import current_issuer
from mock_issuer.oauth import grants
from mock_issuer.oauth.request import (
    UnsupportedTokenTypeError,
    authenticate,
    error_response,
    read_form,
    unverified_client_id,
)
from mock_issuer.oauth.tokens import user_access

_JWT_DOTS = 2
# What a token request that failed is called in the log.
_FAILURES = {
    DEVICE_CODE_GRANT_TYPE: "fede",
    REFRESH_TOKEN_GRANT_TYPE: "fertft",
    CLIENT_CREDENTIALS_GRANT_TYPE: "feccft",
}
# What every device is told until its user has answered is no failure.
_WAITING = {"authorization_pending", "slow_down"}

blueprint = Blueprint("oauth", __name__, url_prefix="/oauth")


@blueprint.post("/device/code")
def device_code() -> Response:
    """Open a device request (RFC 8628 §3.1, §3.2)."""
    issuer = current_issuer()
    unverified = read_form(request)
    client = authenticate(unverified, issuer.config)
    _require_device_client(client)
    access = user_access(issuer, client, unverified.form)
    grant = issuer.state.start(client, access, address=unverified.address, now=issuer.clock())
    return jsonify(
        device_code=grant.device_code,
        user_code=grant.user_code,
        verification_uri=issuer.url("/activate"),
        verification_uri_complete=issuer.verification_uri_complete(grant.user_code),
        expires_in=issuer.config.device_code_seconds,
        interval=issuer.config.poll_interval_seconds,
    )


@blueprint.post("/token")
def token() -> Response:
    """Give tokens for a grant (RFC 6749 §3.2)."""
    return jsonify(grants.answer(read_form(request)))


@blueprint.post("/revoke")
def revoke() -> Response:
    """End a refresh token with all that replaced it (RFC 7009 §2). Access tokens live on until they expire."""
    issuer = current_issuer()
    unverified = read_form(request)
    client = authenticate(unverified, issuer.config)
    unverified_token = unverified.form.get("token")
    if unverified_token is None:
        raise InvalidRequestError("The token is missing.")
    if unverified_token.count(".") == _JWT_DOTS:
        raise UnsupportedTokenTypeError("Only refresh tokens can be revoked; access tokens live until they expire.")
    # RFC 7009 §2.2: an unknown token is as good as revoked. token_type_hint is but a hint, and nothing needs it.
    family = issuer.state.revoke(unverified_token, client)
    if family is not None and family.client_id != client.client_id:
        raise InvalidGrantError("The token belongs to another client.")
    if family is not None:
        issuer.note("srrt", client_id=client.client_id, ip=unverified.address, user_id=family.sub)
    return jsonify({})


@blueprint.errorhandler(OAuth2Error)
def refuse(error: OAuth2Error) -> Response:
    """Answer an error of these endpoints, and note it in the log."""
    issuer = current_issuer()
    event = "fdeaz" if request.endpoint == "oauth.device_code" else _FAILURES.get(request.form.get("grant_type", ""))
    if event is not None and request.endpoint != "oauth.revoke" and error.error not in _WAITING:
        issuer.note(
            event,
            description=error.description or "",
            client_id=unverified_client_id(request),
            ip=request.remote_addr or "",
            audience=request.form.get("audience", ""),
            scope=request.form.get("scope", ""),
        )
    return error_response(error, issuer.config.profile)


def _require_device_client(client: Client) -> None:
    # Auth0's limits on the device flow: a native application without authentication at the token endpoint, not
    # registered dynamically, with the grant switched on.
    if not client.check_grant_type(DEVICE_CODE_GRANT_TYPE):
        raise UnauthorizedClientError("The client may not use the device flow.")
    if client.application_type != "native":
        raise UnauthorizedClientError("Only native applications may use the device flow.")
    if client.secret is not None:
        raise UnauthorizedClientError("A confidential client may not use the device flow.")
    if client.dynamically_registered:
        raise UnauthorizedClientError("A dynamically registered client may not use the device flow.")
