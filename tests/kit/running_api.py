"""Fixtures: the API in this process, its issuer's key server, and tokens for it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.app import create_app
from api.auth import AuthConfig, TrustedIssuer
from api.operations.log.writer import write_directly
from api.settings import Settings
from tests.kit.databases import create_tables
from tests.kit.key_server import KeyServer
from tests.kit.signing import AUDIENCE, claims, jwks, rsa_key

KEY = rsa_key(0, "key-1")


@pytest.fixture(scope="session", autouse=True)
def _log_lines_are_written_at_once() -> None:
    """Let tests read what was logged; a thread would also write lines of one test into the output of another."""
    write_directly()


@pytest.fixture
def key_server() -> Iterator[KeyServer]:
    with KeyServer() as server:
        server.publish(jwks(KEY))
        yield server


@pytest.fixture
def settings(key_server: KeyServer, tmp_path: Path) -> Settings:
    issuer = TrustedIssuer(identifier=key_server.issuer, audiences=(AUDIENCE,))
    return Settings(
        auth=AuthConfig(issuers=(issuer,)), database_url=f"sqlite:///{tmp_path}/devices.db", sample_data=True
    )


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    create_tables(settings.database_url)
    app = create_app(settings)
    yield app
    app.extensions["device_store"].close()


@pytest.fixture(scope="session")
def shared_key_server() -> Iterator[KeyServer]:
    """Yield a server whose answers no test may change."""
    with KeyServer() as server:
        server.publish(jwks(KEY))
        yield server


@pytest.fixture(scope="session")
def shared_app(shared_key_server: KeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """Yield one application for all tests whose answers do not depend on earlier requests.

    A module that has only such tests returns it from a fixture `app`, and `shared_key_server` from `key_server`.
    """
    issuer = TrustedIssuer(identifier=shared_key_server.issuer, audiences=(AUDIENCE,))
    url = f"sqlite:///{tmp_path_factory.mktemp('api')}/devices.db"
    create_tables(url)
    app = create_app(Settings(auth=AuthConfig(issuers=(issuer,)), database_url=url, sample_data=True))
    yield app
    app.extensions["device_store"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


Bearer = Callable[..., dict[str, str]]


@pytest.fixture
def bearer(key_server: KeyServer) -> Bearer:
    """Return a function that returns headers with a valid token; keywords change its claims."""

    def bearer(**changes: Any) -> dict[str, str]:
        token = KEY.sign(claims(iss=key_server.issuer, **changes))
        return {"Authorization": f"Bearer {token}"}

    return bearer
