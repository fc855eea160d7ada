from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.app import create_app
from api.database.engine import open_engine
from api.devices.storage.store import DeviceStore
from api.settings import Settings
from tests.kit.headers import header_of
from tests.kit.running_api import Bearer

NOW = datetime(2026, 11, 21, 10, 30, 0, 123_456, tzinfo=UTC)
EVERYTHING = "read:devices write:devices read:readings write:readings"


@pytest.fixture
def store(database_url: str) -> Iterator[DeviceStore]:
    store = DeviceStore(open_engine(database_url), now=lambda: NOW)
    yield store
    store.close()


@pytest.fixture
def app(settings: Settings, database_url: str) -> Iterator[Flask]:
    """Return the application without sample data, on a database of each kind in turn."""
    app = create_app(replace(settings, database_url=database_url, sample_data=False))
    yield app
    app.extensions["device_store"].close()


Send = Callable[..., TestResponse]


@pytest.fixture
def send(client: FlaskClient, bearer: Bearer) -> Send:
    """Return send("GET", path, status, json=..., sub=..., scope=...): it sends a request and checks the status."""

    def send(
        method: str,
        path: str,
        expected_status: int,
        *,
        sub: str = "alice",
        scope: str = EVERYTHING,
        headers: dict[str, str] | None = None,
        **body: Any,
    ) -> TestResponse:
        authorization = bearer(sub=sub, scope=scope)
        response = client.open(path, method=method, headers={**authorization, **(headers or {})}, **body)
        assert response.status_code == expected_status, response.get_data(as_text=True)
        assert response.headers.get("Vary") == "Authorization"
        if expected_status >= 400:
            assert response.mimetype == "application/problem+json"
            assert response.get_json(silent=True) is None or response.get_json()["status"] == expected_status
        return response

    return send


LAMP = {"name": "Küche \U0001f373", "kind": "sensor", "model": "M 1"}


@pytest.fixture
def device(send: Send) -> str:
    """Return the path of a device that belongs to alice."""
    return header_of(send("POST", "/v1/devices", 201, json=LAMP), "Location")
