"""The answer to an authorization request, at the client's redirect URI (RFC 6749 §4.1.2, RFC 9207)."""

from http import HTTPStatus
from urllib.parse import urlencode

from flask import Response

from mock_issuer.authorization.request import RefusedRequest, ReturnAddress
from mock_issuer.flow.issuer import Issuer


def code_response(issuer: Issuer, return_to: ReturnAddress, code: str) -> Response:
    """Return the redirection with an authorization code (RFC 6749 §4.1.2)."""
    return _redirection(issuer, return_to, {"code": code})


def refused_response(issuer: Issuer, refused: RefusedRequest) -> Response:
    """Return the redirection with an error (RFC 6749 §4.1.2.1)."""
    answer = {"error": refused.error, "error_description": refused.description}
    return _redirection(issuer, refused.return_to, answer)


def _redirection(issuer: Issuer, return_to: ReturnAddress, answer: dict[str, str]) -> Response:
    # RFC 9207 §2: `iss` in errors too.
    parameters = answer | ({} if return_to.state is None else {"state": return_to.state})
    query = urlencode(parameters | {"iss": issuer.config.issuer})
    # RFC 6749 §3.1.2: a query of the redirect URI is kept.
    separator = "&" if "?" in return_to.redirect_uri else "?"
    # 303: the browser must not repeat a POST with the user's password there (RFC 9700 §4.12).
    response = Response(status=HTTPStatus.SEE_OTHER)
    response.headers["Location"] = f"{return_to.redirect_uri}{separator}{query}"
    return response
