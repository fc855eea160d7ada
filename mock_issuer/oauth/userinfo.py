"""The UserInfo endpoint: claims about the user of an access token (OpenID Connect Core §5.3)."""

from http import HTTPStatus

from flask import Blueprint, Response, jsonify, request

from mock_issuer.config import User
from mock_issuer.flow.issuer import Issuer, current_issuer
from mock_issuer.oauth.dpop import (
    ALGORITHMS,
    HEADER,
    InvalidProofError,
    NonceNeededError,
    nonce_headers,
    verify_proof,
)
from mock_issuer.oauth.tokens import (
    VerifiedToken,
    custom_claims,
    is_for_userinfo,
    profile_claims,
    verify_access_token,
)

_SCHEMES = frozenset({"bearer", "dpop"})
_ALGS = f'algs="{" ".join(ALGORITHMS)}"'

blueprint = Blueprint("userinfo", __name__)


@blueprint.route("/userinfo", methods=["GET", "POST"])
def userinfo() -> Response:
    """Return the claims that the token's scopes release (OpenID Connect Core §5.3.2)."""
    scheme, _, unverified_token = request.headers.get("Authorization", "").partition(" ")
    scheme, unverified_token = scheme.lower(), unverified_token.strip(" ")
    if scheme not in _SCHEMES:
        # RFC 6750 §3.1: without a token, the challenge has no error code.
        return _refused(HTTPStatus.UNAUTHORIZED, "invalid_token", "An access token is required.", challenge="Bearer")
    issuer = current_issuer()
    verified = verify_access_token(issuer, unverified_token)
    granted = _find_user(issuer, unverified_token, verified)
    if verified is None or granted is None:
        return _invalid_token(scheme, "The access token is not valid here.")
    # RFC 9449 §7.2: a bound token is no bearer token, nor the reverse.
    if (verified.key_thumbprint is not None) != (scheme == "dpop"):
        return _invalid_token(scheme, "The scheme does not suit the access token: DPoP is for tokens bound to a key.")
    if scheme == "dpop" and (refused := _refuse_proof(issuer, verified, unverified_token)):
        return refused
    if "openid" not in verified.scopes:
        # OpenID Connect Core §5.3.1, RFC 6750 §3.1.
        challenge = f'{_name(scheme)} error="insufficient_scope", scope="openid"'
        description = "The token lacks the scope openid."
        return _refused(HTTPStatus.FORBIDDEN, "insufficient_scope", description, challenge=challenge)
    return jsonify(custom_claims(granted, verified.scopes) | profile_claims(granted, verified.scopes))


@blueprint.after_request
def add_nonce(response: Response) -> Response:
    """Give the client the nonce for its next DPoP proof, if nonces are configured (RFC 9449 §9)."""
    response.headers.update(nonce_headers(current_issuer()))
    return response


def _find_user(issuer: Issuer, unverified_token: str, verified: VerifiedToken | None) -> User | None:
    if verified is None or not is_for_userinfo(issuer, verified) or issuer.state.is_revoked(unverified_token):
        return None
    return issuer.config.find_user(sub=verified.claims.get("sub"))


def _refuse_proof(issuer: Issuer, verified: VerifiedToken, access_token: str) -> Response | None:
    # RFC 9449 §7.1, §9.
    try:
        thumbprint = verify_proof(
            issuer,
            request.headers.get(HEADER, ""),
            method=request.method,
            urls=(issuer.url(request.path), request.base_url),
            access_token=access_token,
        )
    except (InvalidProofError, NonceNeededError) as exc:
        challenge = f'DPoP error="{exc.error}", {_ALGS}'
        return _refused(HTTPStatus.UNAUTHORIZED, exc.error, exc.description or "", challenge=challenge)
    if thumbprint != verified.key_thumbprint:
        return _invalid_token("dpop", "The access token is bound to another key than the one of the DPoP proof.")
    return None


def _invalid_token(scheme: str, description: str) -> Response:
    challenge = f'{_name(scheme)} error="invalid_token"' + (f", {_ALGS}" if scheme == "dpop" else "")
    return _refused(HTTPStatus.UNAUTHORIZED, "invalid_token", description, challenge=challenge)


def _name(scheme: str) -> str:
    return "DPoP" if scheme == "dpop" else "Bearer"


def _refused(status: HTTPStatus, error: str | None, description: str, *, challenge: str) -> Response:
    response = jsonify(error=error, error_description=description)
    response.status_code = status
    response.headers["WWW-Authenticate"] = challenge
    return response
