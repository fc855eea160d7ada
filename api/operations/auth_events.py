"""What the verifier reports → metrics and log lines."""

import time

import structlog

from api.auth import AuthEvents, Reason

from .metrics import (
    INTROSPECTIONS,
    KEY_FETCHES,
    KEY_SET_FAULTS,
    KEYS_FETCHED_TIMESTAMP,
    STALE_KEYS_USED,
    TOKENS_ACCEPTED,
    TOKENS_REFUSED,
)
from .request_record import add_to_line

_log = structlog.stdlib.get_logger()


class RecordedAuthEvents(AuthEvents):
    """Count and log what the verifier reports. The events carry no token, no claim's value, and no URL but issuers'."""

    def token_accepted(self, *, from_cache: bool) -> None:
        """Count an accepted token."""
        TOKENS_ACCEPTED.labels("yes" if from_cache else "no").inc()

    def token_refused(self, reason: Reason, *, claim: str | None) -> None:
        """Count a refused token, and add the reason and the name of the claim at fault to the request's log line."""
        record_refusal(reason.value, claim=claim)

    def keys_fetched(self, issuer: str, key_count: int) -> None:
        """Count and log a successful fetch."""
        KEY_FETCHES.labels(issuer, "fetched").inc()
        # A set without keys is used only once it is confirmed.
        if key_count:
            KEYS_FETCHED_TIMESTAMP.labels(issuer).set(time.time())
        _log.info("keys_fetched", issuer=issuer, key_count=key_count)

    def keys_fetch_failed(self, issuer: str, cause: str) -> None:
        """Count and log a failed fetch."""
        KEY_FETCHES.labels(issuer, "failed").inc()
        _log.warning("keys_fetch_failed", issuer=issuer, cause=cause)

    def key_set_unusable(self, issuer: str, *, confirmed: bool) -> None:
        """Count and log a key set without any usable key."""
        KEY_SET_FAULTS.labels(issuer, "no_usable_key").inc()
        if confirmed:
            KEYS_FETCHED_TIMESTAMP.labels(issuer).set(time.time())
        _log.warning("key_set_unusable", issuer=issuer, confirmed=confirmed)

    def private_key_published(self, issuer: str) -> None:
        """Count and log a key set with a private or a symmetric key."""
        KEY_SET_FAULTS.labels(issuer, "private_key").inc()
        _log.warning("private_key_published", issuer=issuer)

    def stale_keys_used(self, issuer: str) -> None:
        """Count a use of stale keys; the failed fetch that caused it is already logged."""
        STALE_KEYS_USED.labels(issuer).inc()

    def introspection_answered(self, issuer: str) -> None:
        """Count an answer of an issuer about a token."""
        INTROSPECTIONS.labels(issuer, "answered").inc()

    def introspection_failed(self, issuer: str, cause: str) -> None:
        """Count and log a question to an issuer that was not answered."""
        INTROSPECTIONS.labels(issuer, "failed").inc()
        _log.warning("introspection_failed", issuer=issuer, cause=cause)


def record_refusal(reason: str, *, claim: str | None = None) -> None:
    """Count a request refused for its credentials, or because they cannot be judged now; add why to its log line.

    `reason` labels a metric: it is one of a fixed set, never from a request. `claim` is the name of the claim at fault.
    """
    TOKENS_REFUSED.labels(reason).inc()
    add_to_line({"auth_refused": reason, **({"claim": claim} if claim else {})})
