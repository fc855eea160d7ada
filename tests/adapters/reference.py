"""The requests that every HTTP adapter gets, and Flask's answers to them, which an adapter's answers must equal."""

import json
from collections.abc import Callable, Iterable
from http.client import HTTPConnection
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from flask import Flask

from api.auth import Auth, AuthConfig, Requirement, TokenVerifier, TrustedIssuer, current_token
from api.auth.flask.decorator import RequireAuth
from tests.kit.key_server import KeyServer
from tests.kit.signing import AUDIENCE, claims, rsa_key

KEY = rsa_key(0)
REALM = "things"
# A request waits 3 s for keys at most. What is answered sooner did not wait for that request to end.
SOONER_SECONDS = 2.5
# By path. Each view answers with the token's subject, or null.
REQUIREMENTS = {
    "/any": Requirement(),
    "/scoped": Requirement(scopes=("read:devices",)),
    "/other": Requirement(scopes=("write:devices",)),
    "/recent": Requirement(max_age=60),
    "/optional": Requirement(optional=True),
}


class Answer(NamedTuple):
    status: int
    body: Any
    challenge: str | None
    retry_after: str | None
    cache_control: str | None
    content_type: str | None


def get(origin: str, path: str, authorizations: Iterable[str] = ()) -> Answer:
    """Send a GET request with an `Authorization` header for each of the values."""
    connection = HTTPConnection(urlsplit(origin).netloc, timeout=30)
    connection.putrequest("GET", path)
    for value in authorizations:
        connection.putheader("Authorization", value)
    connection.endheaders()
    with connection.getresponse() as response:
        text = response.read().decode()
    connection.close()
    body = json.loads(text) if response.getheader("Content-Type") == "application/json" else text
    names = ("WWW-Authenticate", "Retry-After", "Cache-Control", "Content-Type")
    return Answer(response.status, body, *map(response.getheader, names))


def make_verifier(key_server: KeyServer) -> TokenVerifier:
    issuer = TrustedIssuer(identifier=key_server.issuer, audiences=(AUDIENCE,), subject_required=False)
    return TokenVerifier(AuthConfig(issuers=(issuer,)))


def bearer(key_server: KeyServer, **changes: Any) -> str:
    """Return credentials with a valid token; keywords change its claims."""
    return f"Bearer {KEY.sign(claims(iss=key_server.issuer, **changes))}"


def flask_app(verifier: TokenVerifier) -> Flask:
    app = Flask(__name__)
    Auth(verifier, realm=REALM).init_app(app)
    for path, requirement in REQUIREMENTS.items():
        app.add_url_rule(path, path, RequireAuth(requirement)(_view))
    return app


def _view() -> dict[str, str | None]:
    return {"subject": current_token.subject if current_token else None}


class Row(NamedTuple):
    """A request, and what the answer must be. `error` and `scope` are the challenge's."""

    what: str
    status: int
    error: str | None
    scope: str | None
    path: str
    authorizations: Callable[[KeyServer], tuple[str, ...]]


ROWS = [
    Row("no header", 401, None, "read:devices", "/scoped", lambda _: ()),
    Row("another scheme", 401, None, "read:devices", "/scoped", lambda _: ("Basic YTpi",)),
    Row("a token in the query alone", 401, None, "read:devices", "/scoped?access_token=x", lambda _: ()),
    Row("no JWT", 401, "invalid_token", None, "/any", lambda _: ("Bearer abc",)),
    Row("an expired token", 401, "invalid_token", None, "/any", lambda server: (bearer(server, exp=1),)),
    Row("a forged signature", 401, "invalid_token", None, "/any", lambda server: (bearer(server)[:-8] + "AAAAAAAA",)),
    Row("no subject, which the view reads", 401, "invalid_token", None, "/any", lambda s: (bearer(s, sub=None),)),
    Row("a good token", 200, None, None, "/scoped", lambda server: (bearer(server),)),
    Row("without the scope", 403, "insufficient_scope", "write:devices", "/other", lambda server: (bearer(server),)),
    Row("no login", 401, "insufficient_user_authentication", None, "/recent", lambda server: (bearer(server),)),
    Row("two words", 400, "invalid_request", None, "/any", lambda server: (bearer(server) + " x",)),
    Row("not ASCII", 400, "invalid_request", None, "/any", lambda server: (bearer(server) + "\u00e9",)),
    Row("two headers", 400, "invalid_request", None, "/any", lambda server: (bearer(server), bearer(server))),
    Row("header and query", 400, "invalid_request", None, "/any?a=b&access_token=x", lambda server: (bearer(server),)),
    Row("header and encoded query", 400, "invalid_request", None, "/any?%61ccess_token=", lambda s: (bearer(s),)),
    Row("optional: no token", 200, None, None, "/optional", lambda _: ()),
    Row("optional: a good token", 200, None, None, "/optional", lambda server: (bearer(server),)),
    Row("optional: a bad token", 401, "invalid_token", None, "/optional", lambda server: (bearer(server, exp=1),)),
]


def check(answer: Answer, row: Row) -> None:
    """Assert what the row says of an answer."""
    assert answer.status == row.status
    challenge = answer.challenge or ""
    assert challenge.startswith(f'Bearer realm="{REALM}"') is (row.status != 200)
    assert (f'error="{row.error}"' in challenge) if row.error else ("error=" not in challenge)
    assert (f'scope="{row.scope}"' in challenge) if row.scope else ("scope=" not in challenge)
    if row.status == 200:
        assert answer.body == {"subject": None if "no token" in row.what else "user-1"}
    else:
        # RFC 6750 §3.1: no error code where no credentials came.
        assert answer.body.get("error", "absent") == (row.error or "absent")
        scope = row.scope if row.status == 403 else None
        assert answer.body.get("scope") == scope
        assert set(answer.body) - {"error", "scope"} == {"error_description"}
