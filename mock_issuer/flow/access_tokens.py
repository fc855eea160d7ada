"""What the issuer remembers of access tokens: what opaque ones say, and which were revoked."""

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

_TOKEN_BYTES = 32
# Fewer opaque tokens than twice this are not searched for expired ones.
_KEPT_AT_LEAST = 500


class AccessTokens:
    """The claims of opaque access tokens and the SHA-256 of revoked ones, until they expire. Not thread-safe.

    `now` is in seconds since the epoch.

    Args:
        lifetime_seconds: the lifetime of access tokens.
    """

    def __init__(self, lifetime_seconds: int) -> None:
        self._lifetime_seconds = lifetime_seconds
        # With the time when each has expired.
        self._revoked: dict[bytes, float] = {}
        # By SHA-256, with the time when each has expired.
        self._opaque: dict[bytes, tuple[Mapping[str, Any], float]] = {}
        self._cleared_size = _KEPT_AT_LEAST

    def issue_opaque(self, claims: Mapping[str, Any], *, expires_at: float, now: float) -> str:
        """Return a new random token that stands for these claims."""
        # Not at each token: a load test issues many.
        if len(self._opaque) >= 2 * self._cleared_size:
            self._opaque = {digest: kept for digest, kept in self._opaque.items() if now < kept[1]}
            self._cleared_size = max(len(self._opaque), _KEPT_AT_LEAST)
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        self._opaque[token_digest(token)] = (dict(claims), expires_at)
        return token

    def read_opaque(self, unverified_token: str) -> Mapping[str, Any] | None:
        """Return the claims of an opaque token, expired or not; None if it is unknown or revoked by its client."""
        found = self._opaque.get(token_digest(unverified_token))
        return None if found is None else found[0]

    def delete_opaque(self, unverified_token: str) -> None:
        """Revoke an opaque token."""
        self._opaque.pop(token_digest(unverified_token), None)

    def revoke(self, digests: tuple[bytes, ...], *, now: float) -> None:
        """Revoke the tokens with these SHA-256."""
        self._revoked = {digest: end for digest, end in self._revoked.items() if now < end}
        self._revoked |= dict.fromkeys(digests, now + self._lifetime_seconds)

    def is_revoked(self, access_token: str) -> bool:
        """Return whether an access token was revoked."""
        return token_digest(access_token) in self._revoked


def token_digest(access_token: str) -> bytes:
    """Return the SHA-256 of an access token."""
    return hashlib.sha256(access_token.encode("utf-8", "surrogatepass")).digest()
