"""Issuer's metadata → address of its key set (OpenID Connect Discovery 1.0, RFC 8414). No I/O: fetch.py fetches."""

from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

from ..config import is_secure_url, without_credentials
from ..strict_json import parse_object
from .fetch import Fetched

# Metadata nests an object in a list at most; extensions a little more.
_MAX_METADATA_DEPTH = 10
# Of an issuer that metadata names, in messages: identifiers are shorter.
_MAX_SHOWN_CHARS = 200


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
        raise DiscoveryError(_other_issuer(metadata.get("issuer"), issuer))
    jwks_url = metadata.get("jwks_uri")
    if not isinstance(jwks_url, str) or not is_secure_url(jwks_url):
        raise DiscoveryError("the metadata has no https jwks_uri")
    return jwks_url


def _other_issuer(unverified_issuer: object, issuer: str) -> str:
    """Return what is wrong with the issuer that metadata names: a sentence in printable ASCII."""
    if not isinstance(unverified_issuer, str) or not unverified_issuer:
        return "the metadata names no issuer"
    if unverified_issuer == f"{issuer}/":
        return f"the issuer's metadata names {unverified_issuer} (with a final slash)"
    if issuer == f"{unverified_issuer}/":
        return f"the issuer's metadata names {unverified_issuer} (without a final slash)"
    return f"the metadata names another issuer, {_shown(unverified_issuer)}"


def _shown(unverified_issuer: str) -> str:
    """Return a text without credentials, white space, control and non-ASCII characters, cut to 200 characters."""
    start = without_credentials(unverified_issuer)[: _MAX_SHOWN_CHARS + 1]
    cleaned = "".join(character if "!" <= character <= "~" else "?" for character in start)
    return cleaned if len(cleaned) <= _MAX_SHOWN_CHARS else f"{cleaned[:_MAX_SHOWN_CHARS]}..."
