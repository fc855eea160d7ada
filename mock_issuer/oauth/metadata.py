"""The issuer's metadata (RFC 8414, OpenID Connect Discovery) and its keys (RFC 7517)."""

from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, jsonify, request

from mock_issuer.config import GRANT_TYPES, OPENID_SCOPES
from mock_issuer.flow.issuer import Issuer, current_issuer
from mock_issuer.oauth.dpop import ALGORITHMS

_MAX_AGE_SECONDS = 60

blueprint = Blueprint("metadata", __name__, url_prefix="/.well-known")


@blueprint.get("/oauth-authorization-server")
@blueprint.get("/oauth-authorization-server/<path:path>")
def authorization_server(path: str = "") -> Response:
    """Return the metadata (RFC 8414 §2, RFC 8628 §4); for an issuer with a path, the URL ends in it (RFC 8414 §3.1)."""
    if path and path != urlsplit(current_issuer().config.issuer).path.strip("/"):
        abort(HTTPStatus.NOT_FOUND)
    return _cacheable(_metadata(current_issuer()))


@blueprint.get("/openid-configuration")
def openid_configuration() -> Response:
    """Return the same metadata (OpenID Connect Discovery §3, §4)."""
    return _cacheable(_metadata(current_issuer()))


@blueprint.get("/jwks.json")
def jwks() -> Response:
    """Return the JWK Set (RFC 7517 §5), or the fault that a test has set."""
    issuer = current_issuer()
    fault = issuer.jwks_fault
    # Logged before the delay: a client that gives up waiting has fetched too.
    issuer.log_event("jwks", description=fault.description, ip=request.remote_addr or "")
    fault.ended.wait(fault.delay_seconds)
    response = _cacheable(issuer.keys.jwks())
    if fault.body is not None:
        response.set_data(fault.body)
    if fault.redirect is not None:
        response.status_code = HTTPStatus.FOUND
        response.headers["Location"] = fault.redirect
    if fault.status is not None:
        response.status_code = fault.status
    return response


def _metadata(issuer: Issuer) -> dict[str, Any]:
    # The same in both documents: a client may read either.
    secret_methods = ["client_secret_basic", "client_secret_post"]
    custom_claims = sorted({name for user in issuer.config.users for name in user.claims})
    return {
        "issuer": issuer.config.issuer,
        # OpenID Connect Discovery §3 requires it. Like /activate, it is a page, which `create_oauth_app` has not.
        "authorization_endpoint": issuer.url("/authorize"),
        "device_authorization_endpoint": issuer.url("/oauth/device/code"),
        "token_endpoint": issuer.url("/oauth/token"),
        "revocation_endpoint": issuer.url("/oauth/revoke"),
        "introspection_endpoint": issuer.url("/oauth/introspect"),
        "userinfo_endpoint": issuer.url("/userinfo"),
        "jwks_uri": issuer.url("/.well-known/jwks.json"),
        "grant_types_supported": sorted(GRANT_TYPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "form_post"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,  # RFC 9207 §3
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "request_uri_parameter_supported": False,  # if omitted, it is true (OpenID Connect Discovery §3)
        "scopes_supported": [
            *OPENID_SCOPES,
            *(scope for api in issuer.config.apis for scope in api.scopes),
            *custom_claims,
        ],
        "token_endpoint_auth_methods_supported": ["none", *secret_methods],
        "revocation_endpoint_auth_methods_supported": ["none", *secret_methods],
        "introspection_endpoint_auth_methods_supported": secret_methods,
        "dpop_signing_alg_values_supported": list(ALGORITHMS),  # RFC 9449 §5.1
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claims_supported": [
            "sub",
            "name",
            "preferred_username",
            "email",
            "email_verified",
            "auth_time",
            *custom_claims,
        ],
    }


def _cacheable(body: dict[str, Any]) -> Response:
    response = jsonify(body)
    response.headers["Cache-Control"] = f"public, max-age={_MAX_AGE_SECONDS}"
    return response
