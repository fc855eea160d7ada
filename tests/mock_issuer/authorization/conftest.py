"""An app that logs its users in by the authorization code flow."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.callback import answer_in, callback_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests

    from tests.kit.person import Person
    from tests.mock_issuer.conftest import LiveIssuer

AUDIENCE = "https://device-api.example"
SCOPE = "openid read:devices offline_access"


def challenge_of(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


class App:
    """A client with its redirect URI on a port of its own."""

    def __init__(self, issuer: LiveIssuer, port: int, client_id: str = "device-app", **credentials: str) -> None:
        self.issuer = issuer
        self.credentials = {"client_id": client_id, **credentials}
        self.redirect_uri = f"http://127.0.0.1:{port}/callback"
        self.verifier = secrets.token_urlsafe(32)

    def query(self, **changes: str) -> dict[str, str]:
        """Return the parameters of an authorization request; an empty value leaves one out."""
        query = {
            "response_type": "code",
            "client_id": self.credentials["client_id"],
            "redirect_uri": self.redirect_uri,
            "audience": AUDIENCE,
            "scope": SCOPE,
            "state": "a state",
            "code_challenge": challenge_of(self.verifier),
            "code_challenge_method": "S256",
        }
        return {name: value for name, value in (query | changes).items() if value}

    def first_answer(self, **changes: str) -> requests.Response:
        """Return the answer to an authorization request of nobody's browser, without following redirects."""
        return self.issuer.get("/authorize", params=self.query(**changes), allow_redirects=False)

    def sign_in(self, person: Person, name: str = "alice", answer: str = "allow", **changes: str) -> dict[str, str]:
        """Go through all pages, and return the answer at the redirect URI."""
        person.open("/authorize", **self.query(**changes))
        if "/authorize/login" in person.page.url:
            person.log_in(name)
        if "/authorize/consent" in person.page.url:
            person.send(answer=answer)
        return self.answer_of(person)

    def answer_of(self, person: Person) -> dict[str, str]:
        assert "Back in the app" in person.page.text, person.page.url
        assert person.page.url.startswith(f"{self.redirect_uri}?")
        return answer_in(person.page.url)

    def code(self, **changes: str) -> str:
        return self.sign_in(self.issuer.person(), **changes)["code"]

    def exchange(self, code: str, **changes: str) -> requests.Response:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": self.verifier,
        }
        filled = {name: value for name, value in (self.credentials | form | changes).items() if value}
        return self.issuer.post("/oauth/token", filled)

    def tokens(self, **changes: str) -> dict[str, Any]:
        response = self.exchange(self.code(**changes))
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body


@pytest.fixture(scope="session")
def callback_port() -> Iterator[int]:
    with callback_server() as port:
        yield port


@pytest.fixture
def app(issuer: LiveIssuer, callback_port: int) -> App:
    """The default public client."""
    return App(issuer, callback_port)
