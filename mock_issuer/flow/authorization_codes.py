"""The authorization codes (RFC 6749 §4.1.2), used and expired ones too: a second use must be noticed."""

import secrets
from dataclasses import replace

from mock_issuer.config import Client, User
from mock_issuer.flow.records import AuthorizationCode, CodeRefusal, CodeRequest
from mock_issuer.rules import ExtraClaims

# How long after a code has expired its reuse ends its tokens, before the code is deleted and unknown.
_KEEP_EXPIRED_SECONDS = 3600
_CODE_BYTES = 32


class AuthorizationCodes:
    """The authorization codes of one issuer. Not thread-safe. `now` is in seconds since the epoch.

    Args:
        lifetime_seconds: how long a code can be redeemed.
    """

    def __init__(self, lifetime_seconds: int) -> None:
        self._lifetime_seconds = lifetime_seconds
        self._codes: dict[str, AuthorizationCode] = {}

    def issue(self, request: CodeRequest, *, user: User, auth_time: int, claims: ExtraClaims, now: float) -> str:
        """Return a new code for a request that a user approved; the arguments are those of State.issue_code."""
        self._delete_expired(now)
        code = AuthorizationCode(
            code=secrets.token_urlsafe(_CODE_BYTES),
            request=request,
            sub=user.sub,
            auth_time=auth_time,
            claims=claims,
            expires_at=now + self._lifetime_seconds,
        )
        self._codes[code.code] = code
        return code.code

    def find(self, code: str, client: Client) -> AuthorizationCode | None:
        """Return the client's code, used or expired or not; None if it is unknown."""
        found = self._codes.get(code)
        return found if found and found.request.client_id == client.client_id else None

    def check(
        self, code: str, client: Client, *, redirect_uri: str, code_challenge: str, now: float
    ) -> AuthorizationCode | CodeRefusal:
        """Return a code that this token request may redeem, a used one too, or why not (RFC 7636 §4.6).

        The arguments are those of State.redeem_code. A used code is returned even if it has expired.
        """
        found = self.find(code, client)
        if found is None:
            return CodeRefusal.UNKNOWN
        if redirect_uri != found.request.redirect_uri:
            return CodeRefusal.OTHER_REDIRECT_URI
        if not secrets.compare_digest(code_challenge.encode(), found.request.code_challenge.encode()):
            return CodeRefusal.WRONG_VERIFIER
        return CodeRefusal.EXPIRED if now >= found.expires_at and not found.used else found

    def mark_used(self, code: AuthorizationCode, family_id: str | None) -> AuthorizationCode:
        """Return a code after its redemption for the refresh tokens of this family; None if there are none."""
        self._codes[code.code] = replace(code, used=True, family_id=family_id)
        return self._codes[code.code]

    def mark_reused(self, code: AuthorizationCode) -> None:
        """Remember a second use, which ends the access tokens that are still to be added."""
        self._codes[code.code] = replace(code, reused=True)

    def add_access_token(self, code: str, digest: bytes, *, now: float) -> bool:
        """Remember the SHA-256 of an access token that a code led to; return whether a second use has ended it."""
        self._delete_expired(now)
        found = self._codes.get(code)
        if found is None:
            return False
        self._codes[code] = replace(found, access_tokens=(*found.access_tokens, digest))
        return found.reused

    def _delete_expired(self, now: float) -> None:
        # All have the same lifetime, so the oldest expire first.
        while self._codes:
            oldest = next(iter(self._codes.values()))
            if now < oldest.expires_at + _KEEP_EXPIRED_SECONDS:
                break
            del self._codes[oldest.code]
