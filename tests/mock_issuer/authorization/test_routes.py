"""The authorization endpoint with its pages: log-in, consent, prompts, sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from mock_issuer import Client, Config, RuleContext, RuleDenied, User
from tests.kit.callback import answer_in
from tests.mock_issuer.authorization.conftest import AUDIENCE, App

if TYPE_CHECKING:
    from tests.kit.person import Person
    from tests.mock_issuer.conftest import LiveIssuer


def silent(app: App, person: Person, **changes: str) -> str:
    """Return the error of a request with prompt=none; empty if it gets a code."""
    person.open("/authorize", **app.query(prompt="none", **changes))
    answer = app.answer_of(person)
    assert (answer["state"], answer["iss"]) == ("a state", app.issuer.url)
    return answer.get("error", "")


def path_of(person: Person) -> str:
    return urlsplit(person.page.url).path


def id_claims(app: App, code: str) -> dict[str, object]:
    return app.issuer.verify(app.exchange(code).json()["id_token"], "device-app")[1]


def test_the_user_logs_in_and_consents_on_the_pages_of_the_device_flow(app: App) -> None:
    person = app.issuer.person()
    person.open("/authorize", **app.query())
    assert path_of(person) == "/authorize/login"
    assert "to connect <strong>Device App</strong>" in person.page.text
    assert person.send(username="alice", password="wrong").status_code == 400
    assert "The user name or the password is wrong." in person.page.text
    person.log_in()
    assert path_of(person) == "/authorize/consent"
    for words in ("Allow Device App to use Device API?", "See your devices", "Stay connected", "Alice Example"):
        assert words in person.page.text
    assert f"<dd>{app.redirect_uri.removesuffix('/callback')}</dd>" in person.page.text
    assert "See what your devices measured" not in person.page.text  # was not requested
    person.send(answer="allow")
    assert app.answer_of(person).keys() == {"code", "state", "iss"}


def test_pages_of_tests_may_log_in_with_a_button(app: App) -> None:
    person = app.issuer.person()
    person.open("/authorize", **app.query())
    person.send(1, pick="bob")
    person.send(answer="allow")
    assert id_claims(app, app.answer_of(person)["code"])["sub"] == "mock|bob"


def test_a_user_who_refuses_leads_to_access_denied(app: App) -> None:
    person = app.issuer.person()
    answer = app.sign_in(person, answer="deny")
    assert answer.pop("error_description")
    assert answer == {"error": "access_denied", "state": "a state", "iss": app.issuer.url}
    assert silent(app, person) == "consent_required"


def test_who_is_logged_in_and_has_consented_sees_no_page(app: App) -> None:
    person = app.issuer.person()
    first = app.sign_in(person)["code"]
    person.open("/authorize", **app.query())
    assert app.answer_of(person)["code"] != first
    # More scopes need another consent.
    person.open("/authorize", **app.query(scope="read:devices write:devices"))
    assert path_of(person) == "/authorize/consent"


def test_log_in_and_consent_are_those_of_the_device_flow(app: App) -> None:
    person = app.issuer.person()
    person.approve(app.issuer.device(scope="openid read:devices")["user_code"])
    assert silent(app, person, scope="openid read:devices") == ""
    assert silent(app, person, scope="openid write:devices") == "consent_required"
    app.sign_in(person, scope="openid write:devices")
    person.open("/activate", user_code=app.issuer.device(scope="write:devices")["user_code"])
    person.send(answer="yes")
    assert "Your device is connected" in person.page.text


def test_a_user_can_switch_the_account_on_the_consent_page(app: App) -> None:
    person = app.issuer.person()
    person.open("/authorize", **app.query())
    person.log_in()
    person.send(1)
    assert path_of(person) == "/authorize/login"
    person.log_in("bob")
    person.send(answer="allow")
    assert id_claims(app, app.answer_of(person)["code"])["sub"] == "mock|bob"


# prompt, max_age, login_hint


def test_prompt_none_shows_no_page(app: App) -> None:
    person = app.issuer.person()
    assert silent(app, person) == "login_required"
    app.sign_in(person)
    assert silent(app, person) == ""
    assert silent(app, person, scope="write:devices") == "consent_required"
    app.issuer.clock.advance(100)
    assert silent(app, person, max_age="100") == ""
    assert silent(app, person, max_age="99") == "login_required"
    for page in ("login", "consent"):
        response = app.issuer.get(f"/authorize/{page}", params=app.query(prompt="none"), allow_redirects=False)
        assert answer_in(response.headers["Location"])["error"] == "interaction_required"


@pytest.mark.parametrize("prompt", ["login", "select_account", "login consent"])
def test_prompt_login_demands_a_log_in_for_this_request(app: App, prompt: str) -> None:
    person = app.issuer.person()
    app.sign_in(person)
    app.issuer.clock.advance(50)
    query = app.query(prompt=prompt)
    for path in ("/authorize", "/authorize/consent"):  # the consent page cannot be opened instead
        person.open(path, **query)
        assert path_of(person) == "/authorize/login"
    person.log_in()
    if "consent" in prompt:
        assert path_of(person) == "/authorize/consent"
        person.send(answer="allow")
    assert id_claims(app, app.answer_of(person)["code"])["auth_time"] == app.issuer.clock.now
    # The log-in counts once.
    person.open("/authorize", **query)
    assert path_of(person) == "/authorize/login"


def test_a_refusal_ends_the_log_in_for_this_request(app: App) -> None:
    person = app.issuer.person()
    app.sign_in(person, answer="deny", prompt="login")
    person.open("/authorize/consent", **app.query(prompt="login"))
    assert path_of(person) == "/authorize/login"


def test_a_log_in_for_one_request_does_not_count_for_another(app: App) -> None:
    person = app.issuer.person()
    app.sign_in(person)
    person.open("/authorize", **app.query(prompt="login", scope="read:devices write:devices"))
    person.log_in()
    assert path_of(person) == "/authorize/consent"
    person.open("/authorize", **app.query(prompt="login", state="another"))
    assert path_of(person) == "/authorize/login"


def test_prompt_consent_asks_again(app: App) -> None:
    person = app.issuer.person()
    app.sign_in(person)
    person.open("/authorize", **app.query(prompt="consent"))
    assert path_of(person) == "/authorize/consent"
    person.send(answer="allow")
    assert "code" in app.answer_of(person)


def test_an_old_log_in_does_not_satisfy_max_age(app: App) -> None:
    person = app.issuer.person()
    app.sign_in(person)
    app.issuer.clock.advance(61)
    person.open("/authorize", **app.query(max_age="61"))
    app.answer_of(person)
    person.open("/authorize", **app.query(max_age="60"))
    assert path_of(person) == "/authorize/login"
    app.issuer.clock.advance(61)
    person.log_in()
    app.answer_of(person)
    person.open("/authorize", **app.query(max_age="0"))
    app.issuer.clock.advance(1)
    person.open("/authorize", **app.query(max_age="0"))
    assert path_of(person) == "/authorize/login"


@pytest.mark.parametrize(
    ("hint", "shown"),
    [
        ("alice", "alice"),
        ("bob@example.com", "bob"),
        ("mock|alice", "alice"),
        ("stranger@x.example", "stranger@x.example"),
        ("", ""),
        ("x" * 500, "x" * 100),
    ],
    ids=lambda value: value[:20],
)
def test_login_hint_fills_in_the_user_name(app: App, hint: str, shown: str) -> None:
    person = app.issuer.person()
    person.open("/authorize", **app.query(login_hint=hint))
    assert f'name="username" value="{shown}"' in person.page.text


# Sessions


@pytest.mark.parametrize("path", ["/authorize/login", "/authorize/consent", "/authorize/logout"])
def test_forms_need_the_csrf_token_of_the_session(app: App, path: str) -> None:
    person = app.issuer.person()
    app.sign_in(person)
    form = {"answer": "allow", "pick": "bob", "csrf_token": "guessed"}
    url = app.issuer.url.rstrip("/") + path
    response = person.session.post(url, params=app.query(), data=form, timeout=10, allow_redirects=False)
    assert (response.status_code, "Location" in response.headers) == (400, False)
    assert "This form has expired" in response.text
    assert silent(app, person) == ""


def test_pages_of_nobody_lead_to_the_log_in(app: App) -> None:
    person = app.issuer.person()
    person.open("/authorize/consent", **app.query())
    assert path_of(person) == "/authorize/login"
    page = person.page
    person.log_in()
    consent = person.page
    app.issuer.server.reset()
    person.page = consent
    person.send(answer="allow")
    assert path_of(person) == "/authorize/login"
    person.page = page


def test_a_removed_user_has_to_log_in_again(app: App) -> None:
    person = app.issuer.person()
    code = app.sign_in(person)["code"]
    app.issuer.server.remove_user("alice")
    assert app.issuer.refused(app.exchange(code)) == (403, "invalid_grant")
    assert silent(app, person) == "login_required"


def test_pages_may_lead_to_any_client_and_cannot_be_framed(app: App) -> None:
    person = app.issuer.person()
    person.open("/authorize", **app.query())
    for page in (person.page, person.log_in()):
        policy = page.headers["Content-Security-Policy"]
        assert "form-action" not in policy  # Chromium would block the redirect to the client
        assert ("default-src 'none'" in policy, "frame-ancestors 'none'" in policy) == (True, True)
        assert page.headers["X-Frame-Options"] == "DENY"
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "no-referrer"


# Rules


def test_rules_run_before_a_code_is_issued(make_issuer: Callable[[Config], LiveIssuer], callback_port: int) -> None:
    protocols = []

    def rule(user: User, client: Client, context: RuleContext) -> None:
        protocols.append(context.protocol)
        context.access_token["https://example.com/team"] = f"{client.client_id} {context.audience}"
        context.id_token["nonce"] = "the rule's"
        if user.username == "bob":
            raise RuleDenied('Bob is "blocked"\nhere: ü.')

    app = App(make_issuer(Config(rules=(rule,))), callback_port)
    tokens = app.tokens(nonce="n")
    claims = app.issuer.verify(tokens["access_token"])[1]
    assert claims["https://example.com/team"] == f"device-app {AUDIENCE}"
    assert app.issuer.verify(tokens["id_token"], "device-app")[1]["nonce"] == "n"
    answer = app.sign_in(app.issuer.person(), name="bob")
    assert (answer["error"], answer["error_description"]) == ("access_denied", "Bob is ?blocked??here: ?.")
    assert protocols == ["oidc-basic-profile"] * 2


# response_mode


@pytest.mark.parametrize("prompt", ["", "none"])
def test_a_form_may_post_the_answer(app: App, prompt: str) -> None:
    person, state = app.issuer.person(), '"><script>alert(1)</script>'
    if prompt:
        app.sign_in(person)
    person.open("/authorize", **app.query(response_mode="form_post", prompt=prompt, state=state))
    if not prompt:
        person.log_in()
        person.send(answer="allow")
    assert f'<form method="post" action="{app.redirect_uri}">' in person.page.text
    assert "<script>" not in person.page.text
    policy = person.page.headers["Content-Security-Policy"]
    assert ("script-src 'self'" in policy, "form-action" in policy) == (True, False)
    assert person.page.headers["Cache-Control"] == "no-store"
    answer = person.hidden_fields()
    assert (answer["state"], answer["iss"], len(answer)) == (state, app.issuer.url, 3)
    person.send()
    assert (person.page.url, "Back in the app" in person.page.text) == (app.redirect_uri, True)
    assert app.exchange(answer["code"]).status_code == 200


def test_a_form_may_post_an_error(app: App) -> None:
    person = app.issuer.person()
    person.open("/authorize", **app.query(response_mode="form_post", response_type="token"))
    answer = person.hidden_fields()
    assert answer.pop("error_description")
    assert answer == {"error": "unsupported_response_type", "state": "a state", "iss": app.issuer.url}
