"""Open a database by its URL, and begin write transactions."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event
from sqlalchemy.engine import make_url

from .connections import Database, watch_sockets
from .events import DatabaseEvents
from .uses import ConnectionUses

# Fewer than the threads in gunicorn.conf.py: two are left for requests that need no database, such as /livez, when all
# connections hang.
MAX_CONNECTIONS = 6

# How long a request waits for a lock: a writer on SQLite, and any request on PostgreSQL while a migration holds a lock
# on the table.
_LOCK_TIMEOUT_MILLISECONDS = 3_000
# Less than the watchdog's 4 s, so that the connection survives a slow statement.
_STATEMENT_TIMEOUT_MILLISECONDS = 3_500
_POSTGRESQL_OPTIONS = {
    # Without it, psycopg returns bytes from a database whose encoding is SQL_ASCII.
    "client_encoding": "UTF8",
    # Limits for an unreachable server, and for one whose machine vanished while connections were open: TCP's own limit
    # for those is about 15 minutes.
    # In seconds, for each address of the host; psycopg allows no less. localhost has two addresses, and requests have
    # to be answered within 5 s.
    "connect_timeout": 2,
    "keepalives_idle": 5,  # seconds
    "keepalives_interval": 5,
    "tcp_user_timeout": 10_000,  # milliseconds
}


def open_database(database_url: str, *, events: DatabaseEvents | None = None) -> Database:
    """Return a SQLite or PostgreSQL database by its URL; it connects on first use.

    It has at most MAX_CONNECTIONS connections; `Database.connect` raises ConnectionsInUseError, one of SQLAlchemy's
    TimeoutErrors, if all have been in use for half a second. Each use of a connection to PostgreSQL fails after 4
    seconds. A restart of PostgreSQL fails no use that begins after it; a failover that closes no connection fails one.

    Each statement commits by itself, so that a single SELECT is one round trip. `write_transaction` begins a
    transaction.
    """
    engine = _create_engine(database_url, f"{_STATEMENT_TIMEOUT_MILLISECONDS}ms")
    uses = ConnectionUses(MAX_CONNECTIONS, events or DatabaseEvents())
    if engine.dialect.driver == "psycopg":
        watch_sockets(engine, uses)
    return Database(engine, uses)


def open_engine_for_upgrade(database_url: str) -> Engine:
    """Return an engine whose statements may take as long as they need, and whose connections are not kept."""
    return _create_engine(database_url, "0")


def _create_engine(database_url: str, statement_timeout: str) -> Engine:
    url = make_url(database_url)
    engine = create_engine(url, poolclass=NullPool, **_options(url))
    _set_up_sessions(engine, statement_timeout)
    return engine


def _options(url: URL) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if url.get_driver_name().startswith("psycopg"):
        options = {name: value for name, value in _POSTGRESQL_OPTIONS.items() if name not in url.query}
    # hide_parameters: error texts are logged, and the parameters are callers' data.
    return {"hide_parameters": True, "isolation_level": "AUTOCOMMIT", "connect_args": options}


def _set_up_sessions(engine: Engine, statement_timeout: str) -> None:
    def set_up_sqlite(connection: Any, _record: object) -> None:
        # WAL: readers and one writer do not block each other. synchronous = NORMAL: commits survive kill -9; a power
        # cut can lose the last transactions, but never part of one. foreign_keys: off by default in SQLite. temp_store:
        # there may be no directory for temporary files.
        for pragma in (
            f"busy_timeout = {_LOCK_TIMEOUT_MILLISECONDS}",
            "journal_mode = WAL",
            "synchronous = NORMAL",
            "foreign_keys = ON",
            "temp_store = MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")

    def set_up_postgresql(connection: Any, _record: object) -> None:
        # In other zones, psycopg cannot return times near the first and last day that datetime has.
        connection.execute(
            f"SET TIME ZONE 'UTC'; SET lock_timeout = {_LOCK_TIMEOUT_MILLISECONDS};"
            f" SET statement_timeout = '{statement_timeout}'"
        )

    event.listen(engine, "connect", set_up_sqlite if engine.dialect.name == "sqlite" else set_up_postgresql)


@contextmanager
def write_transaction(database: Database | Engine) -> Iterator[Connection]:
    """Yield a connection in a write transaction; commit at the end of the block, roll back on an exception."""
    with database.connect() as connection:
        # SQLAlchemy counts a transaction from the first statement on, which has committed by itself.
        connection.rollback()
        with connection.begin():
            # On SQLite, take the write lock first: a transaction that began as a reader fails at once if it must wait
            # for the lock.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.dialect.name == "sqlite" else "BEGIN")
            yield connection
