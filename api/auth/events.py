"""What the folder reports about itself: an object with a method for each outcome, to count and to log."""

from .errors import Reason


class AuthEvents:
    """Hears every outcome. These methods do nothing: subclass, and override those that you want to hear.

    They run in the request, or in the thread that fetches keys: keep them quick, and let them raise nothing. No
    argument holds anything secret, nor anything that a client chose.
    """

    def token_accepted(self, *, from_cache: bool) -> None:
        """A token was verified, or found among the verified ones."""

    def token_refused(self, reason: Reason) -> None:
        """A token was judged and refused, or could not be judged (`Reason.KEYS_UNAVAILABLE`)."""

    def keys_fetched(self, issuer: str, key_count: int) -> None:
        """An issuer's key set was fetched, with so many usable keys."""

    def keys_fetch_failed(self, issuer: str, cause: str) -> None:
        """A fetch of an issuer's key set failed; `cause` is one of our own sentences."""

    def stale_keys_used(self, issuer: str) -> None:
        """A token was judged with keys past their freshness."""
