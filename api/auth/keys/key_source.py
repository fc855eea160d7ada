"""Issuer → the key set that it publishes now, by HTTP. key_cache.py decides when to fetch, and keeps it."""

import time

from ..config import TrustedIssuer
from .discovery import DiscoveryError, metadata_urls, read_jwks_url
from .fetch import Fetch, FetchError
from .key_set import KeySet, parse_key_set


class KeySource:
    """Fetches the key set of one issuer. `algorithms` are those that its keys may verify; `fetch` gets a document."""

    def __init__(self, issuer: TrustedIssuer, algorithms: tuple[str, ...], fetch: Fetch) -> None:
        self._issuer = issuer
        self._algorithms = algorithms
        self._fetch = fetch

    def fetch_key_set(self, deadline: float) -> tuple[KeySet, int | None]:
        """Return the published keys and the document's max-age in seconds, None if it has none.

        `deadline` is a time of `time.monotonic`, for metadata and keys together. Reads the metadata each time.

        Raises FetchError, DiscoveryError or KeySetError.
        """
        url = self._issuer.jwks_url or self._discover_jwks_url(deadline)
        document = self._fetch(url, _seconds_until(deadline))
        return parse_key_set(document.body, self._algorithms), document.max_age_seconds

    def _discover_jwks_url(self, deadline: float) -> str:
        failures: list[Exception] = []
        for url in metadata_urls(self._issuer.identifier):
            try:
                metadata = self._fetch(url, _seconds_until(deadline))
                return read_jwks_url(metadata, self._issuer.identifier)
            except (FetchError, DiscoveryError) as exc:
                failures.append(exc)
        # Most issuers have one of the two documents: what is wrong with it says more than the other one's absence.
        failure = next((exc for exc in failures if isinstance(exc, DiscoveryError)), failures[-1])
        raise DiscoveryError(f"discovery: {failure}") from failure


def _seconds_until(deadline: float) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise FetchError("timed out")
    return remaining
