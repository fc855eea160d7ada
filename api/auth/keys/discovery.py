"""Issuer's metadata → address of its key set (OpenID Connect Discovery 1.0, RFC 8414). No I/O: fetch.py fetches."""

from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

from ..config import is_secure_url
from ..strict_json import parse_object
from .fetch import Fetched

# Metadata nests an object in a list at most; extensions a little more.
_MAX_METADATA_DEPTH = 10


class DiscoveryError(Exception):
    """An issuer's metadata is malformed or not to be trusted."""


def metadata_urls(issuer: str) -> Iterator[str]:
    """Yield the addresses of an issuer's metadata, the first to ask first.

    OpenID Connect Discovery 1.0 §4 appends the well-known part to the issuer's path, RFC 8414 §3.1 inserts it before.
    """
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    for well_known in (
        f"{path}/.well-known/openid-configuration",
        f"/.well-known/oauth-authorization-server{path}",
    ):
        yield urlunsplit((parts.scheme, parts.netloc, well_known, "", ""))


def read_jwks_url(unverified_metadata: Fetched, issuer: str) -> str:
    """Return the `jwks_uri` of an issuer's metadata (RFC 8414 §2).

    Raises DiscoveryError if the document is not a JSON object, its `issuer` is not exactly `issuer` (RFC 8414 §3.3), or
    the address is not https (http on loopback only).
    """
    try:
        metadata = parse_object(unverified_metadata.body, max_depth=_MAX_METADATA_DEPTH)
    except ValueError as exc:
        raise DiscoveryError("the metadata is not a JSON object") from exc
    if metadata.get("issuer") != issuer:
        raise DiscoveryError("the metadata names another issuer")
    jwks_url = metadata.get("jwks_uri")
    if not isinstance(jwks_url, str) or not is_secure_url(jwks_url):
        raise DiscoveryError("the metadata has no https jwks_uri")
    return jwks_url
