"""Fixtures: databases of each kind that the API knows, empty ones and ones with its tables."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text

from api.database.schema import upgrade

POSTGRESQL = os.environ.get("TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")
KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))]
# What tests write; the rest is what a migration made.
_WRITTEN = "devices, readings, owners, idempotency_keys"


@contextmanager
def postgresql_schema() -> Iterator[str]:
    """Give the address of an empty schema of PostgreSQL, and drop it at the end."""
    schema = f"test_{uuid4().hex}"
    with _administrating(f"CREATE SCHEMA {schema}"):
        pass
    try:
        yield f"{POSTGRESQL}?options=-csearch_path%3D{schema}"
    finally:
        with _administrating(f"DROP SCHEMA {schema} CASCADE"):
            pass


@contextmanager
def _administrating(statement: str, url: str = POSTGRESQL) -> Iterator[None]:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(statement))
        yield
    finally:
        engine.dispose()


@pytest.fixture(params=KINDS)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the address of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    with postgresql_schema() as url:
        yield url


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def _postgresql_tables() -> Iterator[str]:
    with postgresql_schema() as url:
        upgrade(url)
        yield url


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the address of a database with the API's tables and nothing in them, of each kind in turn."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("_sqlite_template"), tmp_path / "devices.db")
        yield f"sqlite:///{tmp_path}/devices.db"
        return
    url = request.getfixturevalue("_postgresql_tables")
    yield url
    with _administrating(f"TRUNCATE {_WRITTEN}", url):
        pass
