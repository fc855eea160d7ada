"""The authorization code flow in a real browser: its pages, and the way back to the app."""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from mock_issuer import Server
from tests.browser.conftest import ON_A_PHONE, VIEWPORTS, check_width, watched_page
from tests.kit.callback import answer_in, callback_server

pytestmark = pytest.mark.needs("chromium")

VERIFIER = "v" * 43


class App:
    """An app that waits for its users on a port of its own."""

    def __init__(self, issuer: Server, port: int) -> None:
        self.issuer = issuer
        self.redirect_uri = f"http://127.0.0.1:{port}/callback"

    def url(self, **changes: str) -> str:
        query = {
            "response_type": "code",
            "client_id": "device-app",
            "redirect_uri": self.redirect_uri,
            "audience": "https://device-api.example",
            "scope": "openid read:devices",
            "state": "a state",
            "code_challenge": urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return f"{self.issuer.url}authorize?{urlencode(query | changes)}"

    def exchange(self, code: str) -> int:
        form = {
            "grant_type": "authorization_code",
            "client_id": "device-app",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": VERIFIER,
        }
        return requests.post(f"{self.issuer.url}oauth/token", data=form, timeout=10).status_code


@pytest.fixture
def app(issuer: Server) -> Iterator[App]:
    with callback_server() as port:
        yield App(issuer, port)


@pytest.fixture
def visitor(browser: Browser, request: pytest.FixtureRequest, app: App) -> Iterator[Page]:
    """A new visitor, who may also see the app."""
    viewport = VIEWPORTS[getattr(request, "param", "desktop")]
    with watched_page(browser, viewport, app.issuer.url, app.redirect_uri, console=True) as page:
        yield page


def log_in_and_allow(page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    check_width(page, "log-in")
    page.get_by_label("User name").fill("alice")
    page.get_by_label("Password").fill("alice-password")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Allow Device App to use Device API?")
    check_width(page, "consent")
    page.get_by_role("button", name="Allow", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Back in the app")


@pytest.mark.parametrize("visitor", ["phone", "desktop"], indirect=True)
def test_the_last_form_leads_to_the_app(visitor: Page, app: App) -> None:
    visitor.goto(app.url())
    log_in_and_allow(visitor)
    answer = answer_in(visitor.url)
    assert (answer["state"], answer["iss"]) == ("a state", app.issuer.url)
    assert app.exchange(answer["code"]) == 200
    # A log-in alone leads there too, when the user has consented before.
    visitor.goto(app.url(prompt="login"))
    visitor.get_by_role("button", name="Alice Example").click()
    expect(visitor.get_by_role("heading", level=1)).to_have_text("Back in the app")


@pytest.mark.parametrize("visitor", ["phone"], indirect=True)
def test_a_script_posts_the_answer(visitor: Page, app: App) -> None:
    visitor.goto(app.url(response_mode="form_post"))
    log_in_and_allow(visitor)
    assert visitor.url == app.redirect_uri


@ON_A_PHONE
def test_a_wrong_request_gets_a_page_that_fits(page: Page, app: App) -> None:
    page.goto(app.url(redirect_uri="https://attacker.example/"))
    expect(page.get_by_role("heading", level=1)).to_have_text("The app sent a wrong request")
    check_width(page)
