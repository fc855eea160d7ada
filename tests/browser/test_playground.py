"""The playground in a real browser, with the real API behind it: from Start to the chart, and each button."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from mock_issuer import Config, Server
from tests.browser.conftest import ON_A_PHONE, Stack, check_width, watched_page

pytestmark = pytest.mark.needs("chromium")


@dataclass
class Playground:
    page: Page
    issuer: Server

    def now(self, message: str | re.Pattern[str]) -> None:
        """Wait until the page shows this message about the current step."""
        expect(self.page.locator("#now")).to_contain_text(message)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def start(self) -> str:
        self.page.get_by_role("button", name="Start").click()
        self.now("shows its code")
        return self.page.locator("#user-code").inner_text()

    def wait(self, seconds: int) -> None:
        """Move the page's clock, which the test has installed, so that due timers fire."""
        self.page.clock.fast_forward(seconds * 1000)

    def connect(self) -> None:
        """Connect the television by the issuer's controls, with a clock that the test has installed."""
        self.issuer.approve(self.start())
        self.wait(1)
        expect(self.page.locator("#welcome")).to_have_text("Connected as Alice Example")

    def approve_on_the_phone(self) -> None:
        """Approve the request on the phone's pages, and wait for the television's own poll."""
        self.press("Open the link")
        phone = self.page.frame_locator("#phone")
        self.now("compare them")
        phone.get_by_role("button", name="Yes, it shows this code").click()
        self.now("log in, or pick a test user")
        phone.get_by_role("button", name="Alice").click()
        self.now("press Allow")
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


@pytest.fixture
def playground(browser: Browser, viewport: Any, stack: Stack) -> Iterator[Playground]:
    """Open the page. No request may leave the two servers, and no script may fail."""
    with watched_page(browser, viewport, stack.issuer.url, stack.api_url) as page:
        page.goto(f"{stack.issuer.url}playground")
        yield Playground(page, stack.issuer)
        check_width(page)


@ON_A_PHONE
def test_from_start_to_the_chart(playground: Playground) -> None:
    page = playground.page
    step = page.locator("[aria-current=step]")
    expect(step).to_contain_text("A code.")
    check_width(page)
    playground.start()
    expect(step).to_contain_text("Your approval.")
    check_width(page)
    playground.approve_on_the_phone()
    expect(step).to_contain_text("A token.")
    expect(page.locator("#devices li").first).to_be_visible()
    chart = page.get_by_role("img", name="temperature").first
    expect(chart).to_be_visible()
    assert len((chart.locator("polyline").get_attribute("points") or "").split()) > 20
    token = playground.exchange("/oauth/token", "200")
    expect(token).to_contain_text("access_token, decoded")
    expect(token).to_contain_text('"alg": "RS256"')
    expect(token.get_by_text("Signature: valid").first).to_be_visible()
    expect(playground.exchange("/v1/devices", "200")).to_contain_text("Authorization: Bearer eyJ")
    login = playground.exchange("/activate/login", "200")
    expect(login).to_contain_text("csrf_token = (not shown)")
    request = playground.exchange("/oauth/device/code", "200")
    request.get_by_text("As code").click()
    for code in ("curl 'http", "import requests", "await fetch("):
        expect(request.get_by_text(code).first).to_be_visible()


def test_typing_the_code(playground: Playground) -> None:
    playground.page.clock.install()
    code = playground.start()
    playground.press("Type the code")
    playground.now("type the one that the television shows, and press Continue")
    phone = playground.page.frame_locator("#phone")
    phone.get_by_label("Code").fill("WRON-GCOD")
    phone.get_by_role("button", name="Continue").click()
    playground.now("The issuer refused this code")
    phone.get_by_label("Code").fill(code.replace("-", "").lower())
    phone.get_by_role("button", name="Continue").click()
    phone.get_by_role("button", name="No, cancel").click()
    expect(phone.get_by_role("heading", level=1)).to_contain_text("Nothing was connected")
    # The page's clock goes on: on a slow machine, the next poll may be over already.
    playground.now(re.compile("You refused|access_denied: you refused"))
    playground.wait(1)
    playground.now("access_denied: you refused")


def test_deny_by_keyboard(playground: Playground) -> None:
    page = playground.page
    page.clock.install()
    for button in page.locator(".tries button").all():
        expect(button).to_have_accessible_description(re.compile(r"\w.*\."))
    page.get_by_role("button", name="Start").focus()
    page.keyboard.press("Enter")
    playground.now("shows its code")
    # The focus moves from a hidden or disabled button to the next enabled one.
    expect(page.get_by_role("button", name="Open the link")).to_be_focused()
    page.get_by_role("button", name="Deny").focus()
    page.keyboard.press("Space")
    playground.now("Denied.")
    # The message and its button are in view together.
    expect(page.locator("#now")).to_be_in_viewport()
    playground.wait(1)
    playground.now("access_denied: you refused")
    expect(page.get_by_role("button", name="Start again")).to_be_focused()
    playground.exchange("/oauth/token", "403 access_denied")
    summary = page.locator("#exchanges summary").first
    summary.focus()
    was_open = summary.evaluate("it => it.parentElement.open")
    page.keyboard.press("Enter")
    assert summary.evaluate("it => it.parentElement.open") is not was_open


def test_expire(playground: Playground) -> None:
    playground.page.clock.install()
    playground.start()
    playground.press("Let the code expire")
    playground.now("Expired.")
    playground.wait(1)
    playground.now("expired_token: the code has expired")
    playground.exchange("/oauth/token", "403 expired_token")


def test_poll_too_fast(playground: Playground) -> None:
    playground.start()
    playground.press("Poll too fast")
    playground.now("Polled too fast: slow_down, 5 s more. The television now polls every 6 seconds")
    playground.exchange("/oauth/token", "429 slow_down")


def test_the_buttons_of_a_connected_television(playground: Playground) -> None:
    playground.start()
    # On the phone's pages: Unlink needs a user who is logged in there.
    playground.approve_on_the_phone()
    calls = playground.page.locator("#exchanges > li").filter(has_text="The television requests your devices.")
    expect(calls).to_have_count(1)
    expect(playground.page.locator("#devices li").first).to_be_visible()
    playground.press("Call the API")
    expect(calls).to_have_count(2)
    playground.press("Refresh the token")
    playground.now("New access token, valid until")
    playground.now("The API accepted the token and answered: 6 devices")
    expect(playground.exchange("/oauth/token", "200")).to_contain_text("refresh_token = ")
    playground.press("Rotate the keys")
    playground.now("New signing key. The API accepted a token signed with it")
    keys = playground.exchange("/.well-known/jwks.json", "200")
    assert keys.inner_text().count('"kid"') == 2
    playground.press("Rotate the keys")
    playground.now("at most every 10 seconds")
    playground.press("Unlink the television")
    playground.now("Its refresh token no longer works.")
    playground.exchange("/oauth/token", "403 invalid_grant")
    expect(playground.page.frame_locator("#phone").get_by_role("status")).to_contain_text("Device App is unlinked")


def test_polls_back_off_while_the_issuer_is_down(playground: Playground) -> None:
    playground.page.clock.install()
    playground.start()
    playground.page.route("**/oauth/token", lambda route: route.fulfill(status=502, body="<html>"))
    playground.wait(1)
    playground.now("polls again in 2 seconds")
    playground.wait(2)
    playground.now("polls again in 4 seconds")
    playground.page.unroute("**/oauth/token")
    playground.press("Deny")
    playground.now("Denied.")
    playground.wait(4)
    playground.now("access_denied: you refused")


def test_a_refresh_while_the_issuer_is_down_keeps_the_connection(playground: Playground) -> None:
    playground.page.clock.install()
    playground.connect()
    expect(playground.page.locator("#devices li").first).to_be_visible()
    playground.page.route("**/oauth/token", lambda route: route.fulfill(status=502, body="<html>"))
    playground.press("Refresh the token")
    playground.now("The issuer does not answer. Try again later.")
    playground.press("Call the API")
    playground.now("The API accepted the token")


def test_concurrent_refreshes_run_one_after_another(playground: Playground) -> None:
    playground.page.clock.install()
    playground.connect()
    expect(playground.page.locator("#devices li").first).to_be_visible()
    # Both buttons refresh, and each answer is held back until the test moves the clock. No key is really rotated: the
    # API would not fetch another new key in the next 10 seconds, which another test needs.
    playground.page.evaluate("""
        const send = window.fetch;
        let refreshes = 0;
        window.fetch = async (url, options) => {
          if (url.endsWith("/_mock/rotate_keys")) return new Response("{}");
          const response = await send(url, options);
          if (url.endsWith("/oauth/token")) {
            document.body.dataset.refreshes = ++refreshes;
            await new Promise((done) => setTimeout(done, 60_000));
          }
          return response;
        };
        for (const id of ["refresh", "rotate"]) document.getElementById(id).click();
    """)
    for number in (1, 2):
        expect(playground.page.locator("body")).to_have_attribute("data-refreshes", str(number))
        playground.wait(60)
    playground.now("New signing key. The API accepted a token signed with it")


@ON_A_PHONE
@pytest.mark.parametrize(
    ("button", "message", "challenge"),
    [
        (
            "Call without the scope",
            "403 insufficient_scope: the API refused a token without the scope read:devices.",
            'error="insufficient_scope", .*scope="read:devices"',
        ),
        (
            "Call with an altered token",
            "401 invalid_token: the API refused an altered token.",
            'error="invalid_token", .*signature',
        ),
        (
            "Call with an expired token",
            "401 invalid_token: the API refused an expired token.",
            'error="invalid_token", .*expired',
        ),
    ],
)
def test_a_refused_call_shows_its_challenge(playground: Playground, button: str, message: str, challenge: str) -> None:
    page = playground.page
    page.clock.install()
    playground.connect()
    playground.now("The API accepted the token")
    playground.press(button)
    playground.now(message)
    expect(page.locator("#challenge")).to_have_text(re.compile(f"^Bearer .*{challenge}"))
    exchange = playground.exchange("/v1/devices", message.partition(":")[0])
    expect(exchange).to_contain_text(re.compile(f"WWW-Authenticate: Bearer .*{challenge}"))
    expect(exchange.get_by_text("Signature:")).to_contain_text("invalid" if "altered" in button else "valid, by")
    link = exchange.get_by_role("link", name="RFC 6750, section 3: The WWW-Authenticate Response Header Field")
    expect(link).to_have_attribute("href", "https://www.rfc-editor.org/rfc/rfc6750#section-3")
    check_width(page)
    # The television still has its own token.
    playground.press("Call the API")
    playground.now("The API accepted the token and answered: 6 devices")
    expect(page.locator("#refusal")).to_be_hidden()


def test_the_issuer_checks_what_is_edited_before_the_start(playground: Playground) -> None:
    page = playground.page
    page.clock.install()
    page.get_by_text("Change the client").click()
    for field, value, error in (
        ("client_id", "nobody", "invalid_client"),
        ("scope", "read:secrets", "invalid_scope"),
        ("audience", "https://elsewhere.example", "invalid_target"),
    ):
        control = page.get_by_label(field)
        before = control.input_value()
        control.fill(value)
        page.keyboard.press("Enter")
        playground.now(f"{error}.")
        expect(playground.exchange("/oauth/device/code", error)).to_contain_text(f"{field} = {value}")
        expect(control).to_have_value(value)
        control.fill(before)
    page.get_by_label("scope").fill("read:readings openid")
    playground.issuer.approve(playground.start())
    playground.wait(1)
    playground.now("The API refused the call: 403 insufficient_scope")
    # Without the scope offline_access there is no refresh token.
    for name in ("Refresh the token", "Call without the scope", "Rotate the keys", "Unlink the television"):
        expect(page.get_by_role("button", name=name)).to_be_disabled()


def test_each_exchange_names_its_section_and_can_be_folded(playground: Playground) -> None:
    page = playground.page
    page.clock.install()
    playground.connect()
    playground.press("Refresh the token")
    playground.now("New access token")
    for path, status, section, anchor in (
        ("/oauth/device/code", "200", "RFC 8628, section 3.1: Device Authorization Request", "8628#section-3.1"),
        ("/v1/devices", "200", "RFC 6750, section 2.1: Authorization Request Header Field", "6750#section-2.1"),
        ("/oauth/token", "200", "RFC 6749, section 6: Refreshing an Access Token", "6749#section-6"),
    ):
        exchange = playground.exchange(path, status)
        link = exchange.get_by_role("link", name=section)
        expect(link).to_have_attribute("href", f"https://www.rfc-editor.org/rfc/rfc{anchor}")
        exchange.locator("summary").first.click()
        expect(link).to_be_hidden()


def test_a_loopback_address_is_not_to_be_scanned(playground: Playground) -> None:
    playground.start()
    expect(playground.page.get_by_role("button", name="Open the link")).to_be_enabled()
    expect(playground.page.locator("#qr")).to_have_count(0)
    assert not re.search(r"\bscan", playground.page.locator("body").inner_text(), re.IGNORECASE)


def test_an_address_elsewhere_is_to_be_scanned(browser: Browser, viewport: Any) -> None:
    # The page is opened at the server's own address: no machine has this one (RFC 5737).
    with (
        Server(Config(verification_uri="http://192.0.2.1:9000/activate")) as issuer,
        watched_page(browser, viewport, issuer.url) as page,
    ):
        page.goto(f"{issuer.url}playground")
        playground = Playground(page, issuer)
        user_code = playground.start()
        playground.now("Scan it with your phone")
        expect(page.locator("#qr")).to_have_attribute(
            "alt", f"QR code of http://192.0.2.1:9000/activate?user_code={user_code}"
        )
        assert page.locator("#qr").evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
        playground.press("Scan the code")
        expect(page.frame_locator("#phone").get_by_text(user_code)).to_be_visible()


@pytest.mark.parametrize(
    ("api_url", "message"),
    [("", "The issuer accepted the token."), ("http://127.0.0.1:9", "check that API_CORS_ORIGINS contains this page")],
)
def test_without_an_api(browser: Browser, viewport: Any, api_url: str, message: str) -> None:
    with (
        Server(Config(poll_interval_seconds=1, api_url=api_url)) as issuer,
        watched_page(browser, viewport, issuer.url, *filter(None, [api_url])) as page,
    ):
        page.clock.install()
        page.goto(f"{issuer.url}playground")
        playground = Playground(page, issuer)
        playground.connect()
        playground.now(message)
        playground.press("Call the API")
        playground.now(message)


def test_a_stolen_bearer_token_works_on_the_phone(playground: Playground) -> None:
    playground.page.clock.install()
    playground.connect()
    expect(playground.page.get_by_role("img", name="temperature").first).to_be_visible()
    playground.press("Use the token on the phone")
    playground.now("200: whoever has this token can use it.")
    stolen = playground.exchange("without its key", "200")
    expect(stolen).to_contain_text("Authorization: Bearer eyJ")


def test_a_token_that_is_bound_to_a_key_works_on_the_television_alone(playground: Playground) -> None:
    page = playground.page
    page.clock.install()
    page.get_by_label("Bind the tokens to a key").check()
    playground.connect()
    expect(page.locator("#token-state")).to_contain_text("bound to a key in this television")
    playground.now("answered")
    expect(page.get_by_role("img", name="temperature").first).to_be_visible()
    token = playground.exchange("/oauth/token", "200")
    expect(token).to_contain_text('"token_type": "DPoP"')
    expect(token).to_contain_text('"jkt":')
    call = playground.exchange("/v1/devices", "200")
    for text in ("Authorization: DPoP eyJ", "DPoP proof, decoded", '"ath":', "RFC 9449, section 7.1"):
        expect(call).to_contain_text(text)
    expect(call.get_by_text("Signature: valid, by the key in its header").first).to_be_visible()
    playground.press("Use the token on the phone")
    playground.now("401 invalid_token: the phone has the token, but not the key")
    stolen = playground.exchange("/v1/devices", "401 invalid_token")
    expect(stolen).to_contain_text("Authorization: Bearer eyJ")
    expect(stolen).not_to_contain_text("DPoP proof, decoded")
    for button, answer in (
        ("Call the API", "answered"),
        ("Call without the scope", "403 insufficient_scope"),
        ("Call with an altered token", "401 invalid_token"),
        ("Call with an expired token", "401 invalid_token"),
        ("Refresh the token", "New access token"),
        ("Use the token on the phone", "not the key"),
    ):
        playground.press(button)
        playground.now(answer)


def test_nonces_and_opaque_tokens(browser: Browser, viewport: Any) -> None:
    config = Config(poll_interval_seconds=1, dpop_nonces=True, access_token_format="opaque")
    with Server(config) as issuer, watched_page(browser, viewport, issuer.url) as page:
        page.clock.install()
        page.goto(f"{issuer.url}playground")
        playground = Playground(page, issuer)
        page.get_by_label("Bind the tokens to a key").check()
        playground.connect()
        playground.now("The issuer accepted the token.")
        wanted = playground.exchange("/oauth/device/code", "use_dpop_nonce")
        expect(wanted).to_contain_text("DPoP-Nonce: ")
        expect(wanted).to_contain_text("RFC 9449, section 8:")
        expect(playground.exchange("/userinfo", "200")).to_contain_text('"nonce":')
        for button in ("Use the token on the phone", "Call with an altered token", "Call with an expired token"):
            playground.press("Call the API")
            playground.now("accepted")
            playground.press(button)
            playground.now("401 invalid_token")
