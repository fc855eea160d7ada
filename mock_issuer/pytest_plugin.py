"""The pytest plugin: a running issuer as the fixture `mock_issuer`, wherever this package is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

# pytest loads this module in every test run; the package imports Config and Server only when a fixture uses them.
import mock_issuer as package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mock_issuer.config import Config
    from mock_issuer.server import Server


@pytest.fixture(scope="session")
def mock_issuer_config() -> Config:
    """The issuer's configuration. Override this fixture to change it."""
    return package.Config()


@pytest.fixture(scope="session")
def mock_issuer_server(mock_issuer_config: Config) -> Iterator[Server]:
    """One issuer for the whole test run, for session-scoped fixtures such as one that starts your API."""
    with package.Server(mock_issuer_config) as server:
        yield server


@pytest.fixture
def mock_issuer(mock_issuer_server: Server) -> Server:
    """The session's issuer, reset to its initial state: same address, same key, no requests, tokens or events."""
    mock_issuer_server.reset()
    return mock_issuer_server
