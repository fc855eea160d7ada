from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from api.app import create_app
from api.settings import Settings
from tests.kit.redis_server import RedisServer


@pytest.fixture(scope="session")
def _redis_of_session() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_server(_redis_of_session: RedisServer) -> Iterator[RedisServer]:
    """Yield an empty Redis server, which the test must not stop."""
    yield _redis_of_session
    _redis_of_session.flush()


@pytest.fixture
def stoppable_redis() -> Iterator[RedisServer]:
    """Yield a Redis server that the test may stop."""
    with RedisServer() as server:
        yield server


AppOf = Callable[[Settings], Flask]


@pytest.fixture
def app_of() -> Iterator[AppOf]:
    """Return a function that creates applications, which are closed after the test. It creates no tables."""
    apps: list[Flask] = []

    def app_of(settings: Settings) -> Flask:
        apps.append(create_app(settings))
        return apps[-1]

    yield app_of
    for app in apps:
        app.extensions["device_store"].close()
        if app.extensions["revocations"] is not None:
            app.extensions["revocations"].close()
