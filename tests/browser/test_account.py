"""The account, the log and the front page in a real browser; and all pages by accessible name and without scripts."""

import re
from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Browser, Locator, Page, expect

from mock_issuer import Client, Config, Server
from tests.browser.conftest import VIEWPORTS

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


def is_all_in_view(page: Page) -> bool:
    """Say whether the page needs no scrolling sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


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
    assert is_all_in_view(page)
    page.get_by_role("button", name="Unlink Device App").click()
    expect(page.get_by_role("status")).to_contain_text("Device App is unlinked.")
    expect(page.get_by_role("listitem")).to_have_count(0)
    expect(page.get_by_text("No device is linked to your account.")).to_be_visible()
    assert is_all_in_view(page)
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


def test_a_wrong_password_and_then_out_and_in_as_another(page: Page, issuer: Server) -> None:
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
    assert is_all_in_view(page)


# The log and the front page


LONG = "a-client-with-a-name-that-goes-on-and-on-" * 4


def test_the_log_is_readable_at_this_width(page: Page, issuer: Server) -> None:
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
    assert is_all_in_view(page)
    for row in rows.all()[1:]:
        box = row.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= page.evaluate("window.innerWidth")


def test_the_front_page_leads_everywhere(page: Page, issuer: Server) -> None:
    page.goto(issuer.url)
    expect(page.get_by_role("heading", level=1)).to_have_text("Mock issuer")
    assert is_all_in_view(page)
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


@pytest.fixture(params=VIEWPORTS)
def plain(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of a browser that runs no script."""
    viewport = VIEWPORTS[request.param]
    context = browser.new_context(viewport={"width": viewport["width"], "height": 844}, java_script_enabled=False)
    context.set_default_timeout(10_000)
    yield context.new_page()
    context.close()


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


def test_a_denial_at_the_consent_is_told_to_both(page: Page, issuer: Server) -> None:
    codes = device(issuer)
    page.goto(codes["verification_uri_complete"])
    page.get_by_role("button", name="Yes, it shows this code").click()
    page.get_by_role("button", name="Alice Example").click()
    page.get_by_role("button", name=re.compile("Don.t allow")).click()
    expect(page.get_by_text("You did not allow Device App to connect.")).to_be_visible()
    assert is_all_in_view(page)
    answer = token(issuer, grant_type=DEVICE_CODE, device_code=codes["device_code"])
    assert answer["error"] == "access_denied"


def follow(page: Page, element: Locator) -> None:
    """Click, and wait for the page that this leads to."""
    with page.expect_navigation():
        element.click()


def walk(page: Page, issuer: Server) -> Iterator[str]:
    """Go through all pages, and stop at each."""
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


# What can have the focus, in the order of the document, which is the order on the screen.
FOCUSABLE = "window.focusable = [...document.querySelectorAll('a, button, summary, input:not([type=hidden])')]"


def name_of(element: Locator) -> str:
    """Return the accessible name, as a screen reader has it."""
    snapshot = element.aria_snapshot()
    found = re.match(r'- \w+ "(.+?)"', snapshot)
    return found[1] if found else ""


def test_every_page_is_named_labelled_and_in_view(page: Page, issuer: Server) -> None:
    titles = set()
    for where in walk(page, issuer):
        expect(page, where).to_have_title(re.compile(" · Mock issuer$"))
        titles.add(page.title())
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
        expect(page.get_by_role("main")).to_have_count(1)
        assert page.locator("html").get_attribute("lang") == "en"
        for role in ("button", "textbox", "link"):
            for element in page.get_by_role(role).all():
                assert name_of(element), (where, element)
        for field in page.locator("input:not([type=hidden])").all():
            assert page.locator(f"label[for={field.get_attribute('id')}]").count() == 1, where
        # Whoever presses Tab goes down the page, through everything, and sees where they are.
        page.evaluate(FOCUSABLE)
        count = page.evaluate("focusable.length")
        order = []
        for _ in range(count + 1):  # one is the way from the last to the first, through the window
            page.keyboard.press("Tab")
            number = page.evaluate("focusable.indexOf(document.activeElement)")
            if number >= 0:
                order.append(number)
                assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", where
        start = order.index(0)
        assert (order[start:] + order[:start])[:count] == list(range(count)), where
        for button in page.get_by_role("button").all():
            box = button.bounding_box()
            assert box is not None
            assert box["height"] >= 24, where  # WCAG 2.2, 2.5.8
        assert is_all_in_view(page), where
    assert len(titles) >= 9


def test_long_names_stay_in_view(browser: Browser) -> None:
    clients = (Client(client_id="device-app", name=LONG),)
    viewport = VIEWPORTS["phone"]
    with Server(Config(clients=clients)) as issuer:
        context = browser.new_context(viewport={"width": viewport["width"], "height": viewport["height"]})
        page = context.new_page()
        for where in walk(page, issuer):
            assert is_all_in_view(page), where
        context.close()
