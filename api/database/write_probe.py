"""`WriteProbe`: whether the database can be written, tried at most once in a few seconds."""

import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import OperationalError

from .connections import Database

# However many probes arrive, a process writes once in so many seconds.
INTERVAL_SECONDS = 5.0
# SQLite's lock is waited for no longer: probes have limits of a second, often.
_LOCK_WAIT_MILLISECONDS = 200
_SQLITE_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")


class WriteProbe:
    """Tries to write, and remembers the outcome. Thread-safe; concurrent callers do not wait for each other's try."""

    def __init__(self, database: Database, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._tried_at: float | None = None
        self._is_writable = True

    def is_writable(self) -> bool:
        """Return whether the last try, at most 5 seconds ago, could write.

        Raises SQLAlchemyError if the database cannot be reached.
        """
        if self._lock.acquire(blocking=False):
            try:
                now = self._monotonic()
                if self._tried_at is None or now - self._tried_at >= INTERVAL_SECONDS:
                    self._is_writable = self._try()
                    self._tried_at = now
            finally:
                self._lock.release()
        return self._is_writable

    def _try(self) -> bool:
        if self._database.engine.dialect.name == "sqlite":
            return self._write_to_sqlite()
        with self._database.connect() as connection:
            # No write: PostgreSQL itself says whether it takes any (a standby and a read-only server do not), and stops
            # if its disk is full. A write would need a table of its own, or wait for the locks of a migration.
            return bool(connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "off")

    def _write_to_sqlite(self) -> bool:
        with self._database.connect() as connection:
            default = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {_LOCK_WAIT_MILLISECONDS}")
            try:
                # A number in the file's header that SQLite leaves to applications, and this one does not read. Writing
                # it touches no row, and the file does not grow.
                number = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
                connection.exec_driver_sql(f"PRAGMA user_version = {(number + 1) % 1_000}")
            except OperationalError as exc:
                code = getattr(exc.orig, "sqlite_errorname", "")
                # Somebody else is writing: the last outcome stands.
                return self._is_writable if code.startswith(_SQLITE_BUSY) else False
            finally:
                connection.exec_driver_sql(f"PRAGMA busy_timeout = {default}")
        return True
