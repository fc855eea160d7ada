"""The issuer's metadata (RFC 8414, OpenID Connect Discovery) and its keys (RFC 7517)."""

from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, jsonify

from mock_issuer.config import GRANT_TYPES, OPENID_SCOPES
from mock_issuer.flow.issuer import Issuer, current_issuer

_MAX_AGE_SECONDS = 60

blueprint = Blueprint("metadata", __name__, url_prefix="/.well-known")


@blueprint.get("/oauth-authorization-server")
@blueprint.get("/oauth-authorization-server/<path:path>")
def authorization_server(path: str = "") -> Response:
    """Return the metadata (RFC 8414 §2, RFC 8628 §4); for an issuer with a path, the URL ends in it (RFC 8414 §3.1)."""
    if path and path != urlsplit(current_issuer().config.issuer).path.strip("/"):
        abort(HTTPStatus.NOT_FOUND)
    return _cacheable(_endpoints(current_issuer()))


@blueprint.get("/openid-configuration")
def openid_configuration() -> Response:
    """Return the metadata with the members of OpenID Connect (OpenID Connect Discovery §3)."""
    issuer = current_issuer()
    return _cacheable(
        _endpoints(issuer)
        | {
            "userinfo_endpoint": issuer.url("/userinfo"),
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "claims_supported": ["sub", "name", "preferred_username", "email", "email_verified", "auth_time"],
        }
    )


@blueprint.get("/jwks.json")
def jwks() -> Response:
    """Return the JWK Set (RFC 7517 §5), or the fault that a test has set."""
    fault = current_issuer().jwks_fault
    fault.ended.wait(fault.delay_seconds)
    response = _cacheable(current_issuer().keys.jwks())
    if fault.body is not None:
        response.set_data(fault.body)
    if fault.redirect is not None:
        response.status_code = HTTPStatus.FOUND
        response.headers["Location"] = fault.redirect
    if fault.status is not None:
        response.status_code = fault.status
    return response


def _endpoints(issuer: Issuer) -> dict[str, Any]:
    auth_methods = ["none", "client_secret_basic", "client_secret_post"]
    return {
        "issuer": issuer.config.issuer,
        "device_authorization_endpoint": issuer.url("/oauth/device/code"),
        "token_endpoint": issuer.url("/oauth/token"),
        "revocation_endpoint": issuer.url("/oauth/revoke"),
        "jwks_uri": issuer.url("/.well-known/jwks.json"),
        "grant_types_supported": sorted(GRANT_TYPES),
        # RFC 8414 §2 requires this member; without an authorization endpoint there are no response types.
        "response_types_supported": [],
        "scopes_supported": [*OPENID_SCOPES, *(scope for api in issuer.config.apis for scope in api.scopes)],
        "token_endpoint_auth_methods_supported": auth_methods,
        "revocation_endpoint_auth_methods_supported": auth_methods,
    }


def _cacheable(body: dict[str, Any]) -> Response:
    response = jsonify(body)
    response.headers["Cache-Control"] = f"public, max-age={_MAX_AGE_SECONDS}"
    return response
