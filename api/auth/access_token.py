"""What has been verified: the type of all tokens that views, requirements and caches ever get."""

from collections.abc import Container
from typing import Any, NamedTuple

from .errors import InvalidToken, Reason
from .strict_json import parse_object


class AccessToken(NamedTuple):
    """A token whose signature, issuer, audience and times have been verified.

    Times are NumericDates, seconds since 1970 in UTC (RFC 7519 §2). `scopes` are those of `scope` and `scp`,
    `permissions` those of the claim of that name, as far as the configuration reads them. `client_id` falls back to
    `azp`. `payload` is the JSON that was signed.
    """

    issuer: str
    subject: str
    audiences: tuple[str, ...]
    expires_at: float
    not_before: float | None
    issued_at: float | None
    auth_time: float | None
    acr: str | None
    client_id: str | None
    token_id: str | None
    scopes: frozenset[str]
    permissions: frozenset[str]
    payload: bytes

    def __repr__(self) -> str:
        """Say nothing of whom the token speaks for: what is printed ends in logs."""
        return f"<AccessToken of {self.issuer}>"

    @property
    def granted(self) -> frozenset[str]:
        """Return all that the token may do: its scopes and its permissions."""
        return self.scopes | self.permissions if self.permissions else self.scopes

    @property
    def claims(self) -> dict[str, Any]:
        """Return all claims, parsed anew: a dict of the caller's own, so that no view can change another's token."""
        return parse_object(self.payload)

    def check_times(self, now: float, leeway_seconds: float) -> None:
        """Hold the token against the clock; `now` is a NumericDate.

        Raises InvalidToken once `exp` has come (RFC 7519 §4.1.4), and before `nbf` or `iat` has (§4.1.5, §4.1.6).
        """
        if self.expires_at + leeway_seconds <= now:
            raise InvalidToken(Reason.EXPIRED)
        latest = now + leeway_seconds
        not_before, issued_at = self.not_before, self.issued_at
        if (not_before is not None and not_before > latest) or (issued_at is not None and issued_at > latest):
            raise InvalidToken(Reason.NOT_YET_VALID)

    def check_audience(self, accepted: Container[str]) -> None:
        """Raise InvalidToken unless the token is meant for one of `accepted` (RFC 7519 §4.1.3)."""
        for audience in self.audiences:
            if audience in accepted:
                return
        raise InvalidToken(Reason.AUDIENCE)
