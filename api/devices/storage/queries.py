"""The SQL statements. Each list reads its rows in order from one index; tests check the query plans."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    String,
    Table,
    bindparam,
    case,
    delete,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Delete, Insert, ReturningUpdate

from api.database.compiled_select import CompiledSelect
from api.devices.cursors import Position
from api.devices.models import Device, Everyone, Owner, OwnerScope, Reading

from .tables import UtcDateTime, devices, idempotency_keys, readings

# In the order of the fields of Device and Reading, which are built from the rows by position.
DEVICE_COLUMNS = tuple(devices.c[name] for name in Device._fields)
READING_COLUMNS = tuple(readings.c[name] for name in Reading._fields)


class Query(NamedTuple):
    """A SELECT and the values of its parameters.

    The statements of the lists are built once for each combination of filters: building one for each request would make
    GET /v1/devices 31 % slower, and a page of 100 readings 23 %.
    """

    select: CompiledSelect
    parameters: dict[str, Any]

    def fetch_all(self, connection: Connection) -> Sequence[tuple[Any, ...]]:
        """Execute the SELECT and return all rows. Raises DBAPIError."""
        return self.select.fetch_all(connection, self.parameters)


def devices_page(
    owner_scope: OwnerScope, *, kind: str | None, status: str | None, after: Position | None, limit: int
) -> Query:
    """Return the query for at most `limit` devices that follow `after`, the oldest first."""
    filters = {name: value for name, value in (("kind", kind), ("status", status)) if value is not None}
    statement = _devices_page(isinstance(owner_scope, Everyone), tuple(filters), after is not None)
    parameters = {**_owner_parameters(owner_scope), **filters, **_position_parameters(after), "limit": limit}
    return Query(statement, parameters)


@cache
def _devices_page(everyone: bool, filters: tuple[str, ...], has_position: bool) -> CompiledSelect:  # noqa: FBT001  # positional: they are the key of the cache
    query = select(*DEVICE_COLUMNS)
    if not everyone:
        query = query.where(*_IS_OWNER)
    for name in filters:
        query = query.where(devices.c[name] == bindparam(name))
    if has_position:
        query = query.where(tuple_(devices.c.created_at, devices.c.id) > _POSITION)
    return CompiledSelect(query.order_by(devices.c.created_at, devices.c.id).limit(_LIMIT))


def device_by_id(owner_scope: OwnerScope, device_id: str) -> Query:
    """Return the query for one device."""
    statement = _ANY_DEVICE if isinstance(owner_scope, Everyone) else _OWN_DEVICE
    return Query(statement, {**_owner_parameters(owner_scope), "device_id": device_id})


def readings_page(
    device_id: str, *, start: datetime | None, end: datetime | None, after: Position | None, limit: int
) -> Query:
    """Return the query for at most `limit` readings in [start, end) that follow `after`, the newest first."""
    if after is not None:
        # `after` lies before `end`. With both bounds, SQLite may start at `end` and skip all rows up to `after`.
        end = None
    bounds = {name: value for name, value in (("start", start), ("end", end)) if value is not None}
    statement = _readings_page(tuple(bounds), after is not None)
    return Query(statement, {"device_id": device_id, **bounds, **_position_parameters(after), "limit": limit})


@cache
def _readings_page(bounds: tuple[str, ...], has_position: bool) -> CompiledSelect:  # noqa: FBT001  # likewise
    query = select(*READING_COLUMNS).where(readings.c.device_id == bindparam("device_id"))
    if "start" in bounds:
        query = query.where(readings.c.time >= bindparam("start", type_=UtcDateTime))
    if "end" in bounds:
        query = query.where(readings.c.time < bindparam("end", type_=UtcDateTime))
    if has_position:
        query = query.where(tuple_(readings.c.time, readings.c.metric) < _POSITION)
    return CompiledSelect(query.order_by(readings.c.time.desc(), readings.c.metric.desc()).limit(_LIMIT))


def update_device(
    owner: Owner, device_id: str, if_versions: frozenset[int] | None, changes: Mapping[str, str | None]
) -> ReturningUpdate[*tuple[Any, ...]]:
    """Return the statement that changes a device and returns its row; None in `if_versions` means any version."""
    return (
        update(devices)
        .where(devices.c.id == device_id, *_owned_by(owner), *_version_in(if_versions))
        .values(version=devices.c.version + 1, **changes)
        .returning(*DEVICE_COLUMNS)
    )


def update_last_seen(owner: Owner, device_id: str, now: datetime) -> ReturningUpdate[str]:
    """Return the statement that sets `last_seen_at`, unless it is later than `now` by another server's clock.

    It returns the device's id and locks its row in any case.
    """
    is_later = or_(devices.c.last_seen_at.is_(None), devices.c.last_seen_at < now)
    return (
        update(devices)
        .where(devices.c.id == device_id, *_owned_by(owner))
        .values(
            last_seen_at=case((is_later, literal(now, UtcDateTime)), else_=devices.c.last_seen_at),
            version=devices.c.version + case((is_later, 1), else_=0),
        )
        .returning(devices.c.id)
    )


def delete_device(owner: Owner, device_id: str, if_versions: frozenset[int] | None) -> Delete:
    """Return the statement that deletes a device and its readings; None in `if_versions` means any version."""
    return delete(devices).where(devices.c.id == device_id, *_owned_by(owner), *_version_in(if_versions))


def insert_or_ignore(dialect_name: str, table: Table) -> Insert:
    """Return the insert that skips rows whose primary key already exists."""
    if dialect_name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


def expired_idempotency_keys(created_before: datetime, limit: int) -> Select[str, str, str]:
    """Return the query that locks and returns the oldest expired keys; keys that others have locked are skipped."""
    return (
        select(idempotency_keys.c.issuer, idempotency_keys.c.subject, idempotency_keys.c.key)
        .where(idempotency_keys.c.created_at < created_before)
        .order_by(idempotency_keys.c.created_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )


def matches_idempotency_key(issuer: str, subject: str, key: str) -> tuple[ColumnElement[bool], ...]:
    """Return the WHERE conditions that select one idempotency key."""
    return (
        idempotency_keys.c.issuer == issuer,
        idempotency_keys.c.subject == subject,
        idempotency_keys.c.key == key,
    )


def _owned_by(owner: Owner) -> tuple[ColumnElement[bool], ...]:
    return devices.c.issuer == owner.issuer, devices.c.subject == owner.subject


def _version_in(if_versions: frozenset[int] | None) -> tuple[ColumnElement[bool], ...]:
    return () if if_versions is None else (devices.c.version.in_(if_versions),)


def _owner_parameters(owner_scope: OwnerScope) -> dict[str, str]:
    return {} if isinstance(owner_scope, Everyone) else owner_scope._asdict()


def _position_parameters(position: Position | None) -> dict[str, Any]:
    return {} if position is None else position._asdict()


_LIMIT = bindparam("limit", type_=Integer)
_IS_OWNER = (devices.c.issuer == bindparam("issuer"), devices.c.subject == bindparam("subject"))
_POSITION = tuple_(bindparam("time", type_=UtcDateTime), bindparam("tie_breaker", type_=String))
_BY_ID = select(*DEVICE_COLUMNS).where(devices.c.id == bindparam("device_id"))
_ANY_DEVICE = CompiledSelect(_BY_ID)
_OWN_DEVICE = CompiledSelect(_BY_ID.where(*_IS_OWNER))
