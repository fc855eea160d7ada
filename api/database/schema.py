"""Upgrade the database schema by its migrations, and check whether it is current."""

import time
from collections.abc import Callable
from functools import cache

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from .connections import Database
from .engine import open_engine_for_upgrade, write_transaction

_SCRIPTS = "api.database:migrations"
# An arbitrary number that nothing else in the database uses as an advisory lock.
_SCHEMA_LOCK = 0x0DE71CE5
# How long a migration waits for a lock. Whoever wants the same table queues behind it, readers too.
_LOCK_TIMEOUT_MILLISECONDS = 1_000
# In between, the requests that were queued go on. About two minutes in all.
_LOCK_ATTEMPTS = 30
_LOCK_PAUSE_SECONDS = 3
_LOCK_NOT_AVAILABLE = "55P03"
_SQLITE_BUSY = "SQLITE_BUSY"


class SchemaLockedError(Exception):
    """Another transaction held a lock that the upgrade needs, for about two minutes."""


def upgrade(
    database_url: str,
    *,
    revision: str = "head",
    on_wait: Callable[[str], None] = lambda _sentence: None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Apply the migrations up to `revision` that a database lacks, all in one transaction.

    A schema of a newer version is left as it is. Concurrent upgrades are safe: one migrates, the others wait for it.

    A statement waits for a lock for a second at most. Then the transaction is rolled back, `on_wait` is called with a
    sentence for people, and after 3 seconds everything is tried again, 30 times in all.

    Raises SchemaLockedError if the locks were not to be had, and SQLAlchemyError if the database cannot be reached or
    rejects a statement.
    """
    engine = open_engine_for_upgrade(database_url)
    for attempt in range(1, _LOCK_ATTEMPTS + 1):
        try:
            _upgrade_once(engine, revision)
        except DBAPIError as exc:
            if not _is_lock_timeout(exc):
                raise
            if attempt == _LOCK_ATTEMPTS:
                raise SchemaLockedError(f"no lock was to be had in {_LOCK_ATTEMPTS} attempts") from exc
        else:
            return
        on_wait(
            "Waiting for a lock: another transaction uses a table that a migration changes."
            f" Trying again in {_LOCK_PAUSE_SECONDS} s (attempt {attempt + 1} of {_LOCK_ATTEMPTS})."
        )
        sleep(_LOCK_PAUSE_SECONDS)


def _upgrade_once(engine: Engine, revision: str) -> None:
    with write_transaction(engine) as connection:
        if connection.dialect.name == "postgresql":
            # Wait for another upgrade without a limit: it holds up nobody else.
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _SCHEMA_LOCK})
            connection.execute(text(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MILLISECONDS}"))
        if not _is_ahead(connection):
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)


def _is_lock_timeout(error: DBAPIError) -> bool:
    if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
        return True
    return str(getattr(error.orig, "sqlite_errorname", "")).startswith(_SQLITE_BUSY)


def schema_is_current(database: Database) -> bool:
    """Return whether the schema is the one that this code needs, or a newer one.

    A newer one is current because the old processes keep serving after the upgrade in a rolling deployment.

    Raises SQLAlchemyError if the database cannot be reached.
    """
    _, head = _known_revisions()
    with database.connect() as connection:
        return _applied_revisions(connection) == (head,) or _is_ahead(connection)


def _is_ahead(connection: Connection) -> bool:
    """Return whether a newer version of this code has upgraded the schema."""
    known, _ = _known_revisions()
    return any(revision not in known for revision in _applied_revisions(connection))


def _applied_revisions(connection: Connection) -> tuple[str, ...]:
    return MigrationContext.configure(connection).get_current_heads()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", _SCRIPTS)
    return config


@cache
def _known_revisions() -> tuple[frozenset[str], str | None]:
    """Return the ids of all migrations in this code, and the id of the newest."""
    scripts = ScriptDirectory.from_config(_config())
    return frozenset(script.revision for script in scripts.walk_revisions()), scripts.get_current_head()
