"""The database: an engine for its address, transactions that write, and the migrations that bring it up to date."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url

_SCRIPTS = "api:migrations"
# Who needs what another holds waits this long before it gives up: a writer on SQLite, and on PostgreSQL any request
# while a migration has the table. Without an end, one long migration would take up all threads of a server.
_LOCK_MILLISECONDS = 5_000
# A server that is away should cost a request less than its client's patience: one that takes no connection, and one
# whose machine vanished with connections open, which TCP by itself would wait a quarter of an hour for.
_POSTGRESQL_OPTIONS = {
    "connect_timeout": 5,  # seconds, as those of the keepalives
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "tcp_user_timeout": 10_000,  # milliseconds
}
# As many as gunicorn.conf.py has threads: what goes beyond would be opened and closed for each request.
_POOL_SIZE = 8
# Any number will do, as long as it is ours alone in the database.
_SCHEMA_LOCK = 0x0DE71CE5


def open_engine(database_url: str) -> Engine:
    """Return an engine for a SQLite or PostgreSQL address; it connects when it is first used, in each process anew.

    A pooled connection is asked for a sign of life before each use, so that a restart of the server costs no request.
    """
    url = make_url(database_url)
    is_sqlite = url.get_backend_name() == "sqlite"
    options: dict[str, Any] = {}
    if url.get_driver_name().startswith("psycopg"):
        options = {name: value for name, value in _POSTGRESQL_OPTIONS.items() if name not in url.query}
    # hide_parameters: an error's text is logged, and the parameters are our callers' data.
    # A file has no server that could restart.
    engine = create_engine(
        url, hide_parameters=True, pool_pre_ping=not is_sqlite, pool_size=_POOL_SIZE, connect_args=options
    )
    event.listen(engine, "connect", _set_up_sqlite if is_sqlite else _set_up_postgresql)
    return engine


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # WAL lets readers read while one writes. With it, NORMAL keeps what was committed through the end of any process,
    # kill -9 included; a power cut may take the last transactions, but leaves no half one. SQLite ignores foreign keys
    # unless told otherwise.
    for pragma in (
        f"busy_timeout = {_LOCK_MILLISECONDS}",
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _set_up_postgresql(connection: Any, _record: object) -> None:
    # In another zone, the first and the last hours of the calendar could not be read back.
    connection.execute("SET TIME ZONE 'UTC'")
    connection.execute(f"SET lock_timeout = {_LOCK_MILLISECONDS}")
    connection.commit()


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Give a connection in a transaction that may write; commit at the end of the block, roll back on an exception."""
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            # Take the write lock first: a transaction that began as a reader cannot wait for it.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection


def upgrade(database_url: str) -> None:
    """Bring the schema of a database up to date, from nothing or from any earlier state; all of it or none of it.

    One that is ahead, since a newer version of this code was here, stays as it is.

    Several processes may do so at once: one works, and the others find it done. Raises SQLAlchemyError where the
    database cannot be reached or refuses.
    """
    _migrate(database_url, command.upgrade, "head")


def downgrade(database_url: str) -> None:
    """Take the whole schema away again, and all data with it. Raises as `upgrade` does."""
    _migrate(database_url, command.downgrade, "base")


def _migrate(database_url: str, direction: Any, revision: str) -> None:
    engine = open_engine(database_url)
    try:
        with writing(engine) as connection:
            if connection.dialect.name == "postgresql":
                # However long the other takes that is at it.
                connection.execute(text("SET LOCAL lock_timeout = 0"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _SCHEMA_LOCK})
            if direction is command.upgrade and _is_ahead(connection):
                return
            config = _config()
            config.attributes["connection"] = connection
            direction(config, revision)
    finally:
        engine.dispose()


def schema_is_current(engine: Engine) -> bool:
    """Say whether the schema is at least what this code needs.

    A schema that is ahead counts as current: during a deployment, the old processes serve on after the upgrade. Raises
    SQLAlchemyError where the database cannot be reached.
    """
    _, head = _revisions()
    with engine.connect() as connection:
        return _applied(connection) == (head,) or _is_ahead(connection)


def _is_ahead(connection: Connection) -> bool:
    """Say whether a newer version of this code has upgraded the schema."""
    known, _ = _revisions()
    return any(revision not in known for revision in _applied(connection))


def _applied(connection: Connection) -> tuple[str, ...]:
    return MigrationContext.configure(connection).get_current_heads()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", _SCRIPTS)
    return config


@cache
def _revisions() -> tuple[frozenset[str], str | None]:
    """Return all revisions that this code knows, and the newest of them."""
    scripts = ScriptDirectory.from_config(_config())
    return frozenset(script.revision for script in scripts.walk_revisions()), scripts.get_current_head()
