"""Upgrade the database schema by its migrations, and check whether it is current."""

from functools import cache

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from .engine import open_engine, write_transaction

_SCRIPTS = "api.database:migrations"
# An arbitrary number that nothing else in the database uses as an advisory lock.
_SCHEMA_LOCK = 0x0DE71CE5


def upgrade(database_url: str) -> None:
    """Apply the migrations that a database lacks, all in one transaction.

    A schema of a newer version is left as it is. Concurrent upgrades are safe: one migrates, the others wait for it.

    Raises SQLAlchemyError if the database cannot be reached or rejects a statement.
    """
    engine = open_engine(database_url)
    try:
        with write_transaction(engine) as connection:
            if connection.dialect.name == "postgresql":
                # Wait for another upgrade without the limit that requests have.
                connection.execute(text("SET LOCAL lock_timeout = 0"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _SCHEMA_LOCK})
            if not _is_ahead(connection):
                config = _config()
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
    finally:
        engine.dispose()


def schema_is_current(engine: Engine) -> bool:
    """Return whether the schema is the one that this code needs, or a newer one.

    A newer one is current because the old processes keep serving after the upgrade in a rolling deployment.

    Raises SQLAlchemyError if the database cannot be reached.
    """
    _, head = _known_revisions()
    with engine.connect() as connection:
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
