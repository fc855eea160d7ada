"""Which authorization requests are refused: at the redirect URI, or with a page where that cannot be trusted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from mock_issuer import Api, Client, Config
from tests.kit.callback import answer_in
from tests.mock_issuer.authorization.conftest import AUDIENCE, App

if TYPE_CHECKING:
    from tests.mock_issuer.conftest import LiveIssuer

REFUSALS: list[tuple[dict[str, str], str]] = [
    ({"response_type": ""}, "invalid_request"),
    ({"response_type": "token"}, "unsupported_response_type"),
    ({"response_type": "code id_token"}, "unsupported_response_type"),
    ({"response_type": "none"}, "unsupported_response_type"),
    ({"response_mode": "fragment"}, "invalid_request"),
    ({"response_mode": "query.jwt"}, "invalid_request"),
    ({"code_challenge": ""}, "invalid_request"),
    ({"code_challenge": "", "code_challenge_method": ""}, "invalid_request"),
    ({"code_challenge_method": ""}, "invalid_request"),  # RFC 7636 §4.3: plain
    ({"code_challenge_method": "plain"}, "invalid_request"),
    ({"code_challenge_method": "s256"}, "invalid_request"),
    ({"code_challenge": "x" * 42}, "invalid_request"),
    ({"code_challenge": "x" * 44}, "invalid_request"),
    ({"code_challenge": "x" * 42 + "="}, "invalid_request"),
    ({"code_challenge": "x" * 42 + "\n"}, "invalid_request"),
    ({"scope": "read:others"}, "invalid_scope"),
    ({"audience": "https://other.example"}, "invalid_target"),
    ({"audience": "", "resource": "no-uri"}, "invalid_target"),
    ({"prompt": "none login"}, "invalid_request"),
    ({"prompt": "create"}, "invalid_request"),
    ({"prompt": "none"}, "login_required"),
    ({"dpop_jkt": "x" * 42}, "invalid_request"),
    ({"dpop_jkt": "x" * 42 + "="}, "invalid_request"),
    ({"max_age": "soon"}, "invalid_request"),
    ({"max_age": "-1"}, "invalid_request"),
    ({"max_age": "²"}, "invalid_request"),
    ({"max_age": "9" * 5000}, "invalid_request"),
    ({"request": "e30.e30."}, "request_not_supported"),
    ({"request_uri": "https://other.example/r"}, "request_uri_not_supported"),
]


@pytest.mark.parametrize(("changes", "error"), REFUSALS, ids=lambda value: str(value)[:60])
def test_a_refusal_goes_to_the_redirect_uri_with_state_and_issuer(
    app: App, changes: dict[str, str], error: str
) -> None:
    response = app.first_answer(**changes)
    assert (response.status_code, response.text) == (303, "")
    assert response.headers["Location"].startswith(f"{app.redirect_uri}?")
    answer = answer_in(response.headers["Location"])
    assert answer.pop("error_description").isascii()
    assert answer == {"error": error, "state": "a state", "iss": app.issuer.url}


def test_without_a_state_the_answer_has_none(app: App) -> None:
    answer = answer_in(app.first_answer(state="", response_type="x").headers["Location"])
    assert answer.keys() == {"error", "error_description", "iss"}


# The client or its redirect URI is wrong.


def of_loopback(app: App, host: str) -> str:
    return app.redirect_uri.replace("127.0.0.1", host)


UNUSABLE: list[Callable[[App], dict[str, str]]] = [
    lambda _: {"client_id": ""},
    lambda _: {"client_id": "unknown"},
    lambda _: {"client_id": "device-gateway"},  # it has neither the grant nor a redirect URI
    lambda _: {"redirect_uri": ""},
    lambda _: {"redirect_uri": "https://attacker.example/callback"},
    lambda app: {"redirect_uri": app.redirect_uri + "/"},
    lambda app: {"redirect_uri": app.redirect_uri + "?x=1"},
    lambda app: {"redirect_uri": app.redirect_uri + "#x"},
    lambda app: {"redirect_uri": app.redirect_uri + "\r\nSet-Cookie: a=b"},
    lambda app: {"redirect_uri": "\t" + app.redirect_uri},
    lambda app: {"redirect_uri": app.redirect_uri.replace("/callback", "\n/callback")},
    lambda app: {"redirect_uri": app.redirect_uri.upper()},
    lambda app: {"redirect_uri": app.redirect_uri.replace("http:", "https:")},
    lambda app: {"redirect_uri": app.redirect_uri.replace("/callback", "/x/../callback")},
    lambda app: {"redirect_uri": of_loopback(app, "user@127.0.0.1")},
    lambda app: {"redirect_uri": of_loopback(app, "127.0.0.1@attacker.example")},
    lambda app: {"redirect_uri": of_loopback(app, "127.0.0.1.attacker.example")},
    lambda app: {"redirect_uri": of_loopback(app, "127.0.0.2")},
    lambda app: {"redirect_uri": of_loopback(app, "[::1]")},  # not configured
    lambda _: {"redirect_uri": "http://127.0.0.1:/callback"},
    lambda _: {"redirect_uri": "http://127.0.0.1:99999/callback"},
    lambda _: {"redirect_uri": "http://127.0.0.1:x/callback"},
    lambda _: {"redirect_uri": "http://[127.0.0.1/callback"},
    lambda _: {"redirect_uri": "javascript:alert(1)"},
]


@pytest.mark.parametrize("change", UNUSABLE)
def test_a_wrong_client_or_redirect_uri_gets_a_page_and_no_redirection(
    app: App, change: Callable[[App], dict[str, str]]
) -> None:
    # All else is wrong as well: that must not be told to anybody.
    response = app.first_answer(response_type="x", **change(app))
    assert (response.status_code, response.headers["Content-Type"]) == (400, "text/html; charset=utf-8")
    assert "The app sent a wrong request" in response.text
    assert "Location" not in response.headers
    assert "attacker" not in response.text
    assert app.issuer.server.events[-1].type == "f"


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_a_repeated_client_or_redirect_uri_gets_a_page(app: App, name: str) -> None:
    query = app.query()
    response = app.issuer.get("/authorize", params=[*query.items(), (name, query[name])], allow_redirects=False)
    assert (response.status_code, "Location" in response.headers) == (400, False)


@pytest.mark.parametrize("name", ["state", "scope", "prompt", "code_challenge", "x"])
def test_another_repeated_parameter_is_refused_at_the_redirect_uri(app: App, name: str) -> None:
    pairs = [*app.query().items(), (name, "a"), (name, "b")]
    response = app.issuer.get("/authorize", params=pairs, allow_redirects=False)
    answer = answer_in(response.headers["Location"])
    assert answer["error"] == "invalid_request"
    assert answer.get("state") == (None if name == "state" else "a state")


# Redirect URIs of a client


def answered_at(make_issuer: Callable[[Config], LiveIssuer], configured: str, asked: str, **kind: Any) -> bool:
    client = Client(
        client_id="app",
        grant_types=frozenset({"authorization_code"}),
        redirect_uris=frozenset({configured}),
        **kind,
    )
    app = App(make_issuer(Config(clients=(client,))), 1, "app")
    response = app.first_answer(redirect_uri=asked, prompt="none")
    if response.status_code == 400:
        return False
    separator = "&" if "?" in asked else "?"
    assert response.headers["Location"].startswith(f"{asked}{separator}error=login_required&")
    return True


@pytest.mark.parametrize(
    ("configured", "asked", "native", "web"),
    [
        ("http://127.0.0.1/cb", "http://127.0.0.1:50000/cb", True, False),
        ("http://127.0.0.1:3000/cb", "http://127.0.0.1:50000/cb", True, False),
        ("http://127.0.0.1:3000/cb", "http://127.0.0.1:3000/cb", True, True),
        ("http://127.0.0.1:3000/cb", "http://127.0.0.1/cb", True, False),
        ("http://[::1]/cb", "http://[::1]:50000/cb", True, False),
        ("http://localhost", "http://localhost:50000", True, False),
        ("http://localhost", "http://localhost:50000/", False, False),
        ("http://localhost/cb?a=b", "http://localhost:50000/cb?a=b", True, False),
        ("https://localhost/cb", "https://localhost:50000/cb", False, False),
        ("https://app.example/cb", "https://app.example/cb", True, True),
        ("https://app.example/cb?tenant=a", "https://app.example/cb?tenant=a", True, True),
        ("https://app.example/cb", "https://app.example:444/cb", False, False),
        ("com.example.app:/cb", "com.example.app:/cb", True, True),
        ("com.example.app://auth/cb", "com.example.app://auth/cb", True, True),
    ],
)
def test_the_port_of_a_loopback_uri_is_free_for_native_clients(
    make_issuer: Callable[[Config], LiveIssuer], configured: str, asked: str, *, native: bool, web: bool
) -> None:
    assert answered_at(make_issuer, configured, asked, application_type="native") is native
    assert answered_at(make_issuer, configured, asked, application_type="web", secret="s") is web


# Injection


@pytest.mark.parametrize(
    "state",
    [
        "&code=stolen&iss=x",
        "#code=stolen",
        "a\r\nLocation: https://attacker.example/",
        "%0d%0aSet-Cookie: a=b",
        "<script>alert(1)</script>",
        "é\u2028\U0001f600\x00",
        '"; x="',
        "+ %2B",
        "s" * 4000,
    ],
    ids=lambda state: repr(state)[:30],
)
def test_any_state_comes_back_as_it_was_and_nowhere_else(app: App, state: str) -> None:
    refused = app.first_answer(state=state, response_type="x")
    assert answer_in(refused.headers["Location"])["state"] == state
    person = app.issuer.person()
    answer = app.sign_in(person, state=state)
    assert (answer["state"], set(answer)) == (state, {"code", "state", "iss"})


def test_no_parameter_reaches_a_page_as_html(app: App) -> None:
    person, script = app.issuer.person(), '"><script>alert(1)</script>'
    person.open("/authorize", **app.query(state=script, nonce=script, login_hint=script, x=script))
    assert "/authorize/login" in person.page.url
    assert "<script" not in person.page.text
    person.send(username=script, password="x")
    assert "<script" not in person.page.text
    person.log_in()
    assert "/authorize/consent" in person.page.url
    assert "<script" not in person.page.text


def test_a_post_is_redirected_to_the_same_request_in_a_url(app: App) -> None:
    response = app.issuer.post("/authorize", app.query(state="a&b"), allow_redirects=False)
    assert (response.status_code, "Set-Cookie" in response.headers) == (303, False)
    assert response.headers["Location"] == f"/authorize?{urlencode(app.query(state='a&b'))}"
    person = app.issuer.person()
    person.page = person.session.post(app.issuer.url + "authorize", data=app.query(), timeout=10)
    person.log_in()
    person.send(answer="allow")
    assert app.answer_of(person)["state"] == "a state"
    mixed = app.issuer.post("/authorize?client_id=x", app.query(), allow_redirects=False)
    assert (mixed.status_code, "Location" in mixed.headers) == (400, False)


def test_resources_may_name_the_api(make_issuer: Callable[[Config], LiveIssuer], callback_port: int) -> None:
    app = App(make_issuer(Config(apis=(Api(audience=AUDIENCE, scopes={"read:devices": "See"}),))), callback_port)
    person = app.issuer.person()
    person.page = person.session.get(
        app.issuer.url + "authorize",
        params=[*app.query(audience="").items(), ("resource", AUDIENCE), ("resource", AUDIENCE)],
        timeout=10,
    )
    person.log_in()
    person.send(answer="allow")
    code = app.answer_of(person)["code"]
    assert app.issuer.refused(app.exchange(code, resource="https://other.example")) == (400, "invalid_target")
    assert app.issuer.verify(app.exchange(code, resource=AUDIENCE).json()["access_token"])[1]["sub"] == "mock|alice"
