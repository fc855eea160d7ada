"""/docs in a real browser: the contract is shown, and a request goes out with a token of the device flow."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Response, expect

from mock_issuer import Config, Server
from tests.browser.conftest import VIEWPORTS
from tests.kit.person import Person
from tests.kit.processes import running_api

pytestmark = pytest.mark.needs("chromium")


@pytest.fixture
def quick_issuer() -> Iterator[Server]:
    # Five seconds between polls are for devices by the thousand.
    with Server(Config(poll_interval_seconds=1)) as server:
        yield server


@pytest.fixture
def api(quick_issuer: Server, tmp_path: Path) -> Iterator[str]:
    with running_api(quick_issuer.url, tmp_path) as url:
        yield url


@pytest.fixture(params=VIEWPORTS)
def docs(browser: Browser, request: pytest.FixtureRequest, quick_issuer: Server, api: str) -> Iterator[Page]:
    """Give the page at each width; no request may go elsewhere, and nothing may be blocked or complain."""
    complaints: list[Any] = []
    viewport: Any = VIEWPORTS[request.param]
    context = browser.new_context(viewport=viewport)
    page = context.new_page()
    page.set_default_timeout(20_000)

    def hear(message: ConsoleMessage) -> None:
        # The device flow's pending answers are errors to a browser, and the flow itself to us.
        if message.type in {"error", "warning"} and "/oauth/token" not in str(message.location):
            complaints.append(message.text)

    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", hear)
    page.on("request", lambda sent: _note_stranger(complaints, sent.url, (api, quick_issuer.url)))
    page.goto(f"{api}/docs")
    yield page
    context.close()
    assert complaints == []


def _note_stranger(complaints: list[Any], url: str, known: tuple[str, ...]) -> None:
    if not url.startswith((*known, "data:", "blob:")):
        complaints.append(url)


def is_all_in_view(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def try_list(page: Page) -> Response:
    """Open the list of devices, send the request, and return what came back."""
    operation = page.locator("#operations-devices-listDevices")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    with page.expect_response("**/v1/devices**") as caught:
        operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table tbody .response-col_status").first).to_contain_text(
        str(caught.value.status)
    )
    return caught.value


def test_a_device_flow_on_the_page_opens_the_api(docs: Page, quick_issuer: Server, api: str) -> None:
    expect(docs.get_by_text("/v1/devices", exact=True).first).to_be_visible()
    assert is_all_in_view(docs)
    docs.get_by_role("button", name="Get a code").click()
    code = docs.locator("#user-code")
    expect(code).not_to_be_empty()
    user_code = code.text_content() or ""
    link = docs.locator("#link")
    assert (link.get_attribute("href") or "").startswith(f"{quick_issuer.url}activate")
    assert is_all_in_view(docs)
    with Person(quick_issuer.url) as person:
        person.approve(user_code)
    expect(docs.get_by_role("status")).to_contain_text("You are logged in")
    response = try_list(docs)
    assert response.url.startswith(f"{api}/v1/devices")
    assert response.status == 200
    assert response.json()["items"]
    assert is_all_in_view(docs)


def test_a_refusal_and_a_wrong_client_are_told(docs: Page, quick_issuer: Server) -> None:
    docs.get_by_role("button", name="Get a code").click()
    expect(docs.locator("#user-code")).not_to_be_empty()
    with Person(quick_issuer.url) as person:
        person.refuse(docs.locator("#user-code").text_content() or "")
    expect(docs.get_by_role("status")).to_have_text("The request was denied on the issuer's page.")


def test_cancelled_it_is_as_before(docs: Page) -> None:
    docs.get_by_role("button", name="Get a code").click()
    expect(docs.locator("#user-code")).not_to_be_empty()
    docs.get_by_role("button", name="Cancel", exact=True).first.click()
    expect(docs.locator("#user-code")).to_be_hidden()
    expect(docs.get_by_role("button", name="Get a code")).to_be_visible()
