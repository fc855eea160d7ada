"""Protected resource metadata (RFC 9728): the trusted issuers, the scopes, and how to send a token."""

from collections.abc import Iterator
from typing import cast

from flask import Blueprint, current_app
from flask.typing import ResponseReturnValue

from api.auth import Auth, AuthConfig, Requirement, open_to_all, requirements_of
from api.problems.problem import Problem

well_known = Blueprint("well_known", __name__, url_prefix="/.well-known")


@well_known.get("/oauth-protected-resource")
@open_to_all
def oauth_protected_resource() -> ResponseReturnValue:
    """Return the metadata of this resource server (RFC 9728 §2). Raises Problem (400) for an invalid Host."""
    auth = cast("Auth", current_app.extensions["auth"])
    config: AuthConfig = auth.verifier.config
    resource = auth.resource_url()
    if resource is None:
        raise Problem(400, "invalid_request", "The Host header is invalid.")
    return {
        "resource": resource,
        "authorization_servers": [issuer.identifier for issuer in config.issuers],
        "scopes_supported": _scopes_in_use(),
        "bearer_methods_supported": ["header"],
        "resource_name": "Device API",
    }


def default_scopes() -> list[str]:
    """Return the scopes that give access to all routes; where a route has alternatives, only the first."""
    return sorted({scope for one in _requirements() for scope in (*one.scopes, *one.any_of[:1])})


def _scopes_in_use() -> list[str]:
    """Return every scope that a route requires, as the decorators declare it."""
    return sorted({scope for one in _requirements() for scope in (*one.scopes, *one.any_of)})


def _requirements() -> Iterator[Requirement]:
    for rule in current_app.url_map.iter_rules():
        for method in rule.methods or ():
            yield from requirements_of(current_app, rule.endpoint, method)
