"""The activation pages in a real browser."""

import re
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect

from mock_issuer import Server
from tests.browser.conftest import check_width

pytestmark = pytest.mark.needs("chromium")

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


class Device:
    """A device that has requested a code."""

    def __init__(self, issuer: Server, scope: str = "openid read:devices") -> None:
        self._issuer = issuer
        self.codes = self._post("oauth/device/code", audience="https://device-api.example", scope=scope)

    def _post(self, path: str, **fields: str) -> Any:
        data = {"client_id": "device-app", **fields}
        return requests.post(f"{self._issuer.url}{path}", data=data, timeout=10).json()

    def poll(self) -> Any:
        return self._post("oauth/token", grant_type=DEVICE_CODE, device_code=self.codes["device_code"])


def test_approve_by_typing_the_code_with_the_keyboard_alone(page: Page, issuer: Server) -> None:
    device = Device(issuer)
    page.goto(device.codes["verification_uri"])
    expect(page.get_by_label("Code")).to_be_focused()
    # Lower case and no dash, as people type.
    page.keyboard.type(device.codes["user_code"].replace("-", "").lower())
    page.keyboard.press("Enter")
    expect(page.get_by_text(device.codes["user_code"])).to_be_visible()
    page.get_by_role("button", name="Yes, it shows this code").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("User name")).to_be_focused()
    page.keyboard.type("alice")
    page.keyboard.press("Tab")
    page.keyboard.type("alice-password")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Device App")
    expect(page.get_by_text("See your devices")).to_be_visible()
    page.get_by_role("button", name="Allow", exact=True).focus()
    page.keyboard.press("Space")
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(r"Your device\s+is connected"))
    assert "access_token" in device.poll()


def test_deny_after_scanning_the_code(page: Page, issuer: Server) -> None:
    device = Device(issuer)
    page.goto(device.codes["verification_uri_complete"])
    page.get_by_role("button", name="Yes, it shows this code").click()
    page.get_by_role("button", name=re.compile("Bob")).click()
    page.get_by_role("button", name=re.compile("Don.t allow")).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Nothing was")
    expect(page.get_by_text("You did not allow Device App to connect.")).to_be_visible()
    assert device.poll()["error"] == "access_denied"


def test_a_second_device_needs_confirmation_and_nothing_else(page: Page, issuer: Server) -> None:
    for number in range(2):
        device = Device(issuer)
        page.goto(device.codes["verification_uri_complete"])
        page.get_by_role("button", name="Yes, it shows this code").click()
        if number == 0:
            page.get_by_role("button", name=re.compile("Alice")).click()
            page.get_by_role("button", name="Allow", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("Your device")
        assert "access_token" in device.poll()


def test_a_wrong_code_is_shown_as_text(page: Page, issuer: Server) -> None:
    page.goto(f"{issuer.url}activate")
    for typed, quoted in (
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("W" * 60, "W" * 40 + "…"),
    ):
        field = page.get_by_label("Code")
        field.fill(typed)
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text(
            f"“{quoted}” is not valid, or has expired. Get a new code on the device."
        )
        # What is typed next is a new code.
        expect(field).to_have_value("")
        expect(field).to_be_focused()
        expect(field).to_have_attribute("aria-invalid", "true")
        check_width(page)


def test_the_done_page_leads_to_the_linked_devices(page: Page, issuer: Server) -> None:
    page.goto(Device(issuer, "openid read:devices offline_access").codes["verification_uri_complete"])
    page.get_by_role("button", name="Yes, it shows this code").click()
    page.get_by_role("button", name=re.compile("Alice")).click()
    page.get_by_role("button", name="Allow", exact=True).click()
    page.get_by_role("link", name="See your linked devices").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your devices")
