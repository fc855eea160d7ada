"""The one place where an error of the OAuth endpoints becomes a response (RFC 6749 §5.2)."""

from http import HTTPStatus

from authlib.oauth2 import OAuth2Error
from flask import Response, jsonify

from mock_issuer.config import Profile

# Auth0 answers these with 403 and 429 where the RFCs have 400.
_STATUSES: dict[Profile, dict[str, int]] = {
    "auth0": {
        "authorization_pending": 403,
        "slow_down": 429,
        "expired_token": 403,
        "access_denied": 403,
        "invalid_grant": 403,
    },
    "rfc": {},
}

# Authlib raises this one without a description, or with one that echoes the request.
_UNSUPPORTED_GRANT_TYPE = "This grant_type is not supported."


class InvalidTargetError(OAuth2Error):
    """The audience is unknown (RFC 8707 §2, and RFC 8693 §2.2.2 for the parameter `audience`)."""

    error = "invalid_target"


class UnsupportedTokenTypeError(OAuth2Error):
    """Tokens of this kind cannot be revoked (RFC 7009 §2.2.1)."""

    error = "unsupported_token_type"


def error_response(error: OAuth2Error, profile: Profile) -> Response:
    """Answer an OAuth error as JSON with `error` and `error_description`, in the statuses of the profile.

    Descriptions are fixed texts: nothing of the request is echoed.
    """
    code = error.error or "invalid_request"
    response = jsonify(error=code, error_description=error.description or _UNSUPPORTED_GRANT_TYPE)
    response.status_code = _STATUSES[profile].get(code, error.status_code)
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        # RFC 9110 §15.5.2: a 401 carries a challenge.
        response.headers["WWW-Authenticate"] = 'Basic realm="mock-issuer"'
    return response
