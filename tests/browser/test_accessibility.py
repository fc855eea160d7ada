"""axe-core finds nothing on the pages, in every state, at both widths, in light and in dark colours."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Axe, Stack, watched_page
from tests.browser.test_account import follow, walk
from tests.browser.test_playground import Playground

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("chromium"),
    pytest.mark.needs("npm"),
    pytest.mark.timeout(300),  # npm ci may download
]


def test_the_playground_in_every_state(browser: Browser, viewport: Any, stack: Stack, axe: Axe) -> None:
    with watched_page(browser, viewport, stack.issuer.url, stack.api_url, bypass_csp=True) as page:
        page.clock.install()
        page.goto(f"{stack.issuer.url}playground")
        playground = Playground(page, stack.issuer)
        axe.check(page, "idle")
        page.get_by_text("Change the client").click()
        axe.check(page, "the request's parameters")
        page.get_by_label("client_id").fill("nobody")
        playground.press("Start")
        playground.now("No code")
        axe.check(page, "refused request")
        page.get_by_label("client_id").fill("device-app")
        playground.start()
        axe.check(page, "code")
        playground.press("Poll too fast")
        playground.now("slow_down")
        playground.press("Open the link")
        phone = page.frame_locator("#phone")
        expect(phone.get_by_role("heading", level=1)).to_contain_text("show this code")
        axe.check(page, "confirmation on the phone")
        phone.get_by_role("button", name="Yes, it shows this code").click()
        expect(phone.get_by_role("heading", level=1)).to_have_text("Log in")
        axe.check(page, "log-in on the phone")
        phone.get_by_role("button", name="Alice").click()
        expect(phone.get_by_role("heading", level=1)).to_contain_text("Allow Device App")
        axe.check(page, "consent on the phone")
        phone.get_by_role("button", name="Allow", exact=True).click()
        expect(phone.get_by_role("heading", level=1)).to_contain_text("connected")
        axe.check(page, "approved")
        playground.wait(10)
        playground.now("answered")
        expect(page.get_by_role("img", name="temperature").first).to_be_visible()
        for sample in page.locator(".samples > summary").all():
            sample.evaluate("summary => summary.parentElement.open = true")
        axe.check(page, "connected")
        playground.press("Call with an altered token")
        playground.now("401 invalid_token")
        axe.check(page, "challenge")
        playground.press("Use the token on the phone")
        playground.now("whoever has this token")
        playground.press("Unlink the television")
        playground.now("no longer works")
        axe.check(page, "unlinked")
        page.get_by_label("Bind the tokens to a key").check()
        playground.connect()
        playground.now("answered")
        playground.press("Use the token on the phone")
        playground.now("not the key")
        axe.check(page, "a stolen token that is bound to a key")


def test_the_pages_of_the_issuer(browser: Browser, viewport: Any, stack: Stack, axe: Axe) -> None:
    with watched_page(browser, viewport, stack.issuer.url, bypass_csp=True) as page:
        for where in walk(page, stack.issuer):
            axe.check(page, where)
        page.goto(f"{stack.issuer.url}account/devices")
        axe.check(page, "no devices")
        follow(page, page.get_by_role("button", name=re.compile("Log out")))
        axe.check(page, "log-in for the devices")


def test_the_panel_of_the_documentation_page(browser: Browser, viewport: Any, stack: Stack, axe: Axe) -> None:
    # Swagger UI, below the panel, has findings of its own.
    with watched_page(browser, viewport, stack.api_url, stack.issuer.url, bypass_csp=True) as page:
        page.clock.install()
        page.goto(f"{stack.api_url}/docs")
        axe.check(page, "form", within="#login")
        page.get_by_role("button", name="Get a code").click()
        user_code = page.locator("#user-code")
        expect(user_code).not_to_be_empty()
        axe.check(page, "code", within="#login")
        stack.issuer.approve(user_code.inner_text())
        page.clock.fast_forward(1000)
        expect(page.get_by_role("button", name="Log out")).to_be_visible()
        axe.check(page, "logged in", within="#login")
