"""Reading an OAuth request: its parameters and its client (RFC 6749 §2.3, §3.2); and the error response (§5.2)."""

import base64
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_plus

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidClientError, InvalidRequestError
from flask import Request, Response, jsonify

from mock_issuer.config import Client, Config, Profile

_FORM_TYPE = "application/x-www-form-urlencoded"
_JSON_TYPE = "application/json"
# RFC 8707 §2: the only parameter that may be repeated.
_RESOURCE = "resource"
# Refused in the query, where logs would show them. RFC 6749 §3.2: other parameters there are ignored.
_BODY_PARAMETERS = frozenset(
    {
        "assertion",
        "audience",
        "client_assertion",
        "client_assertion_type",
        "client_id",
        "client_secret",
        "code",
        "code_verifier",
        "device_code",
        "grant_type",
        "password",
        "redirect_uri",
        "refresh_token",
        _RESOURCE,
        "scope",
        "token",
        "token_type_hint",
        "username",
    }
)

_REPEATED = "A parameter is repeated."
_NOT_JSON = "The request body is not a JSON object."

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
class OAuthRequest:
    """The parts of a request that the endpoints use.

    Args:
        parameters: the parameters in the body, each once and with a value; without `resource`.
        resources: the values of `resource` (RFC 8707 §2), unchecked.
        authorization: the Authorization header; empty if absent.
        address: the IP address of the client.
        unverified_proof: the header `DPoP`; None if absent.
        method: the method.
        urls: the addresses of the endpoint: that of the metadata, and the one that the request was sent to.
    """

    parameters: dict[str, str]
    resources: tuple[str, ...]
    authorization: str
    address: str
    unverified_proof: str | None = None
    method: str = "POST"
    urls: tuple[str, ...] = ()


def read_request(request: Request, config: Config) -> OAuthRequest:
    """Return the parameters of an OAuth request (RFC 6749 §3.2, Appendix B).

    The body is a form; with the profile `auth0`, it may be a JSON object of strings too. Parameters that the issuer
    does not know are ignored, in the query too.

    Raises InvalidRequestError for another content type, for JSON that is no such object, for a repeated parameter, and
    for a parameter of the request in the query.
    """
    profile = config.profile
    if not _BODY_PARAMETERS.isdisjoint(request.args):
        raise InvalidRequestError("Parameters belong in the request body, not in the query.")
    if request.mimetype == _FORM_TYPE:
        pairs: Iterable[tuple[str, str]] = request.form.items(multi=True)
    elif request.mimetype == _JSON_TYPE and profile == "auth0":
        pairs = _read_json(request.get_data())
    else:
        accepted = f"{_FORM_TYPE} or {_JSON_TYPE}" if profile == "auth0" else _FORM_TYPE
        raise InvalidRequestError(f"The request body must be {accepted}.")
    parameters: dict[str, str] = {}
    resources: list[str] = []
    for name, value in pairs:
        if name == _RESOURCE:
            resources.append(value)
        elif name in parameters:
            raise InvalidRequestError(_REPEATED)
        else:
            parameters[name] = value
    return OAuthRequest(
        # RFC 6749 §3.2: a parameter without a value counts as omitted.
        parameters={name: value for name, value in parameters.items() if value},
        resources=tuple(filter(None, resources)),
        authorization=request.headers.get("Authorization", ""),
        address=request.remote_addr or "",
        unverified_proof=request.headers.get("DPoP"),
        method=request.method,
        urls=(config.issuer.rstrip("/") + request.path, request.base_url),
    )


def unverified_parameters(request: Request, config: Config) -> Mapping[str, str]:
    """Return what can be read of a request's parameters, for the event log."""
    try:
        return read_request(request, config).parameters
    except InvalidRequestError:
        return request.form


def authenticate(request: OAuthRequest, config: Config) -> Client:
    """Return the client that sent a request; a confidential one must authenticate with its secret (RFC 6749 §2.3).

    A public client has no secret: one in the body is ignored, and HTTP Basic with an empty password is accepted,
    because published samples and libraries send both.

    Raises InvalidRequestError for contradictory credentials, InvalidClientError (401) for wrong ones.
    """
    client_id, secret = request.parameters.get("client_id"), request.parameters.get("client_secret")
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
        raise invalid_client("No client has this client_id.")
    if client.secret is not None and not secrets.compare_digest((secret or "").encode(), client.secret.encode()):
        raise invalid_client("The client secret is missing or wrong.")
    return client


def unverified_client_id(request: Request, parameters: Mapping[str, str]) -> str:
    """Return the client id that a request claims, for the event log; empty if it has none."""
    if client_id := parameters.get("client_id", ""):
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


def _read_json(body: bytes) -> list[tuple[str, str]]:
    try:
        members = json.loads(body.decode(), object_pairs_hook=_unique)
        if not isinstance(members, dict):
            raise InvalidRequestError(_NOT_JSON)
        # auth0-python sends null for an argument that its caller left out.
        present = [(name, value) for name, value in members.items() if value is not None]
        if not all(isinstance(value, str) for _, value in present):
            raise InvalidRequestError("Every member of the JSON object must be a string.")
        # JSON can escape a lone surrogate, which no other text can hold.
        json.dumps(present, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as exc:  # not UTF-8, not JSON, nested too deep, a number too long
        raise InvalidRequestError(_NOT_JSON) from exc
    return present


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise InvalidRequestError(_REPEATED)
    return members


def _read_basic(header: str) -> tuple[str, str]:
    scheme, _, credentials = header.partition(" ")
    try:
        decoded = base64.b64decode(credentials.strip(" "), validate=True).decode()
    except ValueError as exc:
        raise invalid_client("The Authorization header is not HTTP Basic.") from exc
    if scheme.lower() != "basic" or ":" not in decoded:
        raise invalid_client("The Authorization header is not HTTP Basic.")
    # RFC 6749 §2.3.1: id and secret are each form-encoded before they are joined by a colon.
    client_id, _, secret = decoded.partition(":")
    return unquote_plus(client_id), unquote_plus(secret)


def invalid_client(description: str) -> InvalidClientError:
    """Return the error for a client that did not authenticate, with status 401 (RFC 6749 §5.2)."""
    return InvalidClientError(description, status_code=HTTPStatus.UNAUTHORIZED)
