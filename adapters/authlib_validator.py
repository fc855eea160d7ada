"""A token validator for Authlib's ResourceProtector: keep its decorators, verify tokens with `api/auth/`.

    require_oauth = ResourceProtector()
    require_oauth.register_token_validator(VerifyingValidator(TokenVerifier(config)))
    app = Flask(__name__)
    answer_refusals(app)

Copy this file next to your copy of `api/auth/` and adapt its imports from there. It needs Authlib.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import TokenValidator

from api.auth import AccessToken, AuthError, InsufficientScope, TokenVerifier, bearer_token

if TYPE_CHECKING:
    # Authlib is used with other frameworks too.
    from flask import Flask


class RefusedToken(OAuth2Error):
    """An AuthError converted to an Authlib error with the same status, error code and challenge."""

    def __init__(self, refusal: AuthError, realm: str) -> None:
        super().__init__(refusal.detail, status_code=refusal.status, error=refusal.error)
        self._refusal = refusal
        self._realm = realm

    def get_headers(self) -> list[tuple[str, str]]:
        """Return the headers of the answer: the challenge (RFC 6750 §3) or Retry-After."""
        content_type: list[tuple[str, str]] = super().get_headers()
        return [*content_type, *self._refusal.headers(realm=self._realm).items()]


class VerifyingValidator(TokenValidator):
    """Verifies tokens with a TokenVerifier; Authlib's `current_token` is then an immutable AccessToken.

    `realm` names the protected space in challenges. A request without credentials does not reach this class: Authlib
    answers it with its own error, `missing_authorization`.
    """

    TOKEN_TYPE = "bearer"  # noqa: S105  # the name of a scheme

    def __init__(self, verifier: TokenVerifier, *, realm: str = "api") -> None:
        super().__init__(realm=realm)
        self._verifier = verifier
        self._realm = realm

    def validate_request(self, request: Any) -> None:
        """Raise RefusedToken for a malformed header that Authlib accepts, such as two tokens (RFC 6750 §2.1)."""
        try:
            bearer_token(request.headers.get("Authorization"), urlsplit(request.uri).query)
        except AuthError as refusal:
            raise RefusedToken(refusal, self._realm) from refusal

    def authenticate_token(self, token_string: str) -> AccessToken:
        """Return the verified token. Raises RefusedToken."""
        try:
            return self._verifier.verify(token_string)
        except AuthError as refusal:
            raise RefusedToken(refusal, self._realm) from refusal

    def validate_token(self, token: AccessToken, scopes: Sequence[str] | None, request: Any) -> None:  # noqa: ARG002  # Authlib's signature
        """Raise RefusedToken unless the token has all scopes of one entry of `scopes`, as Authlib defines the list."""
        alternatives = [tuple(entry.split(" ")) for entry in scopes or ()]
        if alternatives and not any(token.granted.issuperset(words) for words in alternatives):
            raise RefusedToken(InsufficientScope(alternatives[0]), self._realm)


def answer_refusals(app: "Flask", *, realm: str = "api") -> None:
    """Answer AuthError of views in `app`, such as of `current_token.subject` for a token without `sub`.

    Without this it is answered with 500: Authlib answers only what it finds before it calls the view. With Authlib's
    integration of another framework, answer it there as RefusedToken says. `realm` is that of VerifyingValidator.
    """

    def answer(refusal: AuthError) -> tuple[Any, int, list[tuple[str, str]]]:
        status, body, headers = RefusedToken(refusal, realm)()
        return body, status, headers

    app.register_error_handler(AuthError, answer)
