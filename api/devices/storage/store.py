"""The store of devices and readings, through SQLAlchemy Core; every query names the owner it is about."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, insert, select
from sqlalchemy.exc import IntegrityError

from api.database.engine import writing
from api.devices.cursors import Position
from api.devices.models import Device, Everyone, NewDevice, Owner, Reading, Whose

from . import queries
from .sample_data import sample_devices
from .tables import devices, idempotency_keys, owners, readings, secret_keys


class VersionMismatch(Exception):
    """The device is there, but in none of the versions that the change was meant for."""


class KeyReused(Exception):
    """An idempotency key came again with another body."""


@dataclass(frozen=True, slots=True)
class Once:
    """How a request that may be sent again is known: its key, and a digest of what it asks for."""

    key: str
    fingerprint: bytes


# Long enough for a device that was without a network overnight.
_KEY_LIFE = timedelta(hours=24)
# More than one a request, so that what expires goes faster than it comes; few, so that no request pays for many.
_EXPIRED_AT_ONCE = 100


def new_device_id() -> str:
    """Return an id that nobody can guess: 80 random bits."""
    return f"dev_{secrets.token_hex(10)}"


class DeviceStore:
    """The devices and readings of all owners, in a SQLite or PostgreSQL database whose schema is up to date.

    Every method takes the owner, or the owners, whose devices it is about; it finds no others. `sample_data` gives each
    new owner the sample devices, once. `now` tells the time, in UTC.

    All methods may raise SQLAlchemy's DBAPIError, most often since the database cannot be used. What a method changed
    when it returns is kept; when it raises, nothing was changed.
    """

    def __init__(
        self, engine: Engine, *, sample_data: bool = False, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._engine = engine
        self._sample_data = sample_data
        self._now = now
        self._cursor_key: bytes | None = None

    def close(self) -> None:
        """Close the connections of this process."""
        self._engine.dispose()

    def cursor_key(self) -> bytes:
        """Return the secret of this database that cursors are made with; read once."""
        if self._cursor_key is None:
            query = select(secret_keys.c.key).where(secret_keys.c.purpose == "cursors")
            with self._engine.connect() as connection:
                self._cursor_key = connection.execute(query).scalar_one()
        return self._cursor_key

    def list_devices(
        self,
        whose: Whose,
        *,
        kind: str | None = None,
        status: str | None = None,
        after: Position | None = None,
        limit: int,
    ) -> list[Device]:
        """Return devices from `after` on, the oldest first."""
        query = queries.devices_page(whose, kind=kind, status=status, after=after, limit=limit)
        with self._engine.connect() as connection:
            rows = connection.execute(query.statement, query.parameters).all()
        found = list(map(Device._make, rows))
        if not found and not isinstance(whose, Everyone) and self._welcome(whose):
            return self.list_devices(whose, kind=kind, status=status, after=after, limit=limit)
        return found

    def get_device(self, whose: Whose, device_id: str) -> Device | None:
        """Return a device; None where there is none such."""
        with self._engine.connect() as connection:
            return _get_device(connection, whose, device_id)

    def create_device(self, owner: Owner, new: NewDevice, once: Once | None = None) -> Device:
        """Return the device that was made; the one made before, as it was, where `once` is known.

        Raises KeyReused where its key is known for something else. A key is forgotten after a day.
        """
        self._welcome(owner)
        now = self._now()
        device = Device(id=new_device_id(), created_at=now, last_seen_at=None, **asdict(new))
        with writing(self._engine) as connection:
            known = None if once is None else _remember(connection, owner, once, device)
            if known is None:
                _insert_device(connection, owner, device)
                return device
        # What else it was made of is in the fingerprint, so it is what `new` says.
        return Device(id=known.device_id, created_at=known.created_at, last_seen_at=None, **asdict(new))

    def change_device(
        self,
        owner: Owner,
        device_id: str,
        changes: Mapping[str, str | None],
        *,
        if_versions: frozenset[int] | None = None,
    ) -> Device | None:
        """Change what `changes` names, and return the device; None where there is none such.

        Raises VersionMismatch where its version is none of `if_versions`; None stands for any.
        """
        if not changes:
            device = self.get_device(owner, device_id)
            if device is not None and if_versions is not None and device.version not in if_versions:
                raise VersionMismatch
            return device
        with writing(self._engine) as connection:
            row = connection.execute(queries.changed_device(owner, device_id, if_versions, changes)).one_or_none()
            if row is not None:
                return Device._make(row)
            _refuse_other_version(connection, owner, device_id)
            return None

    def delete_device(self, owner: Owner, device_id: str, *, if_versions: frozenset[int] | None = None) -> bool:
        """Delete a device with its readings; say whether there was one. Raises as `change_device` does."""
        with writing(self._engine) as connection:
            if connection.execute(queries.without_device(owner, device_id, if_versions)).rowcount:
                return True
            _refuse_other_version(connection, owner, device_id)
            return False

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
        query = queries.readings_page(device.id, start=start, end=end, after=after, limit=limit)
        with self._engine.connect() as connection:
            rows = connection.execute(query.statement, query.parameters).all()
        return list(map(Reading._make, rows))

    def add_readings(self, owner: Owner, device_id: str, readings: Sequence[Reading]) -> int | None:
        """Add all that are not there yet, and return how many; None where there is no such device.

        A reading is there if one of its time and metric is; that one stays. The device was seen now.
        """
        with writing(self._engine) as connection:
            # First, so that nobody deletes the device, or writes to it out of turn, until this has ended.
            if connection.execute(queries.seen_device(owner, device_id, self._now())).one_or_none() is None:
                return None
            return _insert_readings(connection, device_id, readings)

    def _welcome(self, owner: Owner) -> bool:
        """Give an owner who was never here the sample devices; say whether that was so."""
        if not self._sample_data:
            return False
        known = select(owners).where(owners.c.issuer == owner.issuer, owners.c.subject == owner.subject)
        with self._engine.connect() as connection:
            if connection.execute(known).first() is not None:
                return False
        now = self._now()
        try:
            with writing(self._engine) as connection:
                # First, so that of two requests at once one fails here and leaves nothing behind.
                connection.execute(insert(owners), {**owner._asdict(), "created_at": now})
                for device, samples in sample_devices(now, new_device_id):
                    _insert_device(connection, owner, device)
                    if samples:
                        _insert_readings(connection, device.id, samples)
        except IntegrityError:
            pass  # the other request has just given them
        return True


def _get_device(connection: Connection, whose: Whose, device_id: str) -> Device | None:
    query = queries.one_device(whose, device_id)
    row = connection.execute(query.statement, query.parameters).one_or_none()
    return None if row is None else Device._make(row)


def _refuse_other_version(connection: Connection, owner: Owner, device_id: str) -> None:
    """Raise VersionMismatch where the device that was not found for its version is there."""
    if _get_device(connection, owner, device_id) is not None:
        raise VersionMismatch


def _insert_device(connection: Connection, owner: Owner, device: Device) -> None:
    connection.execute(insert(devices), {**device._asdict(), **owner._asdict()})


def _insert_readings(connection: Connection, device_id: str, new: Sequence[Reading]) -> int:
    rows = [{"device_id": device_id, **one._asdict()} for one in new]
    statement = queries.insert_unless_known(connection.dialect.name, readings)
    return connection.execute(statement, rows, execution_options={"preserve_rowcount": True}).rowcount


def _remember(connection: Connection, owner: Owner, once: Once, device: Device) -> Row[*tuple[Any, ...]] | None:
    """Remember that `device` answers this request; return what answered it before, if anything did.

    Of two requests at once, the second waits here until the first has ended. Raises KeyReused.
    """
    forgotten = device.created_at - _KEY_LIFE
    this_key = queries.idempotency_key(owner.issuer, owner.subject, once.key)
    connection.execute(delete(idempotency_keys).where(*this_key, idempotency_keys.c.created_at < forgotten))
    for old in connection.execute(queries.old_idempotency_keys(forgotten, _EXPIRED_AT_ONCE)).all():
        connection.execute(delete(idempotency_keys).where(*queries.idempotency_key(*old)))
    remembered = connection.execute(
        queries.insert_unless_known(connection.dialect.name, idempotency_keys).returning(idempotency_keys.c.key),
        {**owner._asdict(), **asdict(once), "device_id": device.id, "created_at": device.created_at},
    )
    if remembered.first() is not None:
        return None
    known = connection.execute(select(idempotency_keys).where(*this_key)).one()
    if known.fingerprint != once.fingerprint:
        raise KeyReused
    return known
