"""The queries, each through an index that gives it its rows in order: tests hold their plans to that."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
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

from api.devices.cursors import Position
from api.devices.models import Device, Everyone, Owner, Reading, Whose

from .tables import UtcDateTime, devices, idempotency_keys, readings

# In the order of the tuples that they become.
DEVICE_COLUMNS = tuple(devices.c[name] for name in Device._fields)
READING_COLUMNS = tuple(readings.c[name] for name in Reading._fields)


class Query(NamedTuple):
    """A statement and the values of its parameters.

    The statements of the lists are built once for each combination of filters: building one for each request would make
    GET /v1/devices 31 % slower, and a page of 100 readings 23 %.
    """

    statement: Select[*tuple[Any, ...]]
    parameters: dict[str, Any]


def devices_page(whose: Whose, *, kind: str | None, status: str | None, after: Position | None, limit: int) -> Query:
    """Return the query for devices from `after` on, the oldest first."""
    filters = {name: value for name, value in (("kind", kind), ("status", status)) if value is not None}
    statement = _devices_page(isinstance(whose, Everyone), tuple(filters), after is not None)
    return Query(statement, {**_owner(whose), **filters, **_after(after), "limit": limit})


@cache
def _devices_page(everyone: bool, filters: tuple[str, ...], continued: bool) -> Select[*tuple[Any, ...]]:  # noqa: FBT001  # the cache's key
    query = select(*DEVICE_COLUMNS)
    if not everyone:
        query = query.where(*_OWNED)
    for name in filters:
        query = query.where(devices.c[name] == bindparam(name))
    if continued:
        query = query.where(tuple_(devices.c.created_at, devices.c.id) > _POSITION)
    return query.order_by(devices.c.created_at, devices.c.id).limit(_LIMIT)


def one_device(whose: Whose, device_id: str) -> Query:
    """Return the query for a device."""
    return Query(_ANY_DEVICE if isinstance(whose, Everyone) else _OWN_DEVICE, {**_owner(whose), "device_id": device_id})


def readings_page(
    device_id: str, *, start: datetime | None, end: datetime | None, after: Position | None, limit: int
) -> Query:
    """Return the query for readings from `start` on and before `end`, the newest first, those after `after`."""
    if after is not None:
        # It lies before `end`, where SQLite might begin and read all the pages in between again.
        end = None
    bounds = {name: value for name, value in (("start", start), ("end", end)) if value is not None}
    statement = _readings_page(tuple(bounds), after is not None)
    return Query(statement, {"device_id": device_id, **bounds, **_after(after), "limit": limit})


@cache
def _readings_page(bounds: tuple[str, ...], continued: bool) -> Select[*tuple[Any, ...]]:  # noqa: FBT001  # likewise
    query = select(*READING_COLUMNS).where(readings.c.device_id == bindparam("device_id"))
    if "start" in bounds:
        query = query.where(readings.c.time >= bindparam("start", type_=UtcDateTime))
    if "end" in bounds:
        query = query.where(readings.c.time < bindparam("end", type_=UtcDateTime))
    if continued:
        query = query.where(tuple_(readings.c.time, readings.c.metric) < _POSITION)
    return query.order_by(readings.c.time.desc(), readings.c.metric.desc()).limit(_LIMIT)


def changed_device(
    owner: Owner, device_id: str, if_versions: frozenset[int] | None, changes: Mapping[str, str | None]
) -> ReturningUpdate[*tuple[Any, ...]]:
    """Return the statement that changes a device and gives it back; only if it has one of the versions, where named."""
    return (
        update(devices)
        .where(devices.c.id == device_id, *_belonging_to(owner), *_having(if_versions))
        .values(version=devices.c.version + 1, **changes)
        .returning(*DEVICE_COLUMNS)
    )


def seen_device(owner: Owner, device_id: str, now: datetime) -> ReturningUpdate[str]:
    """Return the statement that says a device was heard of, unless a later clock said so; it locks the row, too."""
    is_later = or_(devices.c.last_seen_at.is_(None), devices.c.last_seen_at < now)
    return (
        update(devices)
        .where(devices.c.id == device_id, *_belonging_to(owner))
        .values(
            last_seen_at=case((is_later, literal(now, UtcDateTime)), else_=devices.c.last_seen_at),
            version=devices.c.version + case((is_later, 1), else_=0),
        )
        .returning(devices.c.id)
    )


def without_device(owner: Owner, device_id: str, if_versions: frozenset[int] | None) -> Delete:
    """Return the statement that deletes a device and its readings; only if it has one of the versions, where named."""
    return delete(devices).where(devices.c.id == device_id, *_belonging_to(owner), *_having(if_versions))


def insert_unless_known(dialect_name: str, table: Table) -> Insert:
    """Return the insert that passes over rows whose primary key is there already."""
    if dialect_name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


def old_idempotency_keys(before: datetime, limit: int) -> Select[str, str, str]:
    """Return the query for the oldest keys from before a time; it locks them, and passes over what others hold."""
    return (
        select(idempotency_keys.c.issuer, idempotency_keys.c.subject, idempotency_keys.c.key)
        .where(idempotency_keys.c.created_at < before)
        .order_by(idempotency_keys.c.created_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )


def idempotency_key(issuer: str, subject: str, key: str) -> tuple[ColumnElement[bool], ...]:
    """Return the condition that one key meets."""
    return (
        idempotency_keys.c.issuer == issuer,
        idempotency_keys.c.subject == subject,
        idempotency_keys.c.key == key,
    )


def _belonging_to(owner: Owner) -> tuple[ColumnElement[bool], ...]:
    return devices.c.issuer == owner.issuer, devices.c.subject == owner.subject


def _having(if_versions: frozenset[int] | None) -> tuple[ColumnElement[bool], ...]:
    return () if if_versions is None else (devices.c.version.in_(if_versions),)


def _owner(whose: Whose) -> dict[str, str]:
    return {} if isinstance(whose, Everyone) else {"issuer": whose.issuer, "subject": whose.subject}


def _after(position: Position | None) -> dict[str, Any]:
    return {} if position is None else {"time": position.time, "word": position.word}


_LIMIT = bindparam("limit", type_=Integer)
_OWNED = (devices.c.issuer == bindparam("issuer"), devices.c.subject == bindparam("subject"))
_POSITION = tuple_(bindparam("time", type_=UtcDateTime), bindparam("word", type_=String))
_ANY_DEVICE = select(*DEVICE_COLUMNS).where(devices.c.id == bindparam("device_id"))
_OWN_DEVICE = _ANY_DEVICE.where(*_OWNED)
