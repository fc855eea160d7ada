"""The controls in Python: sign tokens, rotate keys, move the clock, break the key endpoint, decide for users."""

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from mock_issuer.config import Api, Client, User
from mock_issuer.dialects.vendors import FORMS
from mock_issuer.flow import decisions
from mock_issuer.flow.clock import Clock
from mock_issuer.flow.events import Event
from mock_issuer.flow.issuer import Issuer, JwksFault
from mock_issuer.flow.records import DeviceGrant, Script, ScriptOutcome
from mock_issuer.hostile.request import HostileRequest
from mock_issuer.hostile.table import hostile_requests
from mock_issuer.oauth.tokens import sign_access_token
from mock_issuer.rules import RuleDenied

_NOTHING: Mapping[str, Any] = MappingProxyType({})
# About a thousand years. Larger numbers may not fit into a NumericDate of the client.
_LONGEST_LIFETIME_SECONDS = 32_000_000_000


class ControlError(ValueError):
    """A control cannot do what the test asked for; the text says why."""


class Control:
    """The controls of one issuer. All methods are thread-safe."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer

    @property
    def clock(self) -> Clock:
        """The issuer's clock; `clock.advance(seconds)` moves it forward."""
        return self._issuer.clock

    @property
    def events(self) -> tuple[Event, ...]:
        """The events of `/logs`, oldest first."""
        return self._issuer.events.all()

    def token(
        self,
        *,
        scope: str = "",
        sub: str | None = None,
        audience: str | None = None,
        client_id: str | None = None,
        machine: bool = False,
        expires_in: float | None = None,
        claims: Mapping[str, Any] = _NOTHING,
        header: Mapping[str, Any] = _NOTHING,
    ) -> str:
        """Sign an access token without a flow, in the configured dialect.

        Args:
            scope: its scopes, space-separated. They need not be configured.
            sub: its `sub`; default: the first user's.
            audience: its `aud`; default: the first API's.
            client_id: the client that it is issued to; default: the first one.
            machine: whether it is a machine's, as from client credentials: without a user, with the subject that the
                dialect gives the client, if any; `sub` must then be None.
            expires_in: its lifetime in seconds, negative for an expired token; default: the configured one.
            claims: claims to add or replace; None removes one.
            header: header parameters to add or replace; None removes one.

        Raises ControlError if a default is not configured, the lifetime exceeds a thousand years, or a machine's token
        shall have a `sub`. Does not check
        that the values make a valid token.
        """
        lifetime = self._issuer.config.access_token_seconds if expires_in is None else expires_in
        if not abs(lifetime) <= _LONGEST_LIFETIME_SECONDS:
            raise ControlError("expires_in must be a number of seconds, at most a thousand years.")
        if machine and sub is not None:
            raise ControlError("A machine's token has no user: leave out sub, or set it in claims.")
        return sign_access_token(
            self._issuer,
            scope=scope,
            sub=self._user(None).sub if sub is None and not machine else sub,
            audience=self._api().audience if audience is None else audience,
            client_id=self._client().client_id if client_id is None else client_id,
            expires_in=lifetime,
            claims=claims,
            header=header,
        )

    def rotate_keys(self) -> str:
        """Make a new signing key, publish it beside the older ones, and return its `kid`."""
        return self._issuer.keys.rotate()

    def withdraw_key(self, kid: str | None = None) -> str:
        """Remove a key from the published JWK Set and return its `kid`; default: the oldest key.

        A withdrawn signing key keeps signing until `rotate_keys`.

        Raises ControlError if no published key has this `kid`.
        """
        withdrawn = self._issuer.keys.withdraw(kid)
        if withdrawn is None:
            raise ControlError("No published key has this kid.")
        return withdrawn

    def jwks_fault(
        self, *, status: int | None = None, delay: float = 0, body: str | None = None, redirect: str | None = None
    ) -> None:
        """Make the key endpoint fail until the next call; without arguments, end the fault.

        Args:
            status: the status to answer with.
            delay: seconds to wait before the answer, at most 3600.
            body: sent in place of the JWK Set.
            redirect: the `Location` to redirect to, with status 302 unless `status` is given.

        Raises ControlError for values that HTTP cannot send.
        """
        if status is not None and not 200 <= status <= 599:  # noqa: PLR2004  # final statuses
            raise ControlError("status must be a number from 200 to 599.")
        if not 0 <= delay <= 3600:  # noqa: PLR2004  # an hour
            raise ControlError("delay must be a number of seconds from 0 to 3600.")
        if redirect is not None and not (redirect.isascii() and redirect.isprintable()):
            raise ControlError("redirect must be printable ASCII.")
        if body is not None and any("\ud800" <= character <= "\udfff" for character in body):
            raise ControlError("body must not contain surrogates: UTF-8 cannot encode them.")
        previous = self._issuer.jwks_fault
        self._issuer.jwks_fault = JwksFault(status=status, delay_seconds=delay, body=body, redirect=redirect)
        previous.ended.set()

    def approve(self, user_code: str, *, user: str | None = None) -> None:
        """Approve a pending device request as a user; default: the first user. The configured rules run.

        Raises ControlError for an unknown user and if no pending request has this user code.
        """
        grant, approver = self._pending(user_code), self._user(user)
        # A rule denied the request: the next poll gets access_denied, as after the pages.
        with suppress(RuleDenied):
            decisions.approve(self._issuer, grant, approver, auth_time=int(self.clock()))

    def deny(self, user_code: str, *, user: str | None = None) -> None:
        """Deny a pending device request as a user; default: the first user. Raises as `approve` does."""
        decisions.deny(self._issuer, self._pending(user_code), self._user(user))

    def expire(self, user_code: str) -> None:
        """Expire a pending device request now. Raises ControlError if no pending request has this user code."""
        self._issuer.state.expire(self._pending(user_code), now=self.clock())

    def script(self, *, after_polls: int = 0, outcome: ScriptOutcome | None = None, user: str | None = None) -> None:
        """Decide all device requests that start from now on automatically.

        Args:
            after_polls: how many polls get `authorization_pending` before the outcome.
            outcome: `approve`, `deny` or `expire`; None ends the script, and users decide again.
            user: who approves or denies; default: the first user.

        Raises ControlError for an unknown user or a negative `after_polls`.
        """
        if after_polls < 0:
            raise ControlError("after_polls must be 0 or more.")
        script = None
        if outcome is not None:
            script = Script(after_polls=after_polls, outcome=outcome, username=self._user(user).username)
        self._issuer.state.set_script(script)

    def remove_user(self, user: str) -> None:
        """Remove a user until `reset`: no log-in, no tokens for what the user approved, no refresh.

        Raises ControlError for an unknown user.
        """
        self._issuer.remove_user(self._user(user))

    def reset(self) -> None:
        """Restore the initial state, with the first signing key; end all faults, sessions and requests."""
        self.jwks_fault()
        self.clock.reset()
        self._issuer.keys.reset()
        self._issuer.restore_users()
        self._issuer.state.reset()
        self._issuer.used_proofs.clear()
        self._issuer.events.clear()

    def hostile(
        self, *, audience: str | None = None, scope: str = "", dpop_url: str = "", dpop_nonce: str = ""
    ) -> tuple[HostileRequest, ...]:
        """Return requests for testing an API, with the acceptable answers to each.

        Args:
            audience: the API's identifier; default: the first API's. In a dialect whose tokens name no API, the id of a
                client whose tokens the API accepts; default: the first client's.
            scope: the scopes that the tested route requires, space-separated; empty if it accepts any valid token.
            dpop_url: the tested URL, without query: adds requests with DPoP proofs (RFC 9449), for an API that accepts
                tokens bound to a key. Each is to be sent soon, and once; empty for none.
            dpop_nonce: the API's nonce for them; empty for none.
        """
        return hostile_requests(
            self._issuer.keys,
            issuer=self._issuer.config.issuer,
            audience=self._usual_audience() if audience is None else audience,
            scope=scope,
            now=int(self.clock()),
            dialect=self._issuer.config.dialect,
            dpop_url=dpop_url,
            dpop_nonce=dpop_nonce,
        )

    def _usual_audience(self) -> str:
        names_audience = FORMS[self._issuer.config.dialect].names_audience
        return self._api().audience if names_audience else self._client().client_id

    def _api(self) -> Api:
        if not self._issuer.config.apis:
            raise ControlError("No API is configured: pass an audience.")
        return self._issuer.config.apis[0]

    def _client(self) -> Client:
        if not self._issuer.config.clients:
            raise ControlError("No client is configured: pass a client_id.")
        return self._issuer.config.clients[0]

    def _user(self, username: str | None) -> User:
        users = self._issuer.config.users
        found = users[0] if users and username is None else self._issuer.config.find_user(username=username)
        if found is None:
            raise ControlError("No user has this name.")
        return found

    def _pending(self, user_code: str) -> DeviceGrant:
        grant = self._issuer.state.find_pending(user_code, now=self.clock())
        if grant is None:
            raise ControlError("No pending request has this user code.")
        return grant
