"""`LimitedPool`: a pool of connections whose uses are limited in number and in time."""

import os
import select
from typing import Any, cast

from sqlalchemy import Engine, QueuePool, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from .uses import ConnectionUses

# Keys in the dictionaries that SQLAlchemy keeps: `info` for each connection, `record_info` for each place in the pool.
_SOCKET, _POLL, _USE = "device_api_socket", "device_api_poll", "device_api_use"


class LimitedPool(QueuePool):
    """A QueuePool that takes a place in `uses` for each connection in use. Call `set_up` before the first use."""

    uses: ConnectionUses

    def connect(self) -> PoolProxiedConnection:
        """Return a connection. Raises ConnectionsInUseError; see `ConnectionUses.begin`."""
        use = self.uses.begin()
        try:
            connection = super().connect()
            cast("dict[str, Any]", connection.record_info)[_USE] = use
        except BaseException:
            use.has_failed = True
            self.uses.end(use)
            raise
        return connection

    def recreate(self) -> "LimitedPool":
        """Return a new pool with the same settings; Engine.dispose() uses it from then on."""
        pool = cast("LimitedPool", super().recreate())
        pool.uses = self.uses
        return pool


def set_up(engine: Engine, uses: ConnectionUses) -> None:
    """Let the engine's LimitedPool count in `uses`."""
    cast("LimitedPool", engine.pool).uses = uses

    @event.listens_for(engine, "checkin")
    def end_use(_connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        use = cast("dict[str, Any]", record.record_info).pop(_USE, None)
        if use is not None:
            uses.end(use)

    @event.listens_for(engine, "handle_error")
    def note_lost_connection(context: ExceptionContext) -> None:
        use = uses.of_this_thread()
        if context.is_disconnect and use is not None:
            use.has_failed = True


def watch_sockets(engine: Engine, uses: ConnectionUses) -> None:
    """Let `uses` end the long uses of psycopg's connections, and replace connections that the server has closed.

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

    @event.listens_for(engine, "checkout")
    def look_at_socket(
        _connection: DBAPIConnection, record: ConnectionPoolEntry, _proxied: PoolProxiedConnection
    ) -> None:
        if record.info[_POLL].poll(0):
            raise DisconnectionError("The server has closed the connection.")
        use = uses.of_this_thread()
        if use is not None:
            uses.watch(use, record.info[_SOCKET])

    @event.listens_for(engine, "close")
    def close_socket(_connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        number = record.info.pop(_SOCKET, None)
        if number is not None:
            uses.close_socket(number)
