"""An authorization request: its parameters, read and checked (RFC 6749 §4.1.1, RFC 7636 §4.3)."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from authlib.oauth2 import OAuth2Error
from flask import Request
from werkzeug.datastructures import MultiDict

from mock_issuer.config import Client
from mock_issuer.flow.issuer import Issuer
from mock_issuer.flow.records import CodeRequest
from mock_issuer.oauth.dpop import THUMBPRINT
from mock_issuer.oauth.request import OAuthRequest
from mock_issuer.oauth.requested_access import requested_user_access

RESPONSE_MODES = frozenset({"query", "form_post"})
# OpenID Connect Core §3.1.2.1.
PROMPTS = frozenset({"none", "login", "consent", "select_account"})

# RFC 8707 §2: the only parameter that may be repeated.
_RESOURCE = "resource"
# RFC 7636 §4.2: a SHA-256 in base64url without padding.
_CODE_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_MAX_AGE = re.compile(r"[0-9]{1,9}")


class UnusableRequest(Exception):
    """The client or its redirect URI is missing or wrong, so the user gets a page (RFC 6749 §4.1.2.1)."""


class RefusedRequest(Exception):
    """An error that the client is told at its redirect URI (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6).

    Args:
        error: the error code.
        description: a fixed text, in ASCII without quotation mark and backslash.
        return_to: where to tell it.
    """

    def __init__(self, error: str, description: str, return_to: "ReturnAddress") -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.return_to = return_to


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnAddress:
    """Where the answer to a request goes.

    Args:
        client: the client that sent the request.
        redirect_uri: one that this client may use.
        state: returned to the client as it is; None if the request has none.
        is_silent: whether the request has `prompt=none`.
        by_form: whether the answer is posted by a form (`response_mode=form_post`), and not in a redirection.
    """

    client: Client
    redirect_uri: str
    state: str | None
    is_silent: bool
    by_form: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRequest:
    """A valid authorization request.

    Args:
        return_to: where the answer goes.
        code_request: what its code is bound to.
        prompts: the words of `prompt`.
        max_age_seconds: how long ago the user may have logged in; None for any time.
        login_hint: the user name, e-mail address or subject of who is to log in, unchecked; empty for none.
        digest: tells this request from others of the same browser.
    """

    return_to: ReturnAddress
    code_request: CodeRequest
    prompts: frozenset[str]
    max_age_seconds: int | None
    login_hint: str
    digest: str


def read_authorization_request(request: Request, issuer: Issuer) -> AuthorizationRequest:
    """Return the authorization request in a query. Unknown parameters are ignored (RFC 6749 §3.1).

    Raises UnusableRequest if client or redirect URI is missing or wrong, RefusedRequest for everything else. Does not
    check who the user is.
    """
    unverified = _present(request.args)
    client, redirect_uri = _client_and_redirect_uri(issuer, unverified)
    prompts = frozenset(filter(None, _first(unverified, "prompt").split(" ")))
    state = unverified.get("state", [None])
    return_to = ReturnAddress(
        client=client,
        redirect_uri=redirect_uri,
        state=state[0] if len(state) == 1 else None,
        is_silent="none" in prompts,
        by_form=_first(unverified, "response_mode") == "form_post",
    )
    if any(len(values) > 1 for name, values in unverified.items() if name != _RESOURCE):
        raise RefusedRequest("invalid_request", "A parameter is repeated.", return_to)
    parameters = {name: values[0] for name, values in unverified.items() if name != _RESOURCE}
    _check_response(parameters, return_to)
    _check_code_challenge(parameters, return_to)
    _check_prompts(prompts, return_to)
    _check_thumbprint(parameters, return_to)
    max_age = parameters.get("max_age")
    if max_age is not None and not _MAX_AGE.fullmatch(max_age):
        raise RefusedRequest("invalid_request", "The max_age is not a number of seconds.", return_to)
    asked = OAuthRequest(
        parameters=parameters,
        resources=tuple(unverified.get(_RESOURCE, ())),
        authorization="",
        address=request.remote_addr or "",
    )
    try:
        access = requested_user_access(issuer, client, asked)
    except OAuth2Error as exc:
        raise RefusedRequest(exc.error or "invalid_request", exc.description or "", return_to) from exc
    return AuthorizationRequest(
        return_to=return_to,
        code_request=CodeRequest(
            client_id=client.client_id,
            redirect_uri=redirect_uri,
            access=access,
            code_challenge=parameters["code_challenge"],
            nonce=parameters.get("nonce", ""),
            key_thumbprint=parameters.get("dpop_jkt", ""),
        ),
        prompts=prompts,
        max_age_seconds=None if max_age is None else int(max_age),
        login_hint=parameters.get("login_hint", ""),
        digest=hashlib.sha256(encoded(request.args).encode()).hexdigest(),
    )


def encoded(parameters: MultiDict[str, str]) -> str:
    """Return parameters as the query of a URL, always in the same form."""
    return urlencode(list(parameters.items(multi=True)))


def _present(query: MultiDict[str, str]) -> dict[str, list[str]]:
    # RFC 6749 §3.1: a parameter without a value counts as omitted.
    filled = {name: [value for value in values if value] for name, values in query.lists()}
    return {name: values for name, values in filled.items() if values}


def _first(unverified: Mapping[str, list[str]], name: str) -> str:
    return unverified.get(name, [""])[0]


def _client_and_redirect_uri(issuer: Issuer, unverified: Mapping[str, list[str]]) -> tuple[Client, str]:
    client_ids, redirect_uris = unverified.get("client_id", []), unverified.get("redirect_uri", [])
    if len(client_ids) != 1:
        raise UnusableRequest("The client_id is missing or repeated.")
    client = issuer.config.find_client(client_ids[0])
    if client is None:
        raise UnusableRequest("No client has this client_id.")
    if len(redirect_uris) != 1:
        raise UnusableRequest("The redirect_uri is missing or repeated.")
    if not client.allows_redirect_uri(redirect_uris[0]):
        raise UnusableRequest("The redirect_uri is not registered for the client.")
    return client, redirect_uris[0]


def _check_response(parameters: Mapping[str, str], return_to: ReturnAddress) -> None:
    if "response_type" not in parameters:
        raise RefusedRequest("invalid_request", "The response_type is missing.", return_to)
    if parameters["response_type"] != "code":
        raise RefusedRequest("unsupported_response_type", "The only response_type is code.", return_to)
    if parameters.get("response_mode", "query") not in RESPONSE_MODES:
        raise RefusedRequest("invalid_request", "The response_mode must be query or form_post.", return_to)
    # OpenID Connect Core §6: both would hold parameters that are not read here.
    for name in ("request", "request_uri"):
        if name in parameters:
            raise RefusedRequest(f"{name}_not_supported", f"The parameter {name} is not supported.", return_to)


def _check_code_challenge(parameters: Mapping[str, str], return_to: ReturnAddress) -> None:
    # RFC 7636 §4.3: without a method, it is `plain`.
    if "code_challenge" not in parameters:
        raise RefusedRequest("invalid_request", "The code_challenge is missing.", return_to)
    if parameters.get("code_challenge_method", "plain") != "S256":
        raise RefusedRequest("invalid_request", "The only code_challenge_method is S256.", return_to)
    if not _CODE_CHALLENGE.fullmatch(parameters["code_challenge"]):
        raise RefusedRequest("invalid_request", "The code_challenge is not a SHA-256 in base64url.", return_to)


def _check_thumbprint(parameters: Mapping[str, str], return_to: ReturnAddress) -> None:
    # RFC 9449 §10.
    if not THUMBPRINT.fullmatch(parameters.get("dpop_jkt", "A" * 43)):
        raise RefusedRequest("invalid_request", "The dpop_jkt is not a SHA-256 in base64url.", return_to)


def _check_prompts(prompts: frozenset[str], return_to: ReturnAddress) -> None:
    if not prompts <= PROMPTS:
        raise RefusedRequest("invalid_request", "A word of prompt is unknown.", return_to)
    if "none" in prompts and len(prompts) > 1:
        raise RefusedRequest("invalid_request", "With none, prompt has no other word.", return_to)
