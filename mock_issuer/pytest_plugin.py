"""The pytest plugin: a live issuer as the fixture `mock_issuer`, for any project that has this package installed."""

from collections.abc import Iterator

import pytest

from mock_issuer.config import Config
from mock_issuer.server import Server


@pytest.fixture(scope="session")
def mock_issuer_config() -> Config:
    """Say what the issuer serves; a project overrides this fixture to say otherwise."""
    return Config()


@pytest.fixture(scope="session")
def mock_issuer_server(mock_issuer_config: Config) -> Iterator[Server]:
    """Serve one issuer for all tests, so that an API under test can be started once with its address."""
    with Server(mock_issuer_config) as server:
        yield server


@pytest.fixture
def mock_issuer(mock_issuer_server: Server) -> Server:
    """Give the issuer to a test as it was at the start: same address, same key, nothing else left."""
    mock_issuer_server.reset()
    return mock_issuer_server
