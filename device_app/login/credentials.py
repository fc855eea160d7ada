"""The stored login: refreshed when its access token expires or is rejected, and revoked at logout."""

import enum
from pathlib import Path

import requests

from device_app.http.dpop import INVALID_PROOF, ProvingClient
from device_app.http.headers import try_again_sentence
from device_app.http.transport import describe_failure, is_temporary_failure, secure_session
from device_app.login.issuer import Issuer, resolve_issuer
from device_app.model.errors import DeviceAppError, LoginNeededError, NotRevokedError, UnavailableError
from device_app.model.proof_key import ProofKey
from device_app.model.times import Clock
from device_app.model.tokens import Tokens
from device_app.model.untrusted import json_object, oauth_error_text
from device_app.storage.token_file import TokenStore

__all__ = ["Credentials", "LogoutResult"]

# A token that expires within this time could expire on its way to the API.
_EXPIRY_MARGIN_SECONDS = 60


class LogoutResult(enum.Enum):
    """How a logout ended; the values are the messages."""

    REVOKED = "Logged out."
    NOT_SUPPORTED = "Logged out on this machine only. The issuer offers no revocation: unlink the device there."
    NOT_LOGGED_IN = "You are not logged in."


class Credentials:
    """The login in `store`.

    If `expected_issuer` is set, a login at another issuer is not used. `ca_file` holds the certificate authorities to
    trust (PEM) instead of the built-in ones.
    """

    def __init__(
        self, store: TokenStore, *, clock: Clock, ca_file: Path | None, expected_issuer: str | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._ca_file = ca_file
        self._expected_issuer = expected_issuer

    def stored_tokens(self) -> Tokens:
        """Return the tokens as they are stored, expired or not. Raises LoginNeededError if there is no login."""
        tokens = self._store.load()
        self._check_issuer(tokens)
        return tokens

    def valid_tokens(self) -> Tokens:
        """Return tokens that do not expire within a minute, refreshed if necessary.

        If they cannot be refreshed now, returns tokens that expire within the minute. Raises LoginNeededError if there
        is no login or it has ended, UnavailableError if the token has expired and the issuer cannot be reached.
        """
        tokens = self.stored_tokens()
        if not self._expires_within(tokens, _EXPIRY_MARGIN_SECONDS):
            return tokens
        has_expired = self._expires_within(tokens, 0)
        if tokens.refresh_token is None and not has_expired:
            return tokens
        try:
            return self.refresh(tokens)
        except UnavailableError:
            if has_expired:
                raise
            return tokens

    def refresh(self, old_tokens: Tokens) -> Tokens:
        """Return new tokens in place of `old_tokens`, which have expired or were rejected (RFC 6749 §6).

        The issuer may accept a refresh token only once, and revoke the login if it is used twice (RFC 9700 §4.14.2).
        So one process refreshes under the lock, and processes that waited for the lock load its result. Raises as
        `valid_tokens`.
        """
        with self._store.locked():
            tokens = self.stored_tokens()
            if tokens.access_token != old_tokens.access_token:
                return tokens
            new_tokens = self._request_refresh(tokens)
            self._store.save(new_tokens)
            return new_tokens

    def _request_refresh(self, tokens: Tokens) -> Tokens:
        if tokens.refresh_token is None:
            raise LoginNeededError(f"Your login has ended. Run: {tokens.request.command()}")
        with self._session() as http:
            issuer = resolve_issuer(tokens.request, http)
            form = {
                "grant_type": "refresh_token",
                "refresh_token": tokens.refresh_token,
                "client_id": tokens.request.client_id,
            }
            response = _post(ProvingClient(http, self._clock), issuer, issuer.token_endpoint, form, tokens.proof_key)
        if is_temporary_failure(response):
            again = try_again_sentence(response.headers, self._clock.now())
            raise UnavailableError(f"The issuer cannot refresh the login now (status {response.status_code}). {again}")
        body = json_object(response) or {}
        error = body.get("error")
        if error == "invalid_grant":
            self._store.delete()
            raise LoginNeededError(
                "The issuer no longer accepts this login: it was revoked, unlinked or unused for too long. "
                f"Run: {tokens.request.command()}"
            )
        if response.status_code != requests.codes.ok:
            reason = oauth_error_text(error, body.get("error_description"), hide=tokens.secrets)
            reason = reason or f"status {response.status_code}"
            hints = {
                "invalid_client": f" The client ID is “{tokens.request.client_id}”.",
                INVALID_PROOF: " Is this machine's clock right?",
            }
            hint = hints.get(error, "") if isinstance(error, str) else ""
            raise DeviceAppError(f"The issuer refused to refresh the login ({reason}).{hint}")
        return Tokens.from_response(
            body, request=tokens.request, now=self._clock.now(), previous=tokens, key=tokens.proof_key
        )

    def log_out(self) -> LogoutResult:
        """Revoke the login at the issuer (RFC 7009 §2.1) and delete it here, even if the issuer cannot be reached.

        Raises NotRevokedError if it was only deleted, LoginNeededError if the login is at another issuer than expected
        and was kept.
        """
        with self._store.locked():
            try:
                tokens = self._store.load()
            except LoginNeededError:
                self._store.delete()  # a damaged file, which holds nothing to revoke
                return LogoutResult.NOT_LOGGED_IN
            self._check_issuer(tokens)
            try:
                return LogoutResult.REVOKED if self._revoke(tokens) else LogoutResult.NOT_SUPPORTED
            except DeviceAppError as exc:
                raise NotRevokedError(
                    f"{exc}\nThe login was deleted on this machine, but not revoked: unlink the device at the issuer."
                ) from exc
            finally:
                self._store.delete()

    def _revoke(self, tokens: Tokens) -> bool:
        """Return whether the issuer has revoked the login; False if it offers no revocation."""
        with self._session() as http:
            issuer = resolve_issuer(tokens.request, http)
            if issuer.revocation_endpoint is None:
                return False
            # RFC 7009 §2.1: revoking the refresh token also ends the grant.
            form = (
                {"token": tokens.refresh_token, "token_type_hint": "refresh_token"}
                if tokens.refresh_token
                else {"token": tokens.access_token, "token_type_hint": "access_token"}
            )
            form["client_id"] = tokens.request.client_id
            response = _post(ProvingClient(http, self._clock), issuer, issuer.revocation_endpoint, form)
        if response.status_code != requests.codes.ok:
            raise DeviceAppError(
                f"The issuer {issuer.identifier} did not revoke the login (status {response.status_code})."
            )
        return True

    def _check_issuer(self, tokens: Tokens) -> None:
        issuer = tokens.request.issuer
        if self._expected_issuer not in (None, issuer):
            raise LoginNeededError(
                f"You are logged in at {issuer}, not at {self._expected_issuer}. "
                f"Run: device login --issuer {self._expected_issuer}"
            )

    def _expires_within(self, tokens: Tokens, seconds: float) -> bool:
        return tokens.expires_at is not None and tokens.expires_at - seconds <= self._clock.now()

    def _session(self) -> requests.Session:
        return secure_session(requests.Session(), self._ca_file)


def _post(
    client: ProvingClient, issuer: Issuer, url: str, form: dict[str, str], key: ProofKey | None = None
) -> requests.Response:
    try:
        return client.send("POST", url, key=key, data=form, headers={"Accept": "application/json"})
    except requests.RequestException as exc:
        raise UnavailableError(f"The issuer {issuer.identifier} {describe_failure(exc)}.") from exc
