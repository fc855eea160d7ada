from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

from mock_issuer import Server
from tests.conftest import CHROMIUM

VIEWPORTS = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
# Chromium on its own: no sandbox for root in a container, and no calls home.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def issuer() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(params=VIEWPORTS)
def page(browser: Browser, request: pytest.FixtureRequest, issuer: Server) -> Iterator[Page]:
    """Give a page of a new visitor at each width; no request may leave the issuer, no script may complain."""
    complaints: list[Any] = []
    viewport: Any = VIEWPORTS[request.param]
    context = browser.new_context(viewport=viewport)
    page = context.new_page()
    page.set_default_timeout(10_000)

    def complain(error: Error) -> None:  # Playwright cannot mark a list's own `append` as its listener
        complaints.append(error)

    page.on("pageerror", complain)
    page.on("request", lambda sent: complaints.append(sent.url) if not sent.url.startswith(issuer.url) else None)
    yield page
    context.close()
    assert complaints == []
