"""The store of devices and readings, on SQLAlchemy Core. Methods require the owner, or a device read with it."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import starmap
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select
from sqlalchemy.exc import IntegrityError

from api.database.connections import Database
from api.database.engine import write_transaction
from api.devices.cursors import Position
from api.devices.models import Device, Everyone, IdempotencyKey, NewDevice, Owner, OwnerScope, Reading

from . import queries
from .sample_data import sample_devices
from .tables import devices, idempotency_keys, owners, readings, secret_keys


class VersionMismatch(Exception):
    """The device exists, but with a version that the caller did not allow."""


class IdempotencyKeyReused(Exception):
    """The idempotency key was already used with another body."""


# Long enough for a device that was offline overnight.
_IDEMPOTENCY_KEY_LIFETIME = timedelta(hours=24)
# How many expired keys the insertion of a new one deletes: more than one, so that the table shrinks; few, so that no
# request is slow.
_MAX_EXPIRED_DELETED = 100


def new_device_id() -> str:
    """Return an id of 80 random bits, too many to guess."""
    return f"dev_{secrets.token_hex(10)}"


class DeviceStore:
    """The devices and readings of all owners, in a SQLite or PostgreSQL database whose schema is up to date.

    With `sample_data`, each owner gets the sample devices on their first request. `now` returns the current time, in
    UTC.

    Every method commits before it returns, and changes nothing if it raises. All may raise SQLAlchemy's DBAPIError, and
    its TimeoutError if no connection becomes free.
    """

    def __init__(
        self, database: Database, *, sample_data: bool = False, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self._sample_data = sample_data
        self._now = now
        self._cursor_key: bytes | None = None

    def close(self) -> None:
        """Close this process's connections to the database."""
        self._database.close()

    def cursor_key(self) -> bytes:
        """Return the key that authenticates cursors, one per database; it is read once and then cached."""
        if self._cursor_key is None:
            query = select(secret_keys.c.key).where(secret_keys.c.purpose == "cursors")
            with self._database.connect() as connection:
                self._cursor_key = connection.execute(query).scalar_one()
        return self._cursor_key

    def list_devices(
        self,
        owner_scope: OwnerScope,
        *,
        kind: str | None = None,
        status: str | None = None,
        after: Position | None = None,
        limit: int,
    ) -> list[Device]:
        """Return at most `limit` devices that follow `after`, the oldest first."""
        query = queries.devices_page(owner_scope, kind=kind, status=status, after=after, limit=limit)
        with self._database.connect() as connection:
            rows = query.fetch_all(connection)
        found = list(starmap(Device, rows))
        if not found and not isinstance(owner_scope, Everyone) and self._add_sample_devices_once(owner_scope):
            return self.list_devices(owner_scope, kind=kind, status=status, after=after, limit=limit)
        return found

    def get_device(self, owner_scope: OwnerScope, device_id: str) -> Device | None:
        """Return a device; None if there is no such device."""
        with self._database.connect() as connection:
            return _get_device(connection, owner_scope, device_id)

    def create_device(self, owner: Owner, new: NewDevice, idempotency_key: IdempotencyKey | None = None) -> Device:
        """Create a device and return it.

        If the owner used `idempotency_key` within the last 24 hours, create nothing and return the device of that
        request as it was created. Raises IdempotencyKeyReused if that request had another body.
        """
        self._add_sample_devices_once(owner)
        now = self._now()
        device = Device(id=new_device_id(), created_at=now, last_seen_at=None, **asdict(new))
        with write_transaction(self._database) as connection:
            earlier = None
            if idempotency_key is not None:
                earlier = _save_idempotency_key(connection, owner, idempotency_key, device)
            if earlier is None:
                _insert_device(connection, owner, device)
                return device
        # The fingerprint covers all other members, so `new` has the same ones as the first request.
        return Device(id=earlier.device_id, created_at=earlier.created_at, last_seen_at=None, **asdict(new))

    def change_device(
        self,
        owner: Owner,
        device_id: str,
        changes: Mapping[str, str | None],
        *,
        if_versions: frozenset[int] | None = None,
    ) -> Device | None:
        """Change the members in `changes` and return the device; None if there is no such device.

        Raises VersionMismatch if the device's version is not in `if_versions`; None allows any version.
        """
        if not changes:
            device = self.get_device(owner, device_id)
            if device is not None and if_versions is not None and device.version not in if_versions:
                raise VersionMismatch
            return device
        with write_transaction(self._database) as connection:
            row = connection.execute(queries.update_device(owner, device_id, if_versions, changes)).one_or_none()
            if row is not None:
                return Device._make(row)
            _raise_if_exists(connection, owner, device_id)
            return None

    def delete_device(self, owner: Owner, device_id: str, *, if_versions: frozenset[int] | None = None) -> bool:
        """Delete a device and its readings; return whether it existed. Raises VersionMismatch like `change_device`."""
        with write_transaction(self._database) as connection:
            if connection.execute(queries.delete_device(owner, device_id, if_versions)).rowcount:
                return True
            _raise_if_exists(connection, owner, device_id)
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
        """Return at most `limit` of a device's readings in [start, end) that follow `after`, the newest first."""
        query = queries.readings_page(device.id, start=start, end=end, after=after, limit=limit)
        with self._database.connect() as connection:
            rows = query.fetch_all(connection)
        return list(starmap(Reading, rows))

    def add_readings(self, owner: Owner, device_id: str, readings: Sequence[Reading]) -> int | None:
        """Add readings, set `last_seen_at` and return how many were new; None if there is no such device.

        A reading whose time and metric already exist is skipped, and the existing one is kept.
        """
        with write_transaction(self._database) as connection:
            # This update locks the device's row: no other request deletes it, or adds readings, until the commit.
            if connection.execute(queries.update_last_seen(owner, device_id, self._now())).one_or_none() is None:
                return None
            return _insert_readings(connection, device_id, readings)

    def _add_sample_devices_once(self, owner: Owner) -> bool:
        """Add the sample devices on the owner's first request; return whether this is the first request."""
        if not self._sample_data:
            return False
        known = select(owners).where(owners.c.issuer == owner.issuer, owners.c.subject == owner.subject)
        with self._database.connect() as connection:
            if connection.execute(known).first() is not None:
                return False
        now = self._now()
        try:
            with write_transaction(self._database) as connection:
                # First, so that the second of two concurrent requests fails here, before it adds devices.
                connection.execute(insert(owners), {**owner._asdict(), "created_at": now})
                for device, samples in sample_devices(now, new_device_id):
                    _insert_device(connection, owner, device)
                    if samples:
                        _insert_readings(connection, device.id, samples)
        except IntegrityError:
            pass  # a concurrent request has added them
        return True


def _get_device(connection: Connection, owner_scope: OwnerScope, device_id: str) -> Device | None:
    query = queries.device_by_id(owner_scope, device_id)
    found = list(starmap(Device, query.fetch_all(connection)))
    return found[0] if found else None


def _raise_if_exists(connection: Connection, owner: Owner, device_id: str) -> None:
    """Raise VersionMismatch if the device exists: the statement then found no row because of its version."""
    if _get_device(connection, owner, device_id) is not None:
        raise VersionMismatch


def _insert_device(connection: Connection, owner: Owner, device: Device) -> None:
    connection.execute(insert(devices), {**device._asdict(), **owner._asdict()})


def _insert_readings(connection: Connection, device_id: str, new: Sequence[Reading]) -> int:
    rows = [{"device_id": device_id, **one._asdict()} for one in new]
    statement = queries.insert_or_ignore(connection.dialect.name, readings)
    return connection.execute(statement, rows, execution_options={"preserve_rowcount": True}).rowcount


def _save_idempotency_key(
    connection: Connection, owner: Owner, idempotency_key: IdempotencyKey, device: Device
) -> Row[*tuple[Any, ...]] | None:
    """Save the key with the id of `device`; if it is already saved, return its row instead.

    The second of two concurrent requests waits here until the first commits. Raises IdempotencyKeyReused.
    """
    expired = device.created_at - _IDEMPOTENCY_KEY_LIFETIME
    is_this_key = queries.matches_idempotency_key(owner.issuer, owner.subject, idempotency_key.key)
    connection.execute(delete(idempotency_keys).where(*is_this_key, idempotency_keys.c.created_at < expired))
    for old in connection.execute(queries.expired_idempotency_keys(expired, _MAX_EXPIRED_DELETED)).all():
        connection.execute(delete(idempotency_keys).where(*queries.matches_idempotency_key(*old)))
    inserted = connection.execute(
        queries.insert_or_ignore(connection.dialect.name, idempotency_keys).returning(idempotency_keys.c.key),
        {**owner._asdict(), **asdict(idempotency_key), "device_id": device.id, "created_at": device.created_at},
    )
    if inserted.first() is not None:
        return None
    earlier = connection.execute(select(idempotency_keys).where(*is_this_key)).one()
    if earlier.fingerprint != idempotency_key.fingerprint:
        raise IdempotencyKeyReused
    return earlier
