"""`ConnectionUses`: limits how many connections are in use, and ends uses that last too long."""

import os
import socket
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from .events import DatabaseEvents

# While all connections are in use, a request waits for one only if the oldest use began at most this long ago.
BUSY_SECONDS = 0.5
# A use of a PostgreSQL connection that lasts longer is ended. Nothing else notices a suspended server: its kernel still
# acknowledges what is sent. Longer than statement_timeout; and requests have to be answered within 5 s.
USE_LIMIT_SECONDS = 4.0


class ConnectionsInUseError(PoolTimeoutError):
    """All connections are in use, and have been for so long that waiting would block the server's threads."""


class Use:
    """One use of a connection, from before it is taken until it is given back."""

    __slots__ = ("has_failed", "socket_number", "started_at")

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        # The file descriptor to shut down if the use lasts too long; None for SQLite, and while connecting.
        self.socket_number: int | None = None
        # Whether connecting failed or the connection was lost.
        self.has_failed = False


class ConnectionUses:
    """The uses of connections in this process. Thread-safe; a forked process begins with none.

    At most `limit` are in progress at once, so a database that hangs blocks no more threads than that.
    """

    def __init__(self, limit: int, events: DatabaseEvents, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._events = events
        self._monotonic = monotonic
        self._reset()
        _INSTANCES.add(self)
        events.limited(limit)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._uses: dict[Use, None] = {}  # in the order of their beginning
        self._of_thread = threading.local()
        self._watchdog: threading.Thread | None = None
        self._is_up = True
        self._answered_at = 0.0

    def begin(self) -> Use:
        """Begin a use in this thread; if all connections are in use, wait at most half a second for one of them.

        Raises ConnectionsInUseError after that time, and at once if the oldest use is already older than that.
        """
        use, waited_seconds, in_use = self._wait_for_connection()
        if waited_seconds:
            self._events.waited(waited_seconds)
        if use is None:
            self._events.refused()
            raise ConnectionsInUseError("All database connections are in use.")
        self._of_thread.use = use
        self._events.in_use(in_use)
        return use

    def _wait_for_connection(self) -> tuple[Use | None, float, int]:
        """Return a use, or None if there is no connection for it; the seconds waited; the number of uses."""
        arrived_at = now = self._monotonic()
        with self._changed:
            while len(self._uses) >= self._limit:
                oldest = next(iter(self._uses))
                patience_seconds = min(oldest.started_at, arrived_at) + BUSY_SECONDS - now
                if patience_seconds <= 0:
                    return None, now - arrived_at, len(self._uses)
                self._changed.wait(patience_seconds)
                now = self._monotonic()
            use = Use(now)
            self._uses[use] = None
            return use, now - arrived_at, len(self._uses)

    def of_this_thread(self) -> Use | None:
        """Return the use that this thread began last, even if it has ended."""
        return getattr(self._of_thread, "use", None)

    def watch(self, use: Use, socket_number: int) -> None:
        """Shut down this socket if the use lasts longer than 4 seconds; its thread then gets an OperationalError."""
        with self._changed:
            use.socket_number = socket_number
            if self._watchdog is None:
                watchdog = threading.Thread(target=self._watch, name="database-watchdog", daemon=True)
                with suppress(RuntimeError):  # no more threads; the next use tries again
                    watchdog.start()
                    self._watchdog = watchdog

    def unwatch(self, use: Use) -> None:
        """Shut down the socket of this use no longer."""
        if use.socket_number is not None:
            with self._changed:
                use.socket_number = None

    def close_socket(self, socket_number: int) -> None:
        """Close the socket of a connection that is being closed, and watch it no longer."""
        with self._changed:
            for use in self._uses:
                if use.socket_number == socket_number:
                    use.socket_number = None
            os.close(socket_number)

    def end(self, use: Use) -> None:
        """End a use; its connection has been given back. Does nothing if it has ended."""
        with self._changed:
            if use not in self._uses:
                return
            del self._uses[use]
            in_use = len(self._uses)
            self._changed.notify()
            was_up = self._is_up
            if not use.has_failed:
                self._is_up, self._answered_at = True, self._monotonic()
            # At the end of an outage, uses that began in it still fail after the first ones that succeed.
            elif use.started_at > self._answered_at:
                self._is_up = False
            is_up = self._is_up
        self._events.in_use(in_use)
        if was_up and not is_up:
            self._events.lost()
        elif is_up and not was_up:
            self._events.found()

    def _watch(self) -> None:
        """Shut down the sockets of uses that last too long; end when there has been no use for 4 seconds."""
        changed = self._changed
        while True:
            with changed:
                now = self._monotonic()
                # A use that begins while this thread sleeps cannot last too long before it wakes up.
                wake_at = now + USE_LIMIT_SECONDS
                if not self._uses:
                    self._watchdog = None
                    return
                for use in self._uses:
                    if use.socket_number is None:
                        continue
                    if use.started_at + USE_LIMIT_SECONDS > now:
                        wake_at = use.started_at + USE_LIMIT_SECONDS
                        break
                    _shut_down(use.socket_number)
                    use.socket_number = None
            time.sleep(wake_at - now)


def _shut_down(socket_number: int) -> None:
    connection = socket.socket(fileno=socket_number)
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the server has closed it
    finally:
        connection.detach()


_INSTANCES: weakref.WeakSet[ConnectionUses] = weakref.WeakSet()


def _reset_in_forked_process() -> None:
    # Threads do not survive a fork, and a lock that another thread held stays held.
    for uses in _INSTANCES:
        uses._reset()  # noqa: SLF001  # this module's own class


os.register_at_fork(after_in_child=_reset_in_forked_process)
