"""What a test may do to an issuer: mint tokens, move keys and the clock, break the key endpoint, decide for users."""

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from mock_issuer.config import Api, Client, User
from mock_issuer.flow import decisions
from mock_issuer.flow.clock import Clock
from mock_issuer.flow.events import Event
from mock_issuer.flow.issuer import Issuer, JwksFault
from mock_issuer.flow.records import DeviceGrant, Script, ScriptOutcome
from mock_issuer.hostile import HostileRequest, hostile_requests
from mock_issuer.oauth.tokens import sign_access_token
from mock_issuer.rules import RuleDenied

_NOTHING: Mapping[str, Any] = MappingProxyType({})
# A thousand years, about: beyond what any `exp` is good for, and short of what a number cannot hold.
_LONGEST_LIFETIME_SECONDS = 32_000_000_000


class ControlError(ValueError):
    """A test asked for what cannot be done; the text says why."""


class Control:
    """The controls of one issuer. Every method is safe to call from any thread."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer

    @property
    def clock(self) -> Clock:
        """The issuer's clock; `clock.advance(seconds)` moves it forward."""
        return self._issuer.clock

    @property
    def events(self) -> tuple[Event, ...]:
        """What happened so far, the oldest first: what `/logs` shows."""
        return self._issuer.events.all()

    def token(
        self,
        *,
        scope: str = "",
        sub: str | None = None,
        audience: str | None = None,
        client_id: str | None = None,
        expires_in: float | None = None,
        claims: Mapping[str, Any] = _NOTHING,
        header: Mapping[str, Any] = _NOTHING,
    ) -> str:
        """Sign an access token, without any flow and whatever it says.

        Args:
            scope: its scopes, space-separated; they need not be known.
            sub: whom it speaks for; the first user where left out.
            audience: its `aud`; the first API where left out.
            client_id: the app it was issued to; the first client where left out.
            expires_in: its lifetime in seconds, negative for an expired one; the configured one where left out.
            claims: what to replace or to add in the payload; None omits a claim.
            header: the same for the header.

        Raises ControlError where what is left out is not configured either, and for a lifetime over a thousand years.
        """
        lifetime = self._issuer.config.access_token_seconds if expires_in is None else expires_in
        if not abs(lifetime) <= _LONGEST_LIFETIME_SECONDS:
            raise ControlError("expires_in is a number of seconds, at most a thousand years.")
        return sign_access_token(
            self._issuer,
            scope=scope,
            sub=self._user(None).sub if sub is None else sub,
            audience=self._api().audience if audience is None else audience,
            client_id=self._client().client_id if client_id is None else client_id,
            expires_in=lifetime,
            claims=claims,
            header=header,
        )

    def rotate_keys(self) -> str:
        """Sign with a new key from now on, and publish it beside the older ones; return its `kid`."""
        return self._issuer.keys.rotate()

    def withdraw_key(self, kid: str | None = None) -> str:
        """Publish a key no longer, the oldest where `kid` names none; return its `kid`.

        Raises ControlError when there is none such.
        """
        gone = self._issuer.keys.withdraw(kid)
        if gone is None:
            raise ControlError("No published key has this kid.")
        return gone

    def jwks_fault(
        self, *, status: int | None = None, delay: float = 0, body: str | None = None, redirect: str | None = None
    ) -> None:
        """Make the key endpoint misbehave until told otherwise; without arguments, as it should again.

        Args:
            status: answer with this one.
            delay: seconds to wait first, at most an hour.
            body: send this in place of the key set.
            redirect: send the client there, with status 302.

        Raises ControlError for what HTTP does not have.
        """
        if status is not None and not 200 <= status <= 599:  # noqa: PLR2004  # what a final answer can have
            raise ControlError("A status is a number from 200 to 599.")
        if not 0 <= delay <= 3600:  # noqa: PLR2004  # an hour, as said above
            raise ControlError("A delay is a number of seconds from 0 to 3600.")
        if redirect is not None and not (redirect.isascii() and redirect.isprintable()):
            raise ControlError("An address is printable ASCII.")
        if body is not None and any("\ud800" <= character <= "\udfff" for character in body):
            raise ControlError("A body is text that UTF-8 can hold: no surrogates.")
        ended = self._issuer.jwks_fault
        self._issuer.jwks_fault = JwksFault(status=status, delay_seconds=delay, body=body, redirect=redirect)
        ended.over.set()

    def approve(self, user_code: str, *, user: str | None = None) -> None:
        """Approve a device request in the name of a user, the first one where left out. Rules are asked as ever.

        Raises ControlError for an unknown user and for a code without a pending request.
        """
        grant, person = self._pending(user_code), self._user(user)
        # A rule that refuses is told to the device, as it would be after the pages.
        with suppress(RuleDenied):
            decisions.approve(self._issuer, grant, person, auth_time=int(self.clock()))

    def deny(self, user_code: str, *, user: str | None = None) -> None:
        """Refuse a device request in the name of a user. Raises as `approve` does."""
        decisions.deny(self._issuer, self._pending(user_code), self._user(user))

    def expire(self, user_code: str) -> None:
        """Let a device request expire at once. Raises ControlError for a code without a pending request."""
        self._issuer.state.expire(self._pending(user_code), now=self.clock())

    def script(self, *, after_polls: int = 0, outcome: ScriptOutcome | None = None, user: str | None = None) -> None:
        """Decide by itself what becomes of the device requests that are opened from now on.

        Args:
            after_polls: how many polls are told `authorization_pending` first.
            outcome: `approve`, `deny` or `expire`; None leaves later requests to people again.
            user: who does it; the first user where left out.

        Raises ControlError for an unknown user and a negative number.
        """
        if after_polls < 0:
            raise ControlError("after_polls is a number from 0 on.")
        script = None
        if outcome is not None:
            script = Script(after_polls=after_polls, outcome=outcome, username=self._user(user).username)
        self._issuer.state.set_script(script)

    def reset(self) -> None:
        """Make the issuer as it was at the start, with the key that it had then."""
        self.jwks_fault()
        self.clock.reset()
        self._issuer.keys.reset()
        self._issuer.state.reset()
        self._issuer.events.clear()

    def hostile(self, *, audience: str | None = None, scope: str = "") -> tuple[HostileRequest, ...]:
        """Make credentials to try an API with, each with the answer that is right.

        Args:
            audience: the API's identifier; the first API's where left out.
            scope: what the tried route needs; empty where any valid token will do.
        """
        return hostile_requests(
            self._issuer.keys,
            issuer=self._issuer.config.issuer,
            audience=self._api().audience if audience is None else audience,
            scope=scope,
            now=int(self.clock()),
        )

    def _api(self) -> Api:
        if not self._issuer.config.apis:
            raise ControlError("The configuration has no API: name an audience.")
        return self._issuer.config.apis[0]

    def _client(self) -> Client:
        if not self._issuer.config.clients:
            raise ControlError("The configuration has no client: name a client_id.")
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
