"""`Database`: the connections of this process, kept open, limited in number, each used by one thread at a time."""

import os
import select
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
from sqlalchemy.exc import NotSupportedError
from sqlalchemy.pool import ConnectionPoolEntry

from .uses import ConnectionUses, Use

# Keys in the dictionary that SQLAlchemy keeps for each connection.
_SOCKET, _POLL = "device_api_socket", "device_api_poll"


class Database:
    """The connections of this process to one database. Thread-safe.

    `engine` must have a NullPool: the connections are kept here, as objects of SQLAlchemy that are ready to be used.
    A pool of SQLAlchemy makes them anew for each use: 15 % of the CPU time of GET /v1/devices under gunicorn.
    """

    def __init__(self, engine: Engine, uses: ConnectionUses) -> None:
        self.engine = engine
        self._uses = uses
        # The connection that was used last is used next: what it needs may still be in the processor's cache.
        self._idle: list[Connection] = []
        self._of_parent: list[Connection] = []
        # How often a connection was lost, or became useless by a migration. Those from before the last time may be so,
        # too, and are not used again.
        self._losses = 0
        _INSTANCES.add(self)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Yield a connection. Each statement commits by itself; `write_transaction` begins a transaction.

        The connection is kept as the block leaves it. So the block reads all rows of its results, ends a transaction
        that it begins with a statement, and sets no execution options. If it raises, a transaction is rolled back.

        Raises ConnectionsInUseError if no connection is free; see `ConnectionUses.begin`.
        """
        use = self._uses.begin()
        connection, losses = None, self._losses
        try:
            connection = self._take(use)
            yield connection
        except BaseException as exc:
            if connection is not None:
                _roll_back(connection)
            if isinstance(exc, NotSupportedError):
                # PostgreSQL's "cached plan must not change result type": a migration has changed the type of a column,
                # and the connection would refuse each statement that psycopg has prepared on it before.
                self._losses += 1
                self.close()
            raise
        finally:
            try:
                use.has_failed = connection is None or connection.invalidated
                if connection is not None:
                    # First: the next use of this connection must not be shut down for this one.
                    self._uses.unwatch(use)
                    self._give_back(connection, losses)
            finally:
                self._uses.end(use)

    def close(self) -> None:
        """Close the connections that are not in use. Later uses open new ones."""
        while (connection := self._pop_idle()) is not None:
            _discard(connection)

    def after_fork_in_child(self) -> None:
        """Forget the parent's connections without closing them: the parent goes on to use them."""
        self._of_parent += self._idle
        self._idle = []

    def _take(self, use: Use) -> Connection:
        """Return an idle connection that the server has not closed, or a new one."""
        while (connection := self._pop_idle()) is not None:
            poll = connection.info.get(_POLL)
            if poll is None:  # without `watch_sockets`
                return connection
            if not poll.poll(0):
                self._uses.watch(use, connection.info[_SOCKET])
                return connection
            _discard(connection)
        return self.engine.connect()

    def _pop_idle(self) -> Connection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _give_back(self, connection: Connection, losses: int) -> None:
        """Keep a connection that was taken after so many losses, or close it."""
        if connection.invalidated and losses == self._losses:
            self._losses += 1
            self.close()
        if connection.closed or losses != self._losses:
            _discard(connection)
        else:
            self._idle.append(connection)


def _roll_back(connection: Connection) -> None:
    """Roll back what the connection may have begun; a connection with which that fails is invalidated."""
    try:
        connection.rollback()
        # By the driver, too: after a COMMIT that failed, there is no transaction any more for SQLAlchemy. It would
        # connect again in place of a lost connection.
        if not connection.invalidated:
            connection.connection.rollback()
    except Exception:  # noqa: BLE001  # the driver's own errors are of any class
        connection.invalidate()


def _discard(connection: Connection) -> None:
    """Close a connection, without a ROLLBACK that a lost one could not send."""
    if not connection.closed:
        connection.invalidate()
        connection.close()


def watch_sockets(engine: Engine, uses: ConnectionUses) -> None:
    """Let `uses` end long uses of psycopg's connections, and `Database` notice connections that the server has closed.

    Instead of a ping before each use, which costs a round trip, a look at the socket: an idle connection has nothing to
    read, unless the server has ended it. If the server vanished without closing it, TCP's keepalives end it, which the
    look notices too. A server that hangs is noticed by neither a ping nor a look, but by `uses`.
    """

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Dialect, record: ConnectionPoolEntry, args: list[Any], parameters: dict[str, Any]) -> Any:
        connection: Any = dialect.connect(*args, **parameters)
        # A duplicate, which nobody else closes: the number of a closed socket may already be another one's.
        number = os.dup(connection.fileno())
        record.info[_SOCKET] = number
        record.info[_POLL] = poll = select.poll()
        poll.register(number, select.POLLIN)
        # SQLAlchemy asks new connections a few questions before it returns them.
        use = uses.of_this_thread()
        if use is not None:
            uses.watch(use, number)
        return connection

    @event.listens_for(engine, "close")
    def close_socket(_connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        number = record.info.pop(_SOCKET, None)
        if number is not None:
            uses.close_socket(number)


_INSTANCES: weakref.WeakSet[Database] = weakref.WeakSet()


def _forget_connections_of_parent() -> None:
    for database in _INSTANCES:
        database.after_fork_in_child()


os.register_at_fork(after_in_child=_forget_connections_of_parent)
