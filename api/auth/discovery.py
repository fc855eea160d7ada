"""Issuer identifier → address of its key set (OpenID Connect Discovery 1.0 §4, RFC 8414 §3)."""

from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

from .config import fetchable
from .fetch import Fetched
from .strict_json import parse_object

# Provider metadata nests an object in a list at most; extensions a little more.
_MAX_DEPTH = 10


class DiscoveryError(Exception):
    """Metadata that cannot be had or be trusted; the message is one of ours."""


def metadata_urls(issuer: str) -> Iterator[str]:
    """Yield where an issuer's metadata may stand, in the order in which to ask."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    # Discovery appends to the path, RFC 8414 §3.1 inserts before it.
    for well_known in (
        f"{path}/.well-known/openid-configuration",
        f"/.well-known/oauth-authorization-server{path}",
    ):
        yield urlunsplit((parts.scheme, parts.netloc, well_known, "", ""))


def read_jwks_url(unverified_metadata: Fetched, issuer: str) -> str:
    """Return the `jwks_uri` of an issuer's metadata.

    Raises DiscoveryError where the document is no JSON object, names another issuer (RFC 8414 §3.3: to the character),
    or an address that is not https (http on loopback).
    """
    try:
        metadata = parse_object(unverified_metadata.body, max_depth=_MAX_DEPTH)
    except ValueError as exc:
        raise DiscoveryError("the metadata is not a JSON object") from exc
    if metadata.get("issuer") != issuer:
        raise DiscoveryError("the metadata names another issuer")
    jwks_url = metadata.get("jwks_uri")
    if not isinstance(jwks_url, str) or not fetchable(jwks_url):
        raise DiscoveryError("the metadata has no https jwks_uri")
    return jwks_url
