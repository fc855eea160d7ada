"""The application without pages and controls: its errors."""

from __future__ import annotations

import logging

import pytest

from mock_issuer.oauth.app import create_oauth_app


def test_an_unknown_address_is_a_json_error() -> None:
    response = create_oauth_app().test_client().get("/nothing")
    assert response.status_code == 404
    assert response.get_json() == {
        "error": "not_found",
        "error_description": "Not Found: Nothing matches the given URI.",
    }


def test_a_fault_of_the_issuer_is_a_server_error(caplog: pytest.LogCaptureFixture) -> None:
    def broken_clock() -> float:
        raise RuntimeError("no time")

    with caplog.at_level(logging.CRITICAL):
        response = create_oauth_app(clock=broken_clock).test_client().get("/.well-known/jwks.json")
    assert (response.status_code, response.get_json()["error"]) == (500, "server_error")
