"""/docs in a real browser: the contract is shown, and a request is sent with a token from the device flow."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Response, expect

from tests.browser.conftest import ON_A_PHONE, Stack, check_width, watched_page
from tests.kit.person import Person

pytestmark = pytest.mark.needs("chromium")


@pytest.fixture
def docs(browser: Browser, viewport: Any, stack: Stack) -> Iterator[Page]:
    """Open /docs with a clock that the test can move; nothing may be blocked, fail or go elsewhere."""
    with watched_page(browser, viewport, stack.api_url, stack.issuer.url, console=True) as page:
        page.clock.install()
        page.goto(f"{stack.api_url}/docs")
        yield page


def get_code(page: Page) -> str:
    page.get_by_role("button", name="Get a code").click()
    code = page.locator("#user-code")
    expect(code).not_to_be_empty()
    return code.text_content() or ""


def wait_for_poll(page: Page) -> None:
    page.clock.fast_forward(1000)


def try_list(page: Page) -> Response:
    """Open the list of devices, send the request, and return the response."""
    operation = page.locator("#operations-devices-listDevices")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    with page.expect_response("**/v1/devices**") as caught:
        operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table tbody .response-col_status").first).to_contain_text(
        str(caught.value.status)
    )
    return caught.value


@ON_A_PHONE
def test_a_device_flow_on_the_page_gives_access_to_the_api(docs: Page, stack: Stack) -> None:
    expect(docs.get_by_text("/v1/devices", exact=True).first).to_be_visible()
    check_width(docs)
    user_code = get_code(docs)
    link = docs.locator("#link")
    assert (link.get_attribute("href") or "").startswith(f"{stack.issuer.url}activate")
    check_width(docs)
    with Person(stack.issuer.url) as person:
        person.approve(user_code)
    wait_for_poll(docs)
    expect(docs.get_by_role("status")).to_contain_text("You are logged in")
    session = docs.locator("#session")
    expect(session).to_contain_text("Logged in as mock|alice, with the client device-app and the scopes read:devices")
    expect(docs.get_by_role("button", name="Log out", exact=True)).to_be_focused()
    expect(docs.get_by_role("button", name="Get a code")).to_be_hidden()
    response = try_list(docs)
    assert response.url.startswith(f"{stack.api_url}/v1/devices")
    assert response.status == 200
    assert response.json()["items"]
    check_width(docs)
    docs.get_by_role("button", name="Log out", exact=True).click()
    expect(session).to_be_hidden()
    expect(docs.get_by_role("button", name="Get a code")).to_be_focused()
    # Answered here: the console would report the API's 401.
    docs.route("**/v1/devices**", lambda route: route.fulfill(json={"items": []}))
    with docs.expect_request("**/v1/devices**") as caught:
        docs.locator("#operations-devices-listDevices").get_by_role("button", name="Execute").click()
    assert "authorization" not in caught.value.all_headers()


def test_the_name_is_shown_if_the_token_comes_with_one(docs: Page, stack: Stack) -> None:
    docs.get_by_label("Scopes").fill("openid profile")
    stack.issuer.approve(get_code(docs))
    wait_for_poll(docs)
    expect(docs.locator("#session")).to_contain_text("Logged in as Alice Example, with the client device-app")


def test_a_token_that_the_api_refuses_is_no_login(docs: Page, stack: Stack) -> None:
    stack.issuer.approve(get_code(docs))
    docs.route("**/v1/me", lambda route: route.fulfill(status=401, json={"detail": "The signature does not match."}))
    wait_for_poll(docs)
    expect(docs.get_by_role("status")).to_contain_text("The API refuses the issuer's token: The signature does not")
    expect(docs.locator("#session")).to_be_hidden()
    expect(docs.get_by_role("button", name="Get a code")).to_be_visible()


def test_a_refusal_is_shown(docs: Page, stack: Stack) -> None:
    user_code = get_code(docs)
    with Person(stack.issuer.url) as person:
        person.refuse(user_code)
    wait_for_poll(docs)
    expect(docs.get_by_role("status")).to_have_text("The request was denied on the issuer's page.")


def test_cancel_shows_the_first_button_again(docs: Page) -> None:
    get_code(docs)
    docs.get_by_role("button", name="Cancel", exact=True).first.click()
    expect(docs.locator("#user-code")).to_be_hidden()
    expect(docs.get_by_role("button", name="Get a code")).to_be_visible()
