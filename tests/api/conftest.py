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
    """Give an empty Redis that stays up."""
    yield _redis_of_session
    _redis_of_session.flush()


@pytest.fixture
def mortal_redis() -> Iterator[RedisServer]:
    """Give a Redis that a test may stop."""
    with RedisServer() as server:
        yield server


AppOf = Callable[[Settings], Flask]


@pytest.fixture
def app_of() -> Iterator[AppOf]:
    """Return a function that makes applications, which are closed after the test. Their database has no tables."""
    apps: list[Flask] = []

    def app_of(settings: Settings) -> Flask:
        apps.append(create_app(settings))
        return apps[-1]

    yield app_of
    for app in apps:
        app.extensions["device_store"].close()
        if app.extensions["revocations"] is not None:
            app.extensions["revocations"].close()
