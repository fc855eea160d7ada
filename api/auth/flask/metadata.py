"""The metadata of a protected resource (RFC 9728): its issuers, its scopes, and how to send a token."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from flask import Flask

from ..errors import DPoPChallenge
from ..requirement import Requirement
from .declarations import requirements_of

WELL_KNOWN = "/.well-known/oauth-protected-resource"
_ENDPOINT = "oauth_protected_resource"


def metadata_url(resource_url: str) -> str:
    """Return the address of the metadata: the well-known part goes between host and path (RFC 9728 §3.1)."""
    parts = urlsplit(resource_url)
    return f"{parts.scheme}://{parts.netloc}{WELL_KNOWN}{parts.path}"


def add_routes(app: Flask, view: Callable[[], Any], resource_url: str | None) -> None:
    """Serve `view` at the well-known path of `app`, and at the path of `metadata_url(resource_url)`."""
    served = {rule.rule for rule in app.url_map.iter_rules(_ENDPOINT)} if _ENDPOINT in app.view_functions else set()
    for path in sorted({WELL_KNOWN, WELL_KNOWN + urlsplit(resource_url or "").path} - served):
        app.add_url_rule(path, _ENDPOINT, view, methods=["GET"])


def describe(
    app: Flask, *, resource: str, issuers: Iterable[str], name: str, dpop: DPoPChallenge | None = None
) -> dict[str, Any]:
    """Return the metadata of `app` (RFC 9728 §2), with every scope that one of its routes requires."""
    metadata: dict[str, Any] = {
        "resource": resource,
        "authorization_servers": list(issuers),
        "scopes_supported": sorted(
            {scope for one in all_requirements(app) for scope in (*one.scopes, *one.any_of)},
        ),
        "bearer_methods_supported": ["header"],
        "resource_name": name,
    }
    if dpop is not None:
        metadata["dpop_signing_alg_values_supported"] = list(dpop.algorithms)
        metadata["dpop_bound_access_tokens_required"] = dpop.required
    return metadata


def all_requirements(app: Flask) -> Iterator[Requirement]:
    """Yield the requirements of all routes of `app`, as the decorators declare them."""
    for rule in app.url_map.iter_rules():
        if rule.endpoint in app.view_functions:
            for method in rule.methods or ():
                yield from requirements_of(app, rule.endpoint, method)
