"""The stored login as the commands use it: fresh when needed, spent once, given back at logout."""

import enum
from pathlib import Path

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from device_app.http.headers import try_again_words
from device_app.http.transport import describe_failure, harden, is_overloaded
from device_app.login.issuer import Issuer, issuer_of
from device_app.model.errors import DeviceAppError, LoginNeededError, NotRevokedError, UnavailableError
from device_app.model.times import Clock
from device_app.model.tokens import Tokens
from device_app.model.untrusted import plain_text
from device_app.storage.token_file import TokenStore

__all__ = ["Credentials", "Logout"]

# A token that ends within this time could end on its way to the API.
_NEAR_EXPIRY_SECONDS = 60


class Logout(enum.Enum):
    """How a logout ended, in words."""

    REVOKED = "Logged out."
    NOT_OFFERED = "Logged out on this machine. The issuer offers no revocation: unlink the device there."
    NOT_LOGGED_IN = "You are not logged in."


class Credentials:
    """The tokens in `store`.

    `expected_issuer` is the issuer that the caller believes to be logged in at, None for whichever it is. `ca_file`
    holds the certificate authorities to trust instead of the built-in ones.
    """

    def __init__(
        self, store: TokenStore, *, clock: Clock, ca_file: Path | None, expected_issuer: str | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._ca_file = ca_file
        self._expected_issuer = expected_issuer

    def stored(self) -> Tokens:
        """Return the tokens as they are, ended or not. Raises LoginNeededError when there is no login."""
        tokens = self._store.load()
        self._check_issuer(tokens)
        return tokens

    def current(self) -> Tokens:
        """Return tokens that are good for a while, refreshed where they would end soon.

        Raises LoginNeededError when there is no login or it has ended, UnavailableError when the token has ended and
        the issuer cannot be asked for another.
        """
        tokens = self.stored()
        if not self._ends_within(tokens, _NEAR_EXPIRY_SECONDS):
            return tokens
        still_good = not self._ends_within(tokens, 0)
        if tokens.refresh_token is None and still_good:
            return tokens
        try:
            return self.renew(tokens)
        except UnavailableError:
            if still_good:
                return tokens
            raise

    def renew(self, stale: Tokens) -> Tokens:
        """Return other tokens than `stale`, which have ended or were refused.

        A refresh token may be usable once (RFC 9700 §4.14.2), and whoever spends it twice loses the login. So one
        process spends it under the lock, and those that waited find the new tokens in the file. Raises as `current`.
        """
        with self._store.locked():
            tokens = self.stored()
            if tokens.access_token != stale.access_token:
                return tokens
            fresh = self._spend(tokens)
            self._store.save(fresh)
            return fresh

    def log_out(self) -> Logout:
        """Revoke the login at the issuer (RFC 7009), and forget it here whatever the issuer says.

        Raises NotRevokedError when it was only forgotten, LoginNeededError when the login is at another issuer than
        expected and was left alone.
        """
        with self._store.locked():
            try:
                tokens = self._store.load()
            except LoginNeededError:
                self._store.forget()  # a damaged file holds nothing that could be revoked
                return Logout.NOT_LOGGED_IN
            self._check_issuer(tokens)
            try:
                return Logout.REVOKED if self._revoke(tokens) else Logout.NOT_OFFERED
            except DeviceAppError as exc:
                raise NotRevokedError(
                    f"{exc}\nThis machine has forgotten the login, but it was not revoked: unlink the device there."
                ) from exc
            finally:
                self._store.forget()

    def _check_issuer(self, tokens: Tokens) -> None:
        logged_in_at = tokens.request.issuer
        if self._expected_issuer not in (None, logged_in_at):
            raise LoginNeededError(
                f"You are logged in at {logged_in_at}, not at {self._expected_issuer}. "
                f"Run: device login --issuer {self._expected_issuer}"
            )

    def _ends_within(self, tokens: Tokens, seconds: float) -> bool:
        return tokens.expires_at is not None and tokens.expires_at - seconds <= self._clock.now()

    def _spend(self, tokens: Tokens) -> Tokens:
        if tokens.refresh_token is None:
            raise LoginNeededError(f"Your login has ended. Run: {tokens.request.command()}")
        with self._session(tokens) as session:
            issuer = self._issuer(tokens)
            session.register_compliance_hook("refresh_token_response", self._refuse_overload)
            try:
                response = session.refresh_token(issuer.token_endpoint, refresh_token=tokens.refresh_token)
            except OAuthError as exc:
                if exc.error == "invalid_grant":
                    self._store.forget()
                    raise LoginNeededError(
                        "The issuer no longer accepts this login: it was revoked, unlinked or left unused for too "
                        f"long. Run: {tokens.request.command()}"
                    ) from exc
                reason = ": ".join(
                    filter(
                        None,
                        [plain_text(text, hide=tokens.secrets).rstrip(".") for text in (exc.error, exc.description)],
                    )
                )
                raise DeviceAppError(f"The issuer refused to refresh the login ({reason}).") from exc
            except requests.RequestException as exc:
                raise UnavailableError(f"The issuer {issuer.identifier} {describe_failure(exc)}.") from exc
            except (ValueError, TypeError, OverflowError, RecursionError) as exc:
                # Authlib converts members of the answer before anyone can check them.
                raise DeviceAppError("The issuer answered the refresh with nonsense.") from exc
        return Tokens.from_response(response, request=tokens.request, now=self._clock.now(), previous=tokens)

    def _refuse_overload(self, response: requests.Response) -> requests.Response:
        if is_overloaded(response):
            again = try_again_words(response.headers, self._clock.now())
            raise UnavailableError(f"The issuer cannot refresh the login now (status {response.status_code}). {again}")
        return response

    def _revoke(self, tokens: Tokens) -> bool:
        with self._session(tokens) as session:
            issuer = self._issuer(tokens)
            if issuer.revocation_endpoint is None:
                return False
            # RFC 7009 §2.1: with the refresh token the whole grant goes.
            token, hint = (
                (tokens.refresh_token, "refresh_token")
                if tokens.refresh_token
                else (tokens.access_token, "access_token")
            )
            try:
                response = session.revoke_token(  # type: ignore[no-untyped-call]  # the stubs leave it out
                    issuer.revocation_endpoint, token=token, token_type_hint=hint
                )
            except requests.RequestException as exc:
                raise UnavailableError(f"The issuer {issuer.identifier} {describe_failure(exc)}.") from exc
        if response.status_code != requests.codes.ok:
            raise DeviceAppError(
                f"The issuer {issuer.identifier} did not revoke the login (status {response.status_code})."
            )
        return True

    def _session(self, tokens: Tokens) -> OAuth2Session:
        return harden(OAuth2Session(client_id=tokens.request.client_id), self._ca_file)

    def _issuer(self, tokens: Tokens) -> Issuer:
        # The issuer that the tokens came from, and no other: a refresh token goes nowhere else.
        with harden(requests.Session(), self._ca_file) as http:
            return issuer_of(tokens.request, http)
