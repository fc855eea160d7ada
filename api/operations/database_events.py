"""Counts and logs what the engine reports about the connections to the database."""

import structlog

from api.database.events import DatabaseEvents

from .metrics import (
    DATABASE_CONNECTIONS_IN_USE,
    DATABASE_CONNECTIONS_LIMIT,
    DATABASE_REFUSED,
    DATABASE_UP,
    DATABASE_WAIT_SECONDS,
)

_log = structlog.stdlib.get_logger()
_connections_in_use = DATABASE_CONNECTIONS_IN_USE.labels()


class RecordedDatabaseEvents(DatabaseEvents):
    """Count and log what the engine reports. Both are about this process."""

    def limited(self, connections: int) -> None:
        """Set the limit. The database counts as up until a use fails."""
        DATABASE_CONNECTIONS_LIMIT.set(connections)
        DATABASE_UP.set(1)

    def in_use(self, connections: int) -> None:
        """Set the number of connections in use."""
        _connections_in_use.set(connections)

    def waited(self, seconds: float) -> None:
        """Record the time that a use waited."""
        DATABASE_WAIT_SECONDS.observe(seconds)

    def refused(self) -> None:
        """Count a refused use."""
        DATABASE_REFUSED.inc()

    def lost(self) -> None:
        """Log the beginning of an outage; `database_unavailable` gives the cause for each request."""
        DATABASE_UP.set(0)
        _log.error("database_lost")

    def found(self) -> None:
        """Log the end of an outage."""
        DATABASE_UP.set(1)
        _log.warning("database_found")
