"""Create the SQLAlchemy engine, and begin write transactions."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url

# How long a request waits for a lock: a writer on SQLite, and any request on PostgreSQL while a migration holds a lock
# on the table. Without a limit, one long migration would block all threads of a server.
_LOCK_TIMEOUT_MILLISECONDS = 5_000
# Limits for an unreachable server, and for one whose machine vanished while connections were open: TCP's own limit for
# those is about 15 minutes.
_POSTGRESQL_OPTIONS = {
    "connect_timeout": 5,  # seconds, like both keepalives
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "tcp_user_timeout": 10_000,  # milliseconds
}
# One per thread of gunicorn.conf.py: further connections would be opened and closed for each request.
_POOL_SIZE = 8


def open_engine(database_url: str) -> Engine:
    """Return an engine for a SQLite or PostgreSQL URL; it connects on first use.

    PostgreSQL's connections are tested before each use, so that a restart of the server fails no request.
    """
    url = make_url(database_url)
    is_sqlite = url.get_backend_name() == "sqlite"
    options: dict[str, Any] = {}
    if url.get_driver_name().startswith("psycopg"):
        options = {name: value for name, value in _POSTGRESQL_OPTIONS.items() if name not in url.query}
    # hide_parameters: error texts are logged, and the parameters are callers' data.
    engine = create_engine(
        url, hide_parameters=True, pool_pre_ping=not is_sqlite, pool_size=_POOL_SIZE, connect_args=options
    )
    event.listen(engine, "connect", _set_up_sqlite if is_sqlite else _set_up_postgresql)
    return engine


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # WAL: readers and one writer do not block each other. synchronous = NORMAL: commits survive kill -9; a power cut
    # can lose the last transactions, but never part of one. foreign_keys: off by default in SQLite.
    for pragma in (
        f"busy_timeout = {_LOCK_TIMEOUT_MILLISECONDS}",
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _set_up_postgresql(connection: Any, _record: object) -> None:
    # In other zones, psycopg cannot return times near the first and last day that datetime has.
    connection.execute("SET TIME ZONE 'UTC'")
    connection.execute(f"SET lock_timeout = {_LOCK_TIMEOUT_MILLISECONDS}")
    connection.commit()


@contextmanager
def write_transaction(engine: Engine) -> Iterator[Connection]:
    """Yield a connection in a write transaction; commit at the end of the block, roll back on an exception."""
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            # Take the write lock first: SQLite fails at once if a transaction that began as a reader must wait for it.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection
