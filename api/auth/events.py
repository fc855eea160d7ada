"""What a verifier reports, for logs and metrics."""

import logging

from .reasons import Reason

# Named after the package, whatever a copy is called.
_log = logging.getLogger(__package__)


class AuthEvents:
    """Callbacks; override what you need.

    By default, those that tell of a problem write to the standard `logging`, to a logger named after this package: a
    warning about an issuer's keys or a debug line for each refusal. The others do nothing.

    They run in the request, or in the thread that fetches keys: return quickly and raise nothing. Their arguments hold
    no secret, and nothing that a client chose.
    """

    def token_accepted(self, *, from_cache: bool) -> None:
        """A token was verified, or found in the cache of verified tokens."""

    def token_refused(self, reason: Reason, *, claim: str | None) -> None:
        """A request was refused for its credentials, or its token could not be judged.

        That is `KEYS_UNAVAILABLE` or `INTROSPECTION_UNAVAILABLE`. `claim` is the name of the claim at fault, if one is.
        """
        _log.debug("Request refused: %s%s", reason.value, f" ({claim})" if claim else "")

    def keys_fetched(self, issuer: str, key_count: int) -> None:
        """An issuer's key set was fetched; it has `key_count` usable keys, perhaps none."""

    def keys_fetch_failed(self, issuer: str, cause: str) -> None:
        """A fetch of an issuer's key set failed; `cause` is one of our own sentences, in printable ASCII.

        It may contain the identifier that the issuer's metadata names, where that is not the configured one.
        """
        _log.warning("The keys of %s cannot be fetched: %s", issuer, cause)

    def key_set_unusable(self, issuer: str, *, confirmed: bool) -> None:
        """An issuer's key set was fetched, and has no usable key.

        It is used, and so all tokens of the issuer are refused, once a second fetch has `confirmed` it.
        """
        what_follows = "its tokens are refused" if confirmed else "a second fetch will have to say the same"
        _log.warning("The keys of %s: the set has no usable key; %s", issuer, what_follows)

    def private_key_published(self, issuer: str) -> None:
        """An issuer's key set was fetched, and has a private or a symmetric key: whoever reads it can sign tokens.

        The key is ignored, but tokens signed with it are accepted if the set also has its public key.
        """
        _log.warning("The keys of %s: the set has a private or a symmetric key", issuer)

    def stale_keys_used(self, issuer: str) -> None:
        """A token was verified with keys that are no longer fresh."""

    def introspection_answered(self, issuer: str) -> None:
        """An issuer answered a question about a token; this may have been a check without a token of anybody."""

    def introspection_failed(self, issuer: str, cause: str) -> None:
        """An issuer did not answer a question about a token; `cause` is as in `keys_fetch_failed`."""
        _log.warning("%s cannot be asked about tokens: %s", issuer, cause)
