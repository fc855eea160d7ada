"""Issuer → the key set that it publishes now, by HTTP. key_cache.py decides when to fetch, and keeps it."""

from ..config import TrustedIssuer
from .discovery import discover, seconds_until
from .fetch import Fetch
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
        url = self._issuer.jwks_url or discover(self._issuer.identifier, "jwks_uri", self._fetch, deadline)
        document = self._fetch(url, seconds_until(deadline))
        return parse_key_set(document.body, self._algorithms), document.max_age_seconds
