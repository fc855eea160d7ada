"""The UserInfo endpoint: claims about the user of an access token (OpenID Connect Core §5.3)."""

from http import HTTPStatus

from flask import Blueprint, Response, jsonify, request

from mock_issuer.config import User
from mock_issuer.flow.issuer import Issuer, current_issuer
from mock_issuer.oauth.tokens import custom_claims, is_for_userinfo, profile_claims, verify_access_token

blueprint = Blueprint("userinfo", __name__)


@blueprint.route("/userinfo", methods=["GET", "POST"])
def userinfo() -> Response:
    """Return the claims that the token's scopes release (OpenID Connect Core §5.3.2)."""
    scheme, _, unverified_token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        # RFC 6750 §3.1: without a token, the challenge has no error code.
        response = _refused(HTTPStatus.UNAUTHORIZED, "invalid_token", "An access token is required.")
        response.headers["WWW-Authenticate"] = "Bearer"
        return response
    granted = _verify(current_issuer(), unverified_token.strip(" "))
    if granted is None:
        return _refused(HTTPStatus.UNAUTHORIZED, "invalid_token", "The access token is not valid here.")
    user, scopes = granted
    if "openid" not in scopes:
        # OpenID Connect Core §5.3.1, RFC 6750 §3.1.
        return _refused(
            HTTPStatus.FORBIDDEN, "insufficient_scope", "The token lacks the scope openid.", ' scope="openid"'
        )
    return jsonify(custom_claims(user, scopes) | profile_claims(user, scopes))


def _verify(issuer: Issuer, unverified_token: str) -> tuple[User, tuple[str, ...]] | None:
    verified = verify_access_token(issuer, unverified_token)
    if verified is None or not is_for_userinfo(issuer, verified):
        return None
    if issuer.state.is_revoked(unverified_token):
        return None
    user = issuer.config.find_user(sub=verified.claims.get("sub"))
    return (user, verified.scopes) if user else None


def _refused(status: HTTPStatus, error: str, description: str, parameters: str = "") -> Response:
    response = jsonify(error=error, error_description=description)
    response.status_code = status
    response.headers["WWW-Authenticate"] = f'Bearer error="{error}"' + (f",{parameters}" if parameters else "")
    return response
