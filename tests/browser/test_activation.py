"""The activation pages in a real browser, as a person with a phone or a desk sees them."""

import re
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect

from mock_issuer import Server

pytestmark = pytest.mark.needs("chromium")

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


class Device:
    """A device that has asked for a code."""

    def __init__(self, issuer: Server) -> None:
        self._issuer = issuer
        self.codes = self._post("oauth/device/code", audience="https://device-api.example", scope="openid read:devices")

    def _post(self, path: str, **fields: str) -> Any:
        data = {"client_id": "device-app", **fields}
        return requests.post(f"{self._issuer.url}{path}", data=data, timeout=10).json()

    def poll(self) -> Any:
        return self._post("oauth/token", grant_type=DEVICE_CODE, device_code=self.codes["device_code"])


def is_all_in_view(page: Page) -> bool:
    """Say whether the page needs no scrolling sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def test_approve_by_typing_the_code(page: Page, issuer: Server) -> None:
    device = Device(issuer)
    page.goto(device.codes["verification_uri"])
    # Small letters and no dash: people type what is easy.
    page.get_by_label("Code").fill(device.codes["user_code"].replace("-", "").lower())
    page.keyboard.press("Enter")
    expect(page.get_by_text(device.codes["user_code"])).to_be_visible()
    assert is_all_in_view(page)
    page.get_by_role("button", name="Yes, it shows this code").click()
    page.get_by_label("User name").fill("alice")
    page.get_by_label("Password").fill("alice-password")
    page.get_by_role("button", name="Log in", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Device App")
    expect(page.get_by_text("See your devices")).to_be_visible()
    assert is_all_in_view(page)
    page.get_by_role("button", name="Allow", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(r"Your device\s+is connected"))
    assert "access_token" in device.poll()


def test_deny_after_scanning_the_code(page: Page, issuer: Server) -> None:
    device = Device(issuer)
    page.goto(device.codes["verification_uri_complete"])
    page.get_by_role("button", name="Yes, it shows this code").click()
    page.get_by_role("button", name=re.compile("Bob")).click()
    page.get_by_role("button", name=re.compile("Don.t allow")).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Nothing was")
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


def test_the_whole_way_by_keyboard(page: Page, issuer: Server) -> None:
    device = Device(issuer)
    page.goto(device.codes["verification_uri"])
    expect(page.get_by_label("Code")).to_be_focused()
    page.keyboard.type(device.codes["user_code"])
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Yes, it shows this code").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("User name")).to_be_focused()
    page.keyboard.type("alice")
    page.keyboard.press("Tab")
    page.keyboard.type("alice-password")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Allow", exact=True).focus()
    page.keyboard.press("Space")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Your device")
    assert "access_token" in device.poll()


def test_a_wrong_code_is_told_and_shown_as_text(page: Page, issuer: Server) -> None:
    page.goto(f"{issuer.url}activate")
    page.get_by_label("Code").fill("<script>alert(1)</script>")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not valid")
    field = page.get_by_label("Code")
    assert (field.input_value() or "").lower().startswith("<script>")
    assert field.get_attribute("aria-invalid") == "true"
    assert is_all_in_view(page)
