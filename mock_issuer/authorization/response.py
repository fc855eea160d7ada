"""The answer to an authorization request, at the client's redirect URI (RFC 6749 §4.1.2, RFC 9207).

It is a redirection, or a page whose form posts it there (OAuth 2.0 Form Post Response Mode).
"""

from http import HTTPStatus
from urllib.parse import urlencode

from flask import Response, render_template

from mock_issuer.authorization.request import RefusedRequest, ReturnAddress
from mock_issuer.flow.issuer import Issuer

# The application's policy without `form-action`: Chromium applies it to every redirect after a form too, and the last
# form leads to the client, which may lead anywhere.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def code_response(issuer: Issuer, return_to: ReturnAddress, code: str) -> Response:
    """Return the answer with an authorization code (RFC 6749 §4.1.2)."""
    return _response(issuer, return_to, {"code": code})


def refused_response(issuer: Issuer, refused: RefusedRequest) -> Response:
    """Return the answer with an error (RFC 6749 §4.1.2.1)."""
    answer = {"error": refused.error, "error_description": refused.description}
    return _response(issuer, refused.return_to, answer)


def _response(issuer: Issuer, return_to: ReturnAddress, answer: dict[str, str]) -> Response:
    # RFC 9207 §2: `iss` in errors too.
    parameters = answer | ({} if return_to.state is None else {"state": return_to.state})
    parameters |= {"iss": issuer.config.issuer}
    return _form(return_to, parameters) if return_to.by_form else _redirection(return_to, parameters)


def _form(return_to: ReturnAddress, parameters: dict[str, str]) -> Response:
    page = render_template(
        "form_post.html",
        app_name=return_to.client.name,
        redirect_uri=return_to.redirect_uri,
        answer=parameters,
    )
    response = Response(page, mimetype="text/html")
    response.headers["Content-Security-Policy"] = f"{CONTENT_SECURITY_POLICY}; script-src 'self'"
    return response


def _redirection(return_to: ReturnAddress, parameters: dict[str, str]) -> Response:
    # RFC 6749 §3.1.2: a query of the redirect URI is kept.
    separator = "&" if "?" in return_to.redirect_uri else "?"
    # 303: the browser must not repeat a POST with the user's password there (RFC 9700 §4.12).
    response = Response(status=HTTPStatus.SEE_OTHER)
    response.headers["Location"] = f"{return_to.redirect_uri}{separator}{urlencode(parameters)}"
    return response
