"""The playground's routes; tests/browser has the page."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from mock_issuer import Config, ConfigError
from tests.kit.headers import header_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mock_issuer.conftest import LiveIssuer


def test_the_page_has_the_settings_of_its_client_and_api(make_issuer: Callable[[Config], LiveIssuer]) -> None:
    issuer = make_issuer(Config(api_url="http://127.0.0.1:8123/"))
    response = issuer.get("/playground")
    assert response.status_code == 200
    (found,) = re.findall(r'id="settings">(.*?)</script>', response.text)
    assert json.loads(found) == {
        "client_id": "device-app",
        "audience": "https://device-api.example",
        "scope": "read:devices write:devices read:readings write:readings openid profile offline_access",
        "api": "http://127.0.0.1:8123",
        "controls": True,
        "scannable": False,
    }
    policy = header_of(response, "Content-Security-Policy")
    assert "connect-src 'self' http://127.0.0.1:8123/;" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy


def test_draws_a_qr_code(shared_issuer: LiveIssuer) -> None:
    response = shared_issuer.get("/playground/qr.svg?user_code=BCDF-GHJK")
    assert (response.status_code, response.headers.get("Content-Type")) == (200, "image/svg+xml; charset=utf-8")
    assert response.text.startswith("<svg")


@pytest.mark.parametrize("query", ["", "?user_code=", "?user_code=" + "B" * 65])
def test_a_qr_code_needs_a_user_code(shared_issuer: LiveIssuer, query: str) -> None:
    assert shared_issuer.refused(shared_issuer.get("/playground/qr.svg" + query)) == (404, "not_found")


def test_pages_may_be_framed_by_this_origin_alone(shared_issuer: LiveIssuer) -> None:
    issuer = shared_issuer
    for path in ("/activate", "/account/devices"):
        plain = issuer.get(path)
        assert "frame-ancestors 'none'" in header_of(plain, "Content-Security-Policy")
        assert plain.headers.get("X-Frame-Options") == "DENY"
        framed = issuer.get(path, headers={"Sec-Fetch-Dest": "iframe"})
        assert "frame-ancestors 'self'" in header_of(framed, "Content-Security-Policy")
        assert framed.headers.get("X-Frame-Options") == "SAMEORIGIN"
    elsewhere = issuer.get("/logs", headers={"Sec-Fetch-Dest": "iframe"})
    assert "frame-ancestors 'none'" in header_of(elsewhere, "Content-Security-Policy")


@pytest.mark.parametrize(
    "address", ["127.0.0.1:8000", "http://a/; script-src *", "http://a/,b", "ftp://a/", "http://a/?b"]
)
def test_an_api_is_a_plain_url(address: str) -> None:
    with pytest.raises(ConfigError, match="api_url"):
        Config(api_url=address)
