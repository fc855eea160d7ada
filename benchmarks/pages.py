"""The time of a page of readings in a small and in a large table, and its query plan."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from api.database.connections import Database
from api.database.engine import open_database, open_engine_for_upgrade, write_transaction
from api.database.schema import upgrade
from api.devices.cursors import Position
from api.devices.storage import queries
from tests.kit.databases import postgresql_schema

SMALL, LARGE = 10_000, 1_000_000
_DEVICE = "dev_00000000000000000001"
_START = datetime(2020, 1, 1, tzinfo=UTC)
_PAGE = 101
_FILL = {
    "sqlite": "WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < :count - 1) "
    "INSERT INTO readings SELECT :device, strftime('%Y-%m-%d %H:%M:%S.000000', '2020-01-01', n || ' seconds'), "
    "'power', 1.0, 'W' FROM s",
    "postgresql": "INSERT INTO readings SELECT :device, timestamptz '2020-01-01 00:00:00Z' + n * interval '1 second', "
    "'power', 1.0, 'W' FROM generate_series(0, :count - 1) AS n",
}


def databases() -> Iterator[tuple[str, Callable[[], contextlib.AbstractContextManager[str]]]]:
    """Yield the name of each available database, and a context manager that creates an empty one."""
    yield "SQLite", _sqlite
    try:
        with postgresql_schema():
            pass
    except OperationalError:
        return
    yield "PostgreSQL", postgresql_schema


@contextlib.contextmanager
def _sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        yield f"sqlite:///{directory}/pages.db"


@contextlib.contextmanager
def filled(url: str, count: int) -> Iterator[Database]:
    """Yield a database with one device and `count` readings, a second apart."""
    upgrade(url)
    # For a million readings, a slow machine takes longer than the API gives a statement.
    with write_transaction(open_engine_for_upgrade(url)) as connection:
        connection.execute(
            text(
                "INSERT INTO devices (id, issuer, subject, name, kind, model, status, created_at) VALUES "
                "(:device, 'i', 's', 'n', 'hub', 'm', 'online', '2020-01-01 00:00:00')"
            ),
            {"device": _DEVICE},
        )
        connection.execute(text(_FILL[connection.dialect.name]), {"device": _DEVICE, "count": count})
    database = open_database(url)
    with database.connect() as connection:
        connection.execute(text("ANALYZE readings"))
    try:
        yield database
    finally:
        database.close()


def pages(database: Database, count: int) -> dict[str, Callable[[], object]]:
    """Return functions that read the first page and a page in the middle."""

    def read(after: Position | None) -> Callable[[], object]:
        query = _query(after)

        def read() -> object:
            with database.connect() as connection:
                found = query.fetch_all(connection)
            if len(found) != _PAGE:
                raise RuntimeError(len(found))
            return found

        return read

    return {"the first page": read(None), "a page in the middle": read(_middle(count))}


def plan(database: Database, count: int) -> list[str]:
    """Return the query plan of the page in the middle."""
    with database.connect() as connection:
        query = _query(_middle(count))
        bound = query.select.statement.params(query.parameters)
        compiled: Any = bound.compile(connection, compile_kwargs={"literal_binds": True})
        if connection.dialect.name == "sqlite":
            return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")]
        return [row[0] for row in connection.exec_driver_sql(f"EXPLAIN {compiled}".replace("%%", "%"))]


def _middle(count: int) -> Position:
    return Position(_START + timedelta(seconds=count // 2), "power")


def _query(after: Position | None) -> queries.Query:
    return queries.readings_page(_DEVICE, start=None, end=None, after=after, limit=_PAGE)
