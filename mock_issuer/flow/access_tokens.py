"""What the issuer remembers of access tokens: which were revoked."""

import hashlib


class AccessTokens:
    """The SHA-256 of each revoked access token, until it has expired anyway. Not thread-safe.

    `now` is in seconds since the epoch.

    Args:
        lifetime_seconds: the lifetime of access tokens.
    """

    def __init__(self, lifetime_seconds: int) -> None:
        self._lifetime_seconds = lifetime_seconds
        # With the time when each has expired.
        self._revoked: dict[bytes, float] = {}

    def revoke(self, digests: tuple[bytes, ...], *, now: float) -> None:
        """Revoke the tokens with these SHA-256."""
        self._revoked = {digest: end for digest, end in self._revoked.items() if now < end}
        self._revoked |= dict.fromkeys(digests, now + self._lifetime_seconds)

    def is_revoked(self, access_token: str) -> bool:
        """Return whether an access token was revoked."""
        return token_digest(access_token) in self._revoked


def token_digest(access_token: str) -> bytes:
    """Return the SHA-256 of an access token."""
    return hashlib.sha256(access_token.encode()).digest()
