"""What a verifier reports, for logs and metrics."""

import logging

from .errors import Reason

# Named after the package, whatever a copy is called.
_log = logging.getLogger(__package__)


class AuthEvents:
    """Callbacks; override what you need.

    By default, those that tell of a problem write to the standard `logging`, to a logger named after this package: a
    warning when keys cannot be fetched or a debug line for each refusal. The others do nothing.

    They run in the request, or in the thread that fetches keys: return quickly and raise nothing. Their arguments hold
    no secret, and nothing that a client chose.
    """

    def token_accepted(self, *, from_cache: bool) -> None:
        """A token was verified, or found in the cache of verified tokens."""

    def token_refused(self, reason: Reason, *, claim: str | None) -> None:
        """A request was refused for its credentials, or its token could not be verified (`KEYS_UNAVAILABLE`).

        `claim` is the name of the claim at fault, if one is.
        """
        _log.debug("Request refused: %s%s", reason.value, f" ({claim})" if claim else "")

    def keys_fetched(self, issuer: str, key_count: int) -> None:
        """An issuer's key set was fetched; it has `key_count` usable keys."""

    def keys_fetch_failed(self, issuer: str, cause: str) -> None:
        """A fetch of an issuer's key set failed; `cause` is one of our own sentences."""
        _log.warning("The keys of %s cannot be fetched: %s", issuer, cause)

    def stale_keys_used(self, issuer: str) -> None:
        """A token was verified with keys that are no longer fresh."""
