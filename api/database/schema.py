"""The schema: whether it is current, and the migrations that bring it up to date."""

from functools import cache
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from .engine import open_engine, writing

_SCRIPTS = "api.database:migrations"
# Any number will do, as long as it is ours alone in the database.
_SCHEMA_LOCK = 0x0DE71CE5


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
