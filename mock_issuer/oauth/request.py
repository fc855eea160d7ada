"""Reading an OAuth request: its form and its client (RFC 6749 §2.3, §3.2); and the error response (§5.2)."""

import base64
import secrets
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote_plus

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidClientError, InvalidRequestError
from flask import Request, Response, jsonify

from mock_issuer.config import Client, Config, Profile

_FORM_TYPE = "application/x-www-form-urlencoded"

# The statuses that Auth0 sends instead of 400 (RFC 6749 §5.2, RFC 8628 §3.5).
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


class InvalidTargetError(OAuth2Error):
    """The audience is unknown (RFC 8707 §2; RFC 8693 §2.2.2 for the parameter `audience`)."""

    error = "invalid_target"


class UnsupportedTokenTypeError(OAuth2Error):
    """Tokens of this type cannot be revoked (RFC 7009 §2.2.1)."""

    error = "unsupported_token_type"


@dataclass(frozen=True, slots=True, kw_only=True)
class FormRequest:
    """The parts of a request that the endpoints use.

    Args:
        form: the parameters in the body, each once and with a value.
        authorization: the Authorization header; empty if absent.
        address: the IP address of the client.
    """

    form: dict[str, str]
    authorization: str
    address: str


def read_form(request: Request) -> FormRequest:
    """Return the parameters of an OAuth request (RFC 6749 §3.2, Appendix B).

    Raises InvalidRequestError for another content type, for a query and for a repeated parameter.
    """
    if request.args:
        raise InvalidRequestError("Parameters belong in the request body, not in the query.")
    if request.mimetype != _FORM_TYPE:
        raise InvalidRequestError(f"The request body must be {_FORM_TYPE}.")
    form: dict[str, str] = {}
    for name, values in request.form.lists():
        # RFC 6749 §3.2: no parameter may be repeated; one without a value counts as omitted.
        if len(values) > 1:
            raise InvalidRequestError("A parameter is repeated.")
        if values[0]:
            form[name] = values[0]
    authorization = request.headers.get("Authorization", "")
    return FormRequest(form=form, authorization=authorization, address=request.remote_addr or "")


def authenticate(request: FormRequest, config: Config) -> Client:
    """Return the client that sent a request; a confidential one must authenticate with its secret (RFC 6749 §2.3).

    A public client has no secret: one in the body is ignored, and HTTP Basic with an empty password is accepted,
    because published samples and libraries send both.

    Raises InvalidRequestError for contradictory credentials, InvalidClientError (401) for wrong ones.
    """
    client_id, secret = request.form.get("client_id"), request.form.get("client_secret")
    if request.authorization:
        basic_id, basic_secret = _read_basic(request.authorization)
        # RFC 6749 §2.3: a client must not use more than one authentication method in a request.
        if (basic_secret and secret) or client_id not in {None, basic_id}:
            raise InvalidRequestError("Send one set of client credentials, in the Authorization header or in the body.")
        client_id, secret = basic_id, basic_secret or secret
    if not client_id:
        raise InvalidRequestError("The client_id is missing.")
    client = config.find_client(client_id)
    if client is None:
        raise _invalid_client("No client has this client_id.")
    if client.secret is not None and not secrets.compare_digest((secret or "").encode(), client.secret.encode()):
        raise _invalid_client("The client secret is missing or wrong.")
    return client


def unverified_client_id(request: Request) -> str:
    """Return the client id that a request claims, for the event log; empty if it has none."""
    if client_id := request.form.get("client_id", ""):
        return client_id
    try:
        return _read_basic(request.headers.get("Authorization", ""))[0]
    except InvalidClientError:
        return ""


def error_response(error: OAuth2Error, profile: Profile) -> Response:
    """Return the JSON response for an error (RFC 6749 §5.2), with the profile's status.

    Every description is a fixed text: nothing from the request is echoed.
    """
    code = error.error or "invalid_request"
    response = jsonify(error=code, error_description=error.description)
    response.status_code = _STATUSES[profile].get(code, error.status_code)
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        # RFC 9110 §15.5.2: a 401 carries a challenge.
        response.headers["WWW-Authenticate"] = 'Basic realm="mock-issuer"'
    return response


def _read_basic(header: str) -> tuple[str, str]:
    scheme, _, credentials = header.partition(" ")
    try:
        decoded = base64.b64decode(credentials.strip(" "), validate=True).decode()
    except ValueError as exc:
        raise _invalid_client("The Authorization header is not HTTP Basic.") from exc
    if scheme.lower() != "basic" or ":" not in decoded:
        raise _invalid_client("The Authorization header is not HTTP Basic.")
    # RFC 6749 §2.3.1: id and secret are each form-encoded before they are joined by a colon.
    client_id, _, secret = decoded.partition(":")
    return unquote_plus(client_id), unquote_plus(secret)


def _invalid_client(description: str) -> InvalidClientError:
    return InvalidClientError(description, status_code=HTTPStatus.UNAUTHORIZED)
