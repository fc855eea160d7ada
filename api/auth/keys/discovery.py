"""Issuer's metadata → address of its key set, or another (OpenID Connect Discovery 1.0, RFC 8414).

`discover` fetches the metadata by a function that it is given.
"""

import time
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

from ..config import is_secure_url, without_credentials
from ..strict_json import parse_object
from .fetch import Fetch, Fetched, FetchError

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


def discover(issuer: str, member: str, fetch: Fetch, deadline: float) -> str:
    """Return the address that an issuer's metadata has as `member`: the first of the two documents that has it.

    `deadline` is a time of `time.monotonic`. Raises DiscoveryError.
    """
    failures: list[Exception] = []
    for url in metadata_urls(issuer):
        try:
            return read_address(fetch(url, seconds_until(deadline)), issuer, member)
        except (FetchError, DiscoveryError) as exc:
            failures.append(exc)
    # Most issuers have one of the two documents: what is wrong with it says more than the other one's absence.
    failure = next((exc for exc in failures if isinstance(exc, DiscoveryError)), failures[-1])
    raise DiscoveryError(f"discovery: {failure}") from failure


def seconds_until(deadline: float) -> float:
    """Return the seconds until a time of `time.monotonic`. Raises FetchError if it has passed."""
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise FetchError("timed out")
    return remaining


def read_address(unverified_metadata: Fetched, issuer: str, member: str) -> str:
    """Return an address in an issuer's metadata, such as `jwks_uri` (RFC 8414 §2).

    Raises DiscoveryError if the document is not a JSON object, its `issuer` is not exactly `issuer` (RFC 8414 §3.3), or
    the address is not https (http on loopback only).
    """
    try:
        metadata = parse_object(unverified_metadata.body, max_depth=_MAX_METADATA_DEPTH)
    except ValueError as exc:
        raise DiscoveryError("the metadata is not a JSON object") from exc
    if metadata.get("issuer") != issuer:
        raise DiscoveryError(_other_issuer(metadata.get("issuer"), issuer))
    address = metadata.get(member)
    if not isinstance(address, str) or not is_secure_url(address):
        raise DiscoveryError(f"the metadata has no https {member}")
    return address


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
