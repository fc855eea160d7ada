"""What all endpoints of one running issuer share."""

import threading
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlencode

from flask import Flask, current_app

from mock_issuer.config import Api, Config
from mock_issuer.flow.clock import Clock
from mock_issuer.flow.events import EventLog
from mock_issuer.flow.keys import SigningKeys
from mock_issuer.flow.state import State

_EXTENSION = "mock_issuer"


@dataclass(frozen=True, slots=True, kw_only=True)
class JwksFault:
    """How the key endpoint misbehaves: each thing that is set differs from what it should be."""

    status: int | None = None
    delay_seconds: float = 0.0
    body: str | None = None
    redirect: str | None = None
    # Set when the fault is over, so that nobody sleeps on through it.
    over: threading.Event = field(default_factory=threading.Event, compare=False)


@dataclass(slots=True, kw_only=True)
class Issuer:
    """One issuer: what it was told to be, what it remembers, and how it misbehaves at the moment."""

    config: Config
    clock: Clock
    state: State
    events: EventLog = field(default_factory=EventLog)
    keys: SigningKeys = field(default_factory=SigningKeys)
    jwks_fault: JwksFault = field(default_factory=JwksFault)

    def url(self, path: str) -> str:
        """Return the address of an endpoint; `path` starts with a slash."""
        return self.config.issuer.rstrip("/") + path

    def verification_uri_complete(self, user_code: str) -> str:
        """Return the address that needs no typing (RFC 8628 §3.2)."""
        return f"{self.url('/activate')}?{urlencode({'user_code': user_code})}"

    @property
    def userinfo(self) -> Api:
        """The API that every issuer serves itself: who the user is (OpenID Connect Core §5.3)."""
        return Api(audience=self.url("/userinfo"), name="Your profile")

    def note(self, code: str, **details: str) -> None:
        """Note an event in the log, of a known client with its name."""
        client = self.config.find_client(details.get("client_id", ""))
        self.events.add(code, now=self.clock(), client_name=client.name if client else "", **details)

    def install(self, app: Flask) -> None:
        """Make this the issuer of an application."""
        app.extensions[_EXTENSION] = self


def issuer_of(app: Flask) -> Issuer:
    """Return the issuer of an application."""
    return cast("Issuer", app.extensions[_EXTENSION])


def current_issuer() -> Issuer:
    """Return the issuer of the application that handles this request."""
    return issuer_of(current_app)
