"""A token validator for Authlib's ResourceProtector: its decorators stay, `api/auth/` verifies the tokens.

    require_oauth = ResourceProtector()
    require_oauth.register_token_validator(VerifyingValidator(TokenVerifier(config)))

Copy this file beside the folder and change its first import from there. Needs Authlib, which the folder does not.
"""

from collections.abc import Sequence
from typing import Any

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import TokenValidator

from api.auth import AccessToken, AuthError, InsufficientScope, KeysUnavailable, TokenVerifier
from api.auth.unverified_token import bearer_token


class RefusedToken(OAuth2Error):
    """One of our refusals, as an error that Authlib answers: the same status, code and challenge."""

    def __init__(self, refusal: AuthError, realm: str) -> None:
        super().__init__(refusal.detail, status_code=refusal.status, error=refusal.error)
        self._refusal = refusal
        self._realm = realm

    def get_headers(self) -> list[tuple[str, str]]:
        """Return the headers of the answer: the challenge of RFC 6750 §3, or when to come back."""
        headers: list[tuple[str, str]] = super().get_headers()
        challenge = self._refusal.challenge(realm=self._realm)
        if challenge is not None:
            headers.append(("WWW-Authenticate", challenge))
        if isinstance(self._refusal, KeysUnavailable):
            headers.append(("Retry-After", str(self._refusal.retry_after_seconds)))
        return headers


class VerifyingValidator(TokenValidator):
    """Verifies with a TokenVerifier; `current_token` of Authlib is then our frozen AccessToken.

    `realm` names the protected space in challenges. Where no credentials came, Authlib answers before this is asked,
    with its own `missing_authorization`.
    """

    TOKEN_TYPE = "bearer"  # noqa: S105  # the name of a scheme

    def __init__(self, verifier: TokenVerifier, *, realm: str = "api") -> None:
        super().__init__(realm=realm)
        self._verifier = verifier
        self._realm = realm

    def validate_request(self, request: Any) -> None:
        """Refuse a header that Authlib's own reading lets pass: two tokens, or two headers in one (RFC 6750 §2.1).

        Raises RefusedToken.
        """
        try:
            bearer_token(request.headers.get("Authorization"))
        except AuthError as refusal:
            raise RefusedToken(refusal, self._realm) from refusal

    def authenticate_token(self, token_string: str) -> AccessToken:
        """Return the verified token. Raises RefusedToken."""
        try:
            return self._verifier.verify(token_string)
        except AuthError as refusal:
            raise RefusedToken(refusal, self._realm) from refusal

    def validate_token(self, token: AccessToken, scopes: Sequence[str] | None, request: Any) -> None:  # noqa: ARG002  # theirs
        """Ask for scopes as Authlib means them: one entry of the list is enough, and needs all of its words.

        Raises RefusedToken.
        """
        alternatives = [tuple(entry.split(" ")) for entry in scopes or ()]
        if alternatives and not any(token.granted.issuperset(words) for words in alternatives):
            raise RefusedToken(InsufficientScope(alternatives[0]), self._realm)
