"""An OAuth request: parameters, the client that sent it, and the errors that answer it (RFC 6749 §2.3, §3.2, §5.2)."""

import base64
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import unquote_plus

from authlib.oauth2 import OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749 import InvalidClientError, InvalidRequestError
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from flask import Request, Response, jsonify

from mock_issuer.config import Client, Config, Profile

_FORM_TYPE = "application/x-www-form-urlencoded"


class FormRequest(OAuth2Request):
    """A form-encoded request in the shape that Authlib's grants read."""

    def __init__(self, form: dict[str, str], headers: Mapping[str, str], address: str) -> None:
        # Authlib raises, outside its error handling, for plain http anywhere but on loopback. Whether plain http is
        # right is decided by who starts the server, so it is told an address that passes.
        super().__init__("POST", "https://mock-issuer/", headers=headers)
        self._form = form
        self.address = address
        self.payload = BasicOAuth2Payload(form)

    @property
    def form(self) -> dict[str, str]:
        """The parameters, each once."""
        return self._form


def read_form(request: Request) -> FormRequest:
    """Read an OAuth request, its parameters from the body alone.

    Raises InvalidRequestError for another content type, for parameters in the query and for repeated ones.
    """
    if request.args:
        raise InvalidRequestError("Parameters belong in the request body, not in the query.")
    if request.mimetype != _FORM_TYPE:
        raise InvalidRequestError(f"The request body must be {_FORM_TYPE}.")
    form: dict[str, str] = {}
    for name, values in request.form.lists():
        # RFC 6749 §3.2: parameters must not be included more than once; those without a value count as omitted.
        if len(values) > 1:
            raise InvalidRequestError("A parameter is repeated.")
        if values[0]:
            form[name] = values[0]
    return FormRequest(form, dict(request.headers), request.remote_addr or "")


def authenticate(request: FormRequest, config: Config) -> Client:
    """Tell which client sent a request, and hold a confidential one to its secret.

    A public client has no secret: one that it sends is ignored, and HTTP Basic with an empty one is accepted,
    since published samples and clients do both.

    Raises InvalidRequestError for contradictory credentials, InvalidClientError (401) for wrong ones.
    """
    client_id, secret = request.form.get("client_id"), request.form.get("client_secret")
    if header := (request.headers or {}).get("Authorization"):
        basic_id, basic_secret = _read_basic(header)
        # RFC 6749 §2.3: no more than one method in a request.
        if (basic_secret and secret) or client_id not in {None, basic_id}:
            raise InvalidRequestError("The Authorization header and the body name different credentials.")
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
    """Tell who says to have sent a request, for the log; empty where nobody does."""
    if named := request.form.get("client_id", ""):
        return named
    try:
        return _read_basic(request.headers.get("Authorization", ""))[0]
    except InvalidClientError:
        return ""


def _read_basic(header: str) -> tuple[str, str]:
    scheme, _, credentials = header.partition(" ")
    try:
        decoded = base64.b64decode(credentials.strip(" "), validate=True).decode()
    except ValueError as exc:
        raise _invalid_client("The Authorization header is not HTTP Basic.") from exc
    if scheme.lower() != "basic" or ":" not in decoded:
        raise _invalid_client("The Authorization header is not HTTP Basic.")
    # RFC 6749 §2.3.1: both are form-encoded before they are joined.
    client_id, _, secret = decoded.partition(":")
    return unquote_plus(client_id), unquote_plus(secret)


def _invalid_client(description: str) -> InvalidClientError:
    return InvalidClientError(description, status_code=HTTPStatus.UNAUTHORIZED)


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
