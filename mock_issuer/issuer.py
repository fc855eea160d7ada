"""What all endpoints of one running issuer share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from flask import Flask, current_app

from mock_issuer.config import Api, Config
from mock_issuer.keys import SigningKeys
from mock_issuer.state import State

_EXTENSION = "mock_issuer"

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """One issuer: its configuration, its clock (seconds since the epoch), its state and its keys."""

    config: Config
    clock: Clock
    state: State
    keys: SigningKeys = field(default_factory=SigningKeys)

    def url(self, path: str) -> str:
        """Return the address of an endpoint; `path` starts with a slash."""
        return self.config.issuer.rstrip("/") + path

    @property
    def userinfo(self) -> Api:
        """The API that every issuer serves itself: who the user is (OpenID Connect Core §5.3)."""
        return Api(audience=self.url("/userinfo"), name="Your profile", scopes={})

    def install(self, app: Flask) -> None:
        """Make this the issuer of an application."""
        app.extensions[_EXTENSION] = self


def current_issuer() -> Issuer:
    """Return the issuer of the application that handles this request."""
    return cast("Issuer", current_app.extensions[_EXTENSION])
