"""An HTTP server that answers as an issuer's introspection endpoint does (RFC 7662), and what its tests share."""

import json
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import pytest

from api.auth import AuthEvents, IntrospectionUnavailable, InvalidToken, Reason, TokenVerifier
from tests.kit.key_server import KeyServer, document
from tests.kit.signing import claims, jwks, rsa_key

KEY = rsa_key(0, "key-1")
SECRET = "secret of the api: %+/"
PATH = "/introspect"
NOW = 1_800_000_000.0
OPAQUE = "2YotnFZFEjr1zCsicMWpAA"


class Clock:
    """Both clocks of a verifier."""

    def __init__(self) -> None:
        self.seconds = NOW

    def __call__(self) -> float:
        return self.seconds


class Recorded(AuthEvents):
    """Records what happens, as words."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.answered: list[str] = []  # the issuers that answered

    def token_accepted(self, *, from_cache: bool) -> None:
        self.words.append("remembered" if from_cache else "accepted")

    def token_refused(self, reason: Reason, *, claim: str | None) -> None:
        self.words.append(f"{reason.value} {claim}" if claim else reason.value)

    def introspection_answered(self, issuer: str) -> None:
        self.answered.append(issuer)

    def introspection_failed(self, issuer: str, cause: str) -> None:
        self.words.append(cause)


class Issuer(KeyServer):
    """Serves keys, metadata and an introspection endpoint that knows `tokens`, and records the forms it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens: dict[str, dict[str, Any]] = {}
        self.forms: list[dict[str, list[str]]] = []
        self.authorizations: list[str | None] = []

    def open(self, *, has_metadata: bool = True) -> None:
        self.publish(jwks(KEY))
        metadata = {"issuer": self.issuer, "jwks_uri": self.jwks_url}
        if has_metadata:
            metadata["introspection_endpoint"] = self.endpoint
        self.answers["/.well-known/openid-configuration"] = document(json.dumps(metadata).encode())
        self.answers[PATH] = self.introspect

    @property
    def endpoint(self) -> str:
        return f"{self.origin}{PATH}"

    @property
    def questions(self) -> int:
        return self.requests[PATH]

    def introspect(self, handler: Any) -> None:
        form = parse_qs(handler.form.decode(), strict_parsing=True)
        self.forms.append(form)
        self.authorizations.append(handler.headers["Authorization"])
        known = self.tokens.get(form["token"][0])
        answer = {"active": False} if known is None else {"active": True, **known}
        document(json.dumps(answer).encode())(handler)

    def answer(self, answer: Any) -> None:
        """Answer every question so."""
        self.answers[PATH] = document(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    def hang(self) -> threading.Semaphore:
        """Leave questions unanswered until `released`; return a semaphore that each one releases."""
        asked = threading.Semaphore(0)

        def hang(handler: Any) -> None:
            asked.release()
            self.released.wait()
            self.introspect(handler)

        self.answers[PATH] = hang
        return asked


def described(issuer: KeyServer, **changes: Any) -> dict[str, Any]:
    """Return the members of an answer about a good token."""
    return claims(NOW, **{"iss": issuer.issuer, "token_type": "Bearer", **changes})


Make = Callable[..., TokenVerifier]


def refused(call: Callable[[], object]) -> tuple[Reason, str | None]:
    with pytest.raises(InvalidToken) as caught:
        call()
    return caught.value.reason, caught.value.claim


def unavailable(call: Callable[[], object]) -> IntrospectionUnavailable:
    with pytest.raises(IntrospectionUnavailable) as caught:
        call()
    return caught.value
