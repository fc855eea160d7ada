"""Devices and readings in a database, through SQLAlchemy Core; every query names the owner it is about."""

import secrets
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, create_engine, event, insert, literal, select, text, tuple_
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from .cursors import Position
from .models import Device, Owner, Reading
from .sample_data import sample_devices
from .tables import UtcDateTime, devices, metadata, owners, readings

# A writer on SQLite waits this long for another one before it gives up.
_SQLITE_BUSY_MILLISECONDS = 5_000
# Any number will do, as long as it is ours alone in the database.
_SCHEMA_LOCK = 0x0DE71CE5

_DEVICE_COLUMNS = tuple(devices.c[name.name] for name in fields(Device))
_READING_COLUMNS = tuple(readings.c[name.name] for name in fields(Reading))


def new_device_id() -> str:
    """Return an id that nobody can guess: 80 random bits."""
    return f"dev_{secrets.token_hex(10)}"


def open_engine(database_url: str) -> Engine:
    """Return an engine for a database; it connects when it is first used, in each process anew."""
    # hide_parameters: an error's text is logged, and the parameters are our callers' data.
    engine = create_engine(make_url(database_url), hide_parameters=True, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # WAL lets readers read while one writes; SQLite ignores foreign keys unless told otherwise.
    for pragma in (
        f"busy_timeout = {_SQLITE_BUSY_MILLISECONDS}",
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


class DeviceStore:
    """The devices and readings of all owners.

    `sample_data` gives each new owner the sample devices, once. `now` tells the time, in UTC.
    """

    def __init__(
        self, engine: Engine, *, sample_data: bool = False, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._engine = engine
        self._sample_data = sample_data
        self._now = now

    def create_tables(self) -> None:
        """Create what is missing; safe while other processes do the same."""
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                # "IF NOT EXISTS" alone is a race there: two at once can both find nothing.
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _SCHEMA_LOCK})
            elif connection.dialect.name == "sqlite":
                # Take the write lock first: a transaction that began as a reader cannot wait for it.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            metadata.create_all(connection)
        # A process that forks from here on must not share this connection.
        self.close()

    def close(self) -> None:
        """Close the connections of this process."""
        self._engine.dispose()

    def is_reachable(self) -> bool:
        """Say whether the database answers, and has the tables."""
        try:
            with self._engine.connect() as connection:
                connection.execute(select(devices.c.id).limit(1))
        except SQLAlchemyError:
            return False
        return True

    def list_devices(
        self,
        owner: Owner,
        *,
        kind: str | None = None,
        status: str | None = None,
        after: Position | None = None,
        limit: int,
    ) -> list[Device]:
        """Return an owner's devices from `after` on, the oldest first."""
        query = (
            select(*_DEVICE_COLUMNS)
            .where(devices.c.issuer == owner.issuer, devices.c.subject == owner.subject)
            .order_by(devices.c.created_at, devices.c.id)
            .limit(limit)
        )
        if kind is not None:
            query = query.where(devices.c.kind == kind)
        if status is not None:
            query = query.where(devices.c.status == status)
        if after is not None:
            query = query.where(tuple_(devices.c.created_at, devices.c.id) > _bound(after))
        with self._engine.connect() as connection:
            found = [Device(**row) for row in connection.execute(query).mappings()]
        if not found and self._sample_data and self._welcome(owner):
            return self.list_devices(owner, kind=kind, status=status, after=after, limit=limit)
        return found

    def get_device(self, owner: Owner, device_id: str) -> Device | None:
        """Return one of an owner's devices; None where there is none such, or it is another's."""
        query = select(*_DEVICE_COLUMNS).where(
            devices.c.id == device_id, devices.c.issuer == owner.issuer, devices.c.subject == owner.subject
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else Device(**row)

    def list_readings(
        self,
        device: Device,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        after: Position | None = None,
        limit: int,
    ) -> list[Reading]:
        """Return a device's readings from `start` on and before `end`, the newest first, those after `after`."""
        query = (
            select(*_READING_COLUMNS)
            .where(readings.c.device_id == device.id)
            .order_by(readings.c.time.desc(), readings.c.metric.desc())
            .limit(limit)
        )
        if start is not None:
            query = query.where(readings.c.time >= start)
        if end is not None:
            query = query.where(readings.c.time < end)
        if after is not None:
            query = query.where(tuple_(readings.c.time, readings.c.metric) < _bound(after))
        with self._engine.connect() as connection:
            return [Reading(**row) for row in connection.execute(query).mappings()]

    def _welcome(self, owner: Owner) -> bool:
        """Give an owner who was never here the sample devices; say whether that was so."""
        now = self._now()
        known = select(owners).where(owners.c.issuer == owner.issuer, owners.c.subject == owner.subject)
        with self._engine.connect() as connection:
            if connection.execute(known).first() is not None:
                return False
        try:
            with self._engine.begin() as connection:
                # First, so that of two requests at once one fails here and leaves nothing behind.
                connection.execute(
                    insert(owners), {"issuer": owner.issuer, "subject": owner.subject, "created_at": now}
                )
                self._insert_samples(connection, owner, now)
        except IntegrityError:
            pass  # the other request has just given them
        return True

    @staticmethod
    def _insert_samples(connection: Connection, owner: Owner, now: datetime) -> None:
        for device, samples in sample_devices(now, new_device_id):
            connection.execute(insert(devices), {**_row(device), "issuer": owner.issuer, "subject": owner.subject})
            if samples:
                connection.execute(insert(readings), [{**_row(sample), "device_id": device.id} for sample in samples])


def _row(record: Device | Reading) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _bound(position: Position) -> ColumnElement[tuple[datetime, str]]:
    return tuple_(literal(position.time, UtcDateTime), literal(position.word))
