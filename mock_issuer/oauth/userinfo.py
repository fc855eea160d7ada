"""The UserInfo endpoint: claims about the user of an access token (OpenID Connect Core §5.3)."""

from http import HTTPStatus

from flask import Blueprint, Response, jsonify, request

from mock_issuer.config import User
from mock_issuer.flow.issuer import Issuer, current_issuer
from mock_issuer.oauth.tokens import ACCESS_TOKEN_TYPES, profile_claims, split_scope

blueprint = Blueprint("userinfo", __name__)


@blueprint.route("/userinfo", methods=["GET", "POST"])
def userinfo() -> Response:
    """Return the claims that the token's scopes release (OpenID Connect Core §5.3.2)."""
    scheme, _, unverified_token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        # RFC 6750 §3.1: without a token, the challenge has no error code.
        return _unauthorized("Bearer", "An access token is required.")
    verified = _verify(current_issuer(), unverified_token.strip(" "))
    if verified is None:
        return _unauthorized('Bearer error="invalid_token"', "The access token is not valid here.")
    user, scopes = verified
    return jsonify(profile_claims(user, scopes))


def _verify(issuer: Issuer, unverified_token: str) -> tuple[User, tuple[str, ...]] | None:
    claims = issuer.keys.verify(unverified_token, typ=ACCESS_TOKEN_TYPES[issuer.config.token_dialect])
    if claims is None:
        return None
    # A test can have this issuer sign claims of any type.
    expires_at, audience, scope = claims.get("exp"), claims.get("aud"), claims.get("scope")
    if not isinstance(expires_at, int) or issuer.clock() >= expires_at or not isinstance(scope, str):
        return None
    if issuer.userinfo_api.audience not in (audience if isinstance(audience, list) else [audience]):
        return None
    user = issuer.config.find_user(sub=claims.get("sub"))
    return (user, split_scope(scope)) if user else None


def _unauthorized(challenge: str, description: str) -> Response:
    response = jsonify(error="invalid_token", error_description=description)
    response.status_code = HTTPStatus.UNAUTHORIZED
    response.headers["WWW-Authenticate"] = challenge
    return response
