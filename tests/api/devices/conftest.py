"""Fixtures: the API on databases that the tests of this folder share; what a test writes is deleted after it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.app import create_app
from api.auth import AuthConfig, TrustedIssuer
from api.database.engine import open_database
from api.devices.storage.store import DeviceStore
from api.settings import Settings
from tests.kit.databases import KINDS, delete_rows, shared_tables
from tests.kit.headers import header_of
from tests.kit.key_server import KeyServer
from tests.kit.running_api import Bearer
from tests.kit.signing import AUDIENCE

NOW = datetime(2026, 11, 21, 10, 30, 0, 123_456, tzinfo=UTC)
EVERYTHING = "read:devices write:devices read:readings write:readings"


@pytest.fixture(scope="session")
def key_server(shared_key_server: KeyServer) -> KeyServer:
    return shared_key_server


CreateApp = Callable[..., Flask]


@pytest.fixture(scope="session")
def app_on(key_server: KeyServer) -> Iterator[CreateApp]:
    """Return app_on(url, sample_data=..., subject_required=...), which creates one application per arguments."""
    apps: dict[tuple[str, bool, bool], Flask] = {}

    def app_on(database_url: str, *, sample_data: bool = False, subject_required: bool = True) -> Flask:
        arguments = database_url, sample_data, subject_required
        if arguments not in apps:
            issuer = TrustedIssuer(
                identifier=key_server.issuer, audiences=(AUDIENCE,), subject_required=subject_required
            )
            auth = AuthConfig(issuers=(issuer,))
            apps[arguments] = create_app(Settings(auth=auth, database_url=database_url, sample_data=sample_data))
        return apps[arguments]

    yield app_on
    for app in apps.values():
        app.extensions["device_store"].close()


@pytest.fixture(scope="session")
def _shared_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    with ExitStack() as databases:
        urls: dict[str, str] = {}

        def url_of(kind: str) -> str:
            if kind not in urls:
                urls[kind] = databases.enter_context(shared_tables(kind, tmp_path_factory.mktemp(kind)))
            return urls[kind]

        yield url_of


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, _shared_url: Callable[[str], str], app_on: CreateApp) -> Iterator[str]:
    """Yield the URL of a database with the API's tables and no rows, of each kind in turn."""
    url = _shared_url(request.param)
    yield url
    delete_rows(app_on(url).extensions["database"])


@pytest.fixture
def store(database_url: str) -> Iterator[DeviceStore]:
    store = DeviceStore(open_database(database_url), now=lambda: NOW)
    yield store
    store.close()


@pytest.fixture
def app(database_url: str, app_on: CreateApp) -> Flask:
    """Return the application without sample data, on a database of each kind in turn."""
    return app_on(database_url)


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
