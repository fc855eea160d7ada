"""The playground in a real browser, with the real API behind it: from Start to the chart, and each button."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from mock_issuer import Config, Server
from tests.browser.conftest import VIEWPORTS
from tests.kit.processes import free_port, running_api

pytestmark = pytest.mark.needs("chromium")


@dataclass
class Playground:
    page: Page
    issuer: Server

    def now(self, words: str) -> None:
        """Wait until the page says these words about what happens."""
        expect(self.page.locator("#now")).to_contain_text(words)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def start(self) -> str:
        self.page.get_by_role("button", name="Start").click()
        self.now("shows its code")
        return self.page.locator("#user-code").inner_text()

    def connect(self) -> None:
        """Walk from Start to the devices, on the phone's real pages."""
        self.start()
        self.press("Scan the code")
        phone = self.page.frame_locator("#phone")
        phone.get_by_role("button", name="Yes, it shows this code").click()
        phone.get_by_role("button", name="Alice").click()
        phone.get_by_role("button", name="Allow", exact=True).click()
        expect(phone.get_by_role("heading", level=1)).to_contain_text("connected")
        expect(self.page.locator("#welcome")).to_have_text("Connected as Alice Example")

    def exchange(self, path: str, status: str) -> Any:
        """Return the newest exchange with this path and status, opened."""
        item = self.page.locator("#exchanges > li").filter(has_text=path).filter(has_text=status).first
        expect(item).to_be_visible()
        details = item.locator("> details")
        if details.get_attribute("open") is None:
            details.locator("> summary").click()
        return item


@pytest.fixture(scope="module", params=VIEWPORTS)
def viewport(request: pytest.FixtureRequest) -> Any:
    return VIEWPORTS[request.param]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, viewport: Any) -> Iterator[Server]:
    """Serve an issuer, polled each second, and an API that allows its pages: anew for each width, since no API looks
    twice in ten seconds for a key that it misses.
    """
    assert viewport
    port = free_port()
    config = Config(poll_interval_seconds=1, api_url=f"http://127.0.0.1:{port}")
    with Server(config) as issuer:
        origin = issuer.url.rstrip("/")
        directory = tmp_path_factory.mktemp("api")
        with running_api(issuer.url, directory, port=port, API_CORS_ORIGINS=origin):
            yield issuer


@pytest.fixture
def playground(browser: Browser, viewport: Any, live: Server) -> Iterator[Playground]:
    """Open the page at each width. No request may leave the two servers, and no script may fail."""
    live.reset()
    context = browser.new_context(viewport=viewport)
    page = context.new_page()
    page.set_default_timeout(15_000)
    complaints: list[str] = []
    allowed = (live.url, live.config.api_url)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda sent: None if sent.url.startswith(allowed) else complaints.append(sent.url))
    page.goto(f"{live.url}playground")
    yield Playground(page, live)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    context.close()
    assert complaints == []


def test_from_start_to_the_chart(playground: Playground) -> None:
    playground.connect()
    expect(playground.page.locator("#devices li").first).to_be_visible()
    chart = playground.page.get_by_role("img", name="temperature").first
    expect(chart).to_be_visible()
    assert len((chart.locator("polyline").get_attribute("points") or "").split()) > 20
    token = playground.exchange("/oauth/token", "200")
    expect(token).to_contain_text("access_token, decoded")
    expect(token).to_contain_text('"alg": "RS256"')
    expect(token.get_by_text("Signature: holds").first).to_be_visible()
    expect(playground.exchange("/v1/devices", "200")).to_contain_text("Authorization: Bearer eyJ")
    login = playground.exchange("/activate/login", "200")
    expect(login).to_contain_text("csrf_token = (not shown)")
    asked = playground.exchange("/oauth/device/code", "200")
    asked.get_by_text("The same as code").click()
    for code in ("curl 'http", "import requests", "await fetch("):
        expect(asked.get_by_text(code).first).to_be_visible()


def test_typing_the_code(playground: Playground) -> None:
    code = playground.start()
    playground.press("Type the code")
    phone = playground.page.frame_locator("#phone")
    phone.get_by_label("Code").fill(code.replace("-", "").lower())
    phone.get_by_role("button", name="Continue").click()
    phone.get_by_role("button", name="No, cancel").click()
    playground.now("You refused")


def test_deny(playground: Playground) -> None:
    playground.start()
    playground.press("Deny")
    playground.now("You refused")
    playground.exchange("/oauth/token", "403 access_denied")


def test_expire(playground: Playground) -> None:
    playground.start()
    playground.press("Let the code expire")
    playground.now("The code has expired")
    playground.exchange("/oauth/token", "403 expired_token")


def test_poll_too_fast(playground: Playground) -> None:
    playground.start()
    playground.press("Poll too fast")
    playground.now("Too fast: the television now waits 6 seconds")
    playground.exchange("/oauth/token", "429 slow_down")


def test_refresh_rotate_and_unlink(playground: Playground) -> None:
    playground.connect()
    expect(playground.page.locator("#devices li").first).to_be_visible()
    playground.press("Refresh the token")
    expect(playground.exchange("/oauth/token", "200")).to_contain_text("refresh_token = ")
    playground.press("Rotate the keys")
    playground.now("never seen before was accepted")
    keys = playground.exchange("/.well-known/jwks.json", "200")
    assert keys.inner_text().count('"kid"') == 2
    playground.press("Rotate the keys")
    playground.now("at most once in 10 seconds")
    playground.press("Unlink the television")
    playground.now("good no more")
    playground.exchange("/oauth/token", "403 invalid_grant")
    expect(playground.page.frame_locator("#phone").get_by_role("status")).to_contain_text("Device App is unlinked")


def test_call_the_api(playground: Playground) -> None:
    playground.connect()
    calls = playground.page.locator("#exchanges > li").filter(has_text="It asks the API for your devices.")
    expect(calls).to_have_count(1)
    playground.press("Call the API")
    expect(calls).to_have_count(2)


def test_by_keyboard(playground: Playground) -> None:
    playground.page.get_by_role("button", name="Start").focus()
    playground.page.keyboard.press("Enter")
    playground.now("shows its code")
    playground.page.get_by_role("button", name="Deny").focus()
    playground.page.keyboard.press("Space")
    playground.now("You refused")
    summary = playground.page.locator("#exchanges summary").first
    summary.focus()
    was = summary.evaluate("it => it.parentElement.open")
    playground.page.keyboard.press("Enter")
    assert summary.evaluate("it => it.parentElement.open") is not was


def test_the_keyboard_goes_on_where_the_flow_does(playground: Playground) -> None:
    page = playground.page
    page.get_by_role("button", name="Start").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Scan the code")).to_be_focused()
    page.get_by_role("button", name="Deny").press("Enter")
    playground.now("You refused")
    expect(page.get_by_role("button", name="Start again")).to_be_focused()


def test_it_says_where_the_flow_stands_and_what_a_button_does(playground: Playground) -> None:
    step = playground.page.locator("[aria-current=step]")
    expect(step).to_contain_text("A code.")
    playground.start()
    expect(step).to_contain_text("Your approval.")
    for button in playground.page.locator(".tries button").all():
        expect(button).to_have_accessible_description(re.compile(r"\w.*\."))
    playground.press("Deny")
    playground.now("You refused")
    # What is said is in view beside the button that it is about.
    expect(playground.page.locator("#now")).to_be_in_viewport()


def test_an_issuer_that_is_down_is_asked_ever_more_seldom(playground: Playground) -> None:
    playground.start()
    playground.page.route("**/oauth/token", lambda route: route.fulfill(status=502, body="<html>"))
    playground.now("asks again in 2 seconds")
    playground.now("asks again in 4 seconds")
    playground.page.unroute("**/oauth/token")
    playground.press("Deny")
    playground.now("You refused")


def test_refreshes_at_once_take_turns(playground: Playground) -> None:
    playground.connect()
    expect(playground.page.locator("#devices li").first).to_be_visible()
    # Both buttons refresh, and the answers are slow. The keys stay, for the sake of the tests that do rotate them.
    playground.page.evaluate("""
        const soon = window.fetch;
        window.fetch = async (url, options) => {
          if (url.endsWith("/_mock/rotate_keys")) return new Response("{}");
          const answer = await soon(url, options);
          if (url.endsWith("/oauth/token")) await new Promise((done) => setTimeout(done, 1000));
          return answer;
        };
        for (const id of ["refresh", "rotate"]) document.getElementById(id).click();
    """)
    playground.now("never seen before was accepted")


@pytest.mark.parametrize(
    ("api_url", "said"),
    [("", "The issuer answered the token."), ("http://127.0.0.1:9", "or API_CORS_ORIGINS does not name this page")],
)
def test_without_an_api(browser: Browser, api_url: str, said: str) -> None:
    page = browser.new_page()
    with Server(Config(poll_interval_seconds=1, api_url=api_url)) as issuer:
        page.goto(f"{issuer.url}playground")
        playground = Playground(page, issuer)
        playground.connect()
        playground.now(said)
        playground.press("Call the API")
        playground.now(said)
    page.close()
