"""The account, the log and the front page in a real browser; and all pages: names, tab order, layout, no scripts."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Locator, Page, expect

from mock_issuer import Client, Config, Server
from tests.browser.conftest import ON_A_PHONE, check_width, watched_page

pytestmark = pytest.mark.needs("chromium")

AUDIENCE = "https://device-api.example"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
SCOPE = "openid read:devices offline_access"


def device(issuer: Server, scope: str = SCOPE, client_id: str = "device-app") -> dict[str, str]:
    form = {"client_id": client_id, "audience": AUDIENCE, "scope": scope}
    codes: dict[str, str] = requests.post(f"{issuer.url}oauth/device/code", data=form, timeout=10).json()
    return codes


def token(issuer: Server, **form: str) -> dict[str, str]:
    data = {"client_id": "device-app", **form}
    body: dict[str, str] = requests.post(f"{issuer.url}oauth/token", data=data, timeout=10).json()
    return body


def link(issuer: Server, user: str = "alice") -> dict[str, str]:
    codes = device(issuer)
    issuer.approve(codes["user_code"], user=user)
    return token(issuer, grant_type=DEVICE_CODE, device_code=codes["device_code"])


def log_in(page: Page, issuer: Server, name: str = "alice") -> None:
    page.goto(f"{issuer.url}account/devices")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(f"{name}-password")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Your devices")


# The account


def test_a_person_unlinks_a_device(page: Page, issuer: Server) -> None:
    tokens = link(issuer)
    log_in(page, issuer)
    expect(page.get_by_role("listitem")).to_have_count(1)
    for words in ("Device App", "Linked", "Last used", "from 127.0.0.1"):
        expect(page.get_by_role("listitem")).to_contain_text(words)
    check_width(page)
    page.get_by_role("button", name="Unlink Device App").click()
    expect(page.get_by_role("status")).to_contain_text("Device App is unlinked.")
    expect(page.get_by_role("listitem")).to_have_count(0)
    expect(page.get_by_text("No device is linked to your account.")).to_be_visible()
    check_width(page)
    refreshed = token(issuer, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert refreshed["error"] == "invalid_grant"
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert requests.get(f"{issuer.url}userinfo", headers=headers, timeout=10).ok
    page.reload()
    expect(page.get_by_role("status")).to_have_count(0)


def test_the_right_one_of_several_is_unlinked_by_keyboard(page: Page, issuer: Server) -> None:
    first, second = link(issuer), link(issuer)
    log_in(page, issuer)
    buttons = page.get_by_role("button", name="Unlink Device App")
    expect(buttons).to_have_count(2)
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "unlink-1":
            break
    expect(buttons.first).to_be_focused()  # the newest
    page.keyboard.press("Enter")
    expect(buttons).to_have_count(1)
    assert "error" in token(issuer, grant_type="refresh_token", refresh_token=second["refresh_token"])
    assert "error" not in token(issuer, grant_type="refresh_token", refresh_token=first["refresh_token"])


def test_a_wrong_password_log_out_and_log_in_as_another_user(page: Page, issuer: Server) -> None:
    page.goto(f"{issuer.url}account")
    page.get_by_label("User name").fill("alice")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("is wrong")
    expect(page.get_by_label("User name")).to_have_value("alice")
    expect(page.get_by_label("Password")).to_be_focused()
    page.get_by_label("Password").fill("alice-password")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("button", name="Bob Example").click()
    expect(page.get_by_text("Logged in as Bob Example")).to_be_visible()
    check_width(page)


# The log and the front page


LONG = "a-client-with-a-name-that-goes-on-and-on-" * 4


@ON_A_PHONE
def test_the_log_is_readable(page: Page, issuer: Server) -> None:
    page.goto(f"{issuer.url}logs")
    expect(page.get_by_text("Nothing yet.")).to_be_visible()
    link(issuer)
    for client_id in ("<script>alert(1)</script>", LONG):
        form = {"client_id": client_id, "audience": AUDIENCE, "scope": LONG}
        requests.post(f"{issuer.url}oauth/device/code", data=form, timeout=10)
    page.reload()
    rows = page.get_by_role("row")
    expect(rows).to_have_count(4)  # with the headings
    expect(rows.nth(1)).to_contain_text("fdeaz")
    expect(rows.nth(2)).to_contain_text("<script>alert(1)</script>")
    expect(rows.nth(3)).to_contain_text("Exchanged a device code for an access token")
    expect(rows.nth(3)).to_contain_text("Alice Example")
    expect(page.get_by_role("columnheader")).to_have_count(5)
    check_width(page)
    for row in rows.all()[1:]:
        box = row.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= page.evaluate("window.innerWidth")


def test_the_front_page_leads_everywhere(page: Page, issuer: Server) -> None:
    page.goto(issuer.url)
    expect(page.get_by_role("heading", level=1)).to_have_text("Mock issuer")
    check_width(page)
    headings = {
        "Connect a device": "Connect a device",
        "Playground": "A device without a keyboard gets a token",
        "Your devices": "Log in",
        "Log": "Log",
    }
    for name, heading in headings.items():
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
        page.get_by_role("link", name="Mock issuer").first.click()
        expect(page).to_have_url(issuer.url)
    page.get_by_role("link", name="Metadata").click()
    expect(page.locator("body")).to_contain_text("device_authorization_endpoint")


# All pages


@pytest.fixture
def plain(browser: Browser, viewport: Any, issuer: Server) -> Iterator[Page]:
    """Open a page in a browser that runs no scripts."""
    with watched_page(browser, viewport, issuer.url, java_script_enabled=False) as page:
        yield page


def test_everything_works_without_javascript(plain: Page, issuer: Server) -> None:
    codes = device(issuer)
    plain.goto(codes["verification_uri"])
    plain.get_by_label("Code").fill(codes["user_code"])
    plain.get_by_role("button", name="Continue").click()
    plain.get_by_text("What it asks for").click()
    expect(plain.get_by_text("See your devices")).to_be_visible()
    plain.get_by_role("button", name="Yes, it shows this code").click()
    plain.get_by_role("button", name="Alice Example").click()
    plain.get_by_role("button", name="Allow", exact=True).click()
    expect(plain.get_by_role("heading", level=1)).to_have_text("Your device is connected")
    assert "access_token" in token(issuer, grant_type=DEVICE_CODE, device_code=codes["device_code"])
    plain.goto(f"{issuer.url}account")
    plain.get_by_role("button", name="Unlink Device App").click()
    expect(plain.get_by_role("status")).to_contain_text("is unlinked")
    plain.get_by_role("button", name="Log out").click()
    expect(plain.get_by_role("heading", level=1)).to_have_text("Log in")
    plain.goto(f"{issuer.url}logs")
    expect(plain.get_by_role("row")).to_have_count(5)


def follow(page: Page, element: Locator) -> None:
    """Click, and wait for the next page."""
    with page.expect_navigation():
        element.click()


def walk(page: Page, issuer: Server) -> Iterator[str]:
    """Go through all pages; yield at each."""
    link(issuer)
    page.goto(issuer.url)
    yield "front"
    page.goto(f"{issuer.url}logs")
    yield "log"
    page.goto(f"{issuer.url}activate?user_code=WRON-GCOD")
    yield "wrong code"
    page.goto(f"{issuer.url}activate")
    yield "code"
    page.get_by_label("Code").fill(device(issuer, f"{SCOPE} profile email")["user_code"])
    page.keyboard.press("Enter")
    page.get_by_text("What it asks for").click()
    yield "confirmation"
    follow(page, page.get_by_role("button", name="Yes, it shows this code"))
    yield "log-in"
    page.get_by_label("User name").fill("alice")
    page.get_by_label("Password").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    yield "wrong password"
    follow(page, page.get_by_role("button", name="Alice Example"))
    yield "consent"
    follow(page, page.get_by_role("button", name="Allow", exact=True))
    yield "done"
    page.goto(device(issuer)["verification_uri_complete"])
    follow(page, page.get_by_role("button", name="No, cancel"))
    yield "refused"
    page.goto(f"{issuer.url}account/devices")
    yield "devices"
    follow(page, page.get_by_role("button", name=re.compile("^Unlink")).first)
    yield "unlinked"
    page.goto(f"{issuer.url}account/nothing")
    yield "error"


# What can have the focus, in document order, which is the visual order.
FOCUSABLE = "window.focusable = [...document.querySelectorAll('a, button, summary, input:not([type=hidden])')]"
FOCUSED = "[focusable.indexOf(document.activeElement), getComputedStyle(document.activeElement).outlineStyle]"
UNNAMED = re.compile(r"^\s*- (?:button|link|textbox)(?! \")", re.MULTILINE)


def tab_order(page: Page, where: str) -> list[int]:
    """Press Tab through the whole page; return the order in which elements get the focus, from the first one."""
    page.evaluate(FOCUSABLE)
    count = page.evaluate("focusable.length")
    order = []
    for _ in range(count + 1):  # one Tab goes from the last element to the first, through the window
        page.keyboard.press("Tab")
        number, outline = page.evaluate(FOCUSED)
        if number >= 0:
            order.append(number)
            assert outline != "none", where
    start = order.index(0)
    assert len(set(order)) == count, where
    return (order[start:] + order[:start])[:count]


# WCAG 2.2, 2.5.8: at least 24 pixels. Hidden buttons have no height.
SMALL_BUTTONS = """
    [...document.querySelectorAll("button")]
        .filter((button) => button.checkVisibility() && button.getBoundingClientRect().height < 24)
        .map((button) => button.outerHTML)
"""


@pytest.fixture
def issuer_of_long_names() -> Iterator[Server]:
    with Server(Config(clients=(Client(client_id="device-app", name=LONG),))) as server:
        yield server


@pytest.fixture
def long_names(browser: Browser, viewport: Any, issuer_of_long_names: Server) -> Iterator[Page]:
    with watched_page(browser, viewport, issuer_of_long_names.url) as page:
        yield page


@ON_A_PHONE
def test_every_page_is_named_labelled_and_in_view(long_names: Page, issuer_of_long_names: Server) -> None:
    page = long_names
    titles = set()
    for where in walk(page, issuer_of_long_names):
        expect(page, where).to_have_title(re.compile(" · Mock issuer$"))
        titles.add(page.title())
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
        expect(page.get_by_role("main")).to_have_count(1)
        assert page.locator("html").get_attribute("lang") == "en"
        # The accessible names, as a screen reader reads them.
        assert not UNNAMED.search(page.locator("body").aria_snapshot()), where
        for field in page.locator("input:not([type=hidden])").all():
            assert page.locator(f"label[for={field.get_attribute('id')}]").count() == 1, where
        order = tab_order(page, where)
        assert order == list(range(len(order))), where
        check_width(page, where)
        assert page.evaluate(SMALL_BUTTONS) == [], where
    assert len(titles) >= 9
