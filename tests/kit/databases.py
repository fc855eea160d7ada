"""SQLite and PostgreSQL databases, empty or with the API's tables."""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
from sqlalchemy import Engine, create_engine, text

from api.database.connections import Database
from api.database.schema import upgrade

POSTGRESQL = os.environ.get("TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")
KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))]
# The tables that tests write to; migrations fill the others.
_WRITTEN_TABLES = ("readings", "devices", "owners", "idempotency_keys")


def create_tables(url: str) -> None:
    """Create the API's tables in an empty database; a new SQLite file is copied from a migrated template."""
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///") and not path.exists():
        path.write_bytes(_sqlite_template())
    else:
        upgrade(url)


@functools.cache
def _sqlite_template() -> bytes:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "template.db"
        upgrade(f"sqlite:///{path}")
        return path.read_bytes()


@contextmanager
def shared_tables(kind: str, directory: Path) -> Iterator[str]:
    """Create a database of this kind with the API's tables, for several tests; yield its URL."""
    if kind == "sqlite":
        url = f"sqlite:///{directory}/devices.db"
        create_tables(url)
        yield url
        return
    with postgresql_schema() as url:
        upgrade(url)
        yield url


def delete_rows(database: Database | Engine) -> None:
    """Delete all rows that tests have written. Each statement must commit by itself."""
    # Not TRUNCATE: it makes new files, which takes 15 ms. One round trip, where the driver can.
    statements = [f"DELETE FROM {table}" for table in _WRITTEN_TABLES]
    with database.connect() as connection:
        for statement in statements if connection.dialect.name == "sqlite" else ["; ".join(statements)]:
            connection.execute(text(statement))


@contextmanager
def postgresql_schema() -> Iterator[str]:
    """Create an empty schema in PostgreSQL, yield its URL, and drop it."""
    schema = f"test_{uuid4().hex}"
    engine = _postgresql_engine()
    _execute(engine, f"CREATE SCHEMA {schema}")
    try:
        # Commits need not wait for the disk: no test kills the PostgreSQL server.
        yield f"{POSTGRESQL}?options=-csearch_path%3D{schema}%20-csynchronous_commit%3Doff"
    finally:
        _execute(engine, f"DROP SCHEMA {schema} CASCADE")
        engine.dispose()


def _postgresql_engine(url: str = POSTGRESQL) -> Engine:
    return create_engine(url, isolation_level="AUTOCOMMIT")


def _execute(engine: Engine, statement: str) -> None:
    with engine.connect() as connection:
        connection.execute(text(statement))


@pytest.fixture(params=KINDS)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield the URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    with postgresql_schema() as url:
        yield url


@pytest.fixture(scope="session")
def _postgresql_tables() -> Iterator[tuple[str, Engine]]:
    with postgresql_schema() as url:
        upgrade(url)
        engine = _postgresql_engine(url)
        yield url, engine
        engine.dispose()


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield the URL of a database with the API's tables and no rows, of each kind in turn."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/devices.db"
        create_tables(url)
        yield url
        return
    url, engine = request.getfixturevalue("_postgresql_tables")
    yield url
    delete_rows(engine)
