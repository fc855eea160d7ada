"""The database's address → an engine, and transactions that write."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url

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
