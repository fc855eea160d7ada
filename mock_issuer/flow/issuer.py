"""An issuer and its parts, attached to a Flask application for the endpoints to share."""

import threading
from dataclasses import dataclass, field, replace
from typing import cast
from urllib.parse import urlencode

from flask import Flask, current_app

from mock_issuer.config import OPENID_SCOPES, Api, Config, User
from mock_issuer.flow.clock import Clock
from mock_issuer.flow.dpop import Nonces, UsedProofs
from mock_issuer.flow.events import EventLog
from mock_issuer.flow.keys import SigningKeys
from mock_issuer.flow.state import State

_EXTENSION = "mock_issuer"


@dataclass(frozen=True, slots=True, kw_only=True)
class JwksFault:
    """How the key endpoint (`jwks.json`) misbehaves. By default it does not.

    Args:
        status: the status to answer with; None for the right one.
        delay_seconds: how long to wait before the answer.
        body: the body to answer with; None for the key set.
        redirect: the Location of a 302; None for no redirect.
        ended: set when the fault ends, which wakes the requests that `delay_seconds` delays.
    """

    status: int | None = None
    delay_seconds: float = 0.0
    body: str | None = None
    redirect: str | None = None
    ended: threading.Event = field(default_factory=threading.Event, compare=False)

    @property
    def description(self) -> str:
        """The fault in words, for the event log; empty if there is none."""
        parts = (
            f"status {self.status}" if self.status is not None else "",
            f"delay of {self.delay_seconds:g} s" if self.delay_seconds else "",
            "another body" if self.body is not None else "",
            "redirect" if self.redirect is not None else "",
        )
        return ", ".join(filter(None, parts))


@dataclass(slots=True, kw_only=True)
class Issuer:
    """One issuer.

    Args:
        config: its configuration, without the users that a test removed.
        clock: its clock.
        state: device requests, refresh tokens and consents.
        events: its event log.
        keys: its signing keys.
        jwks_fault: how its key endpoint misbehaves now.
        dpop_nonces: the nonces for DPoP proofs.
        used_proofs: the DPoP proofs that were used.
    """

    config: Config
    clock: Clock
    state: State
    events: EventLog = field(default_factory=EventLog)
    keys: SigningKeys = field(default_factory=SigningKeys)
    jwks_fault: JwksFault = field(default_factory=JwksFault)
    dpop_nonces: Nonces = field(default_factory=Nonces)
    used_proofs: UsedProofs = field(default_factory=UsedProofs)
    _lock: threading.Lock = field(init=False, repr=False, default_factory=threading.Lock)
    _configured: Config = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._configured = self.config

    def remove_user(self, user: User) -> None:
        """Remove a user: no log-in, no tokens; refresh tokens and consents are deleted."""
        with self._lock:
            users = tuple(one for one in self.config.users if one.sub != user.sub)
            self.config = replace(self.config, users=users)
        self.state.delete_of_user(user)

    def was_removed(self, sub: object) -> bool:
        """Return whether this is the subject of a user that was removed."""
        return any(user.sub == sub for user in self._configured.users) and not any(
            user.sub == sub for user in self.config.users
        )

    def restore_users(self) -> None:
        """Bring the removed users back."""
        with self._lock:
            self.config = self._configured

    def url(self, path: str) -> str:
        """Return the URL of an endpoint; `path` starts with a slash."""
        return self.config.issuer.rstrip("/") + path

    @property
    def verification_uri(self) -> str:
        """The URL of the page where users enter codes (RFC 8628 §3.2)."""
        return self.config.verification_uri or self.url("/activate")

    def verification_uri_complete(self, user_code: str) -> str:
        """Return the verification URI that contains the user code (RFC 8628 §3.2)."""
        return f"{self.verification_uri}?{urlencode({'user_code': user_code})}"

    @property
    def userinfo_api(self) -> Api:
        """The UserInfo endpoint as an API that tokens are issued for (OpenID Connect Core §5.3)."""
        scopes = {"openid": OPENID_SCOPES["openid"]}
        return Api(audience=self.url("/userinfo"), name="Your profile", scopes=scopes)

    def log_event(self, code: str, **details: str) -> None:
        """Add an event to the log, with the client's name if its id is known. `details` are fields of Event."""
        client = self.config.find_client(details.get("client_id", ""))
        self.events.add(code, now=self.clock(), client_name=client.name if client else "", **details)

    def init_app(self, app: Flask) -> None:
        """Attach this issuer to an application."""
        app.extensions[_EXTENSION] = self


def get_issuer(app: Flask) -> Issuer:
    """Return the issuer that is attached to an application."""
    return cast("Issuer", app.extensions[_EXTENSION])


def current_issuer() -> Issuer:
    """Return the issuer of the current request's application."""
    return get_issuer(current_app)
