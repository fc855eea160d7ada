"""A restart of PostgreSQL, or of its connections, fails no request that comes after it."""

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from sqlalchemy import text

from api.database.connections import Database
from api.database.engine import MAX_CONNECTIONS, open_database
from api.database.schema import upgrade
from api.devices.models import EVERYONE
from api.devices.storage.store import DeviceStore
from tests.kit.postgresql_server import PostgresqlServer

pytestmark = [pytest.mark.slow, pytest.mark.needs("postgresql-server")]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    with PostgresqlServer() as server:
        upgrade(server.url)
        yield server


def open_all(database: Database) -> set[int]:
    """Open as many connections as the process may have; return their processes in the server."""
    with ExitStack() as stack:
        connections = [stack.enter_context(database.connect()) for _ in range(MAX_CONNECTIONS)]
        pids = {one.execute(text("SELECT pg_backend_pid()")).scalar_one() for one in connections}
    assert len(pids) == MAX_CONNECTIONS
    return pids


def read_with_each(database: Database) -> None:
    with closing(DeviceStore(database)) as store:
        for _ in range(3 * MAX_CONNECTIONS):
            assert store.list_devices(EVERYONE, limit=1) == []


@pytest.mark.parametrize("immediately", [False, True])
def test_no_request_fails_after_a_restart(server: PostgresqlServer, *, immediately: bool) -> None:
    database = open_database(server.url)
    open_all(database)
    server.stop(immediately=immediately)
    server.start()
    read_with_each(database)


def test_no_request_fails_after_idle_connections_were_ended(server: PostgresqlServer) -> None:
    database = open_database(server.url)
    pids = open_all(database)
    with server.connect() as administrator:
        for pid in pids:
            # Waits until it has ended.
            assert administrator.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,)).fetchone() == (True,)
    read_with_each(database)
