"""The tables, and the column type of times."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
)
from sqlalchemy.types import TypeDecorator

metadata = MetaData()

# Two times for each device whose JSON is cached, a quarter of a kilobyte each.
_CACHED_TIMES = 8_192


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime: stored as `timestamptz` in PostgreSQL, as UTC without a zone in SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC: SQLite compares times as text, which is right only if all have the same zone."""
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None]:  # noqa: ARG002  # SQLAlchemy's signature
        """Return a function that converts a value of the driver to an aware datetime in UTC.

        In place of `process_result_value`, which would be called after SQLAlchemy's own conversion: that takes twice as
        long, twice in each row.
        """
        return _from_sqlite if dialect.name == "sqlite" else _from_postgresql


def _from_sqlite(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(f"{value}+00:00")


def _from_postgresql(value: datetime | None) -> datetime | None:
    return value if value is None or value.tzinfo is UTC else value.astimezone(UTC)


class DeviceTime(UtcDateTime):
    """A UtcDateTime that is read again with each list: on SQLite, the driver's text is converted once.

    A cached datetime also keeps its hash, which the cache of devices' JSON asks for. Both save 4 % of the instructions
    of GET /v1/devices. For times that are read once, as those of readings are, a cache costs more than it saves.
    """

    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None]:
        """Return a function like that of UtcDateTime."""
        return _from_sqlite_once if dialect.name == "sqlite" else super().result_processor(dialect, coltype)


_from_sqlite_once = lru_cache(maxsize=_CACHED_TIMES)(_from_sqlite)

# Owners who have made a request: they get the sample devices once, not whenever their list is empty.
owners = Table(
    "owners",
    metadata,
    Column("issuer", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("issuer", "subject"),
)

devices = Table(
    "devices",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("issuer", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("name", String(100), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("model", String(100), nullable=False),
    Column("location", String(100)),
    Column("status", String(16), nullable=False),
    Column("created_at", DeviceTime, nullable=False),
    Column("last_seen_at", DeviceTime),
    Column("version", Integer, nullable=False, server_default="1"),
    # One index for each combination of filters, ending in the list's order: a page reads only its own rows, even if few
    # rows match.
    Index("devices_by_owner", "issuer", "subject", "created_at", "id"),
    Index("devices_by_owner_and_kind", "issuer", "subject", "kind", "created_at", "id"),
    Index("devices_by_owner_and_status", "issuer", "subject", "status", "created_at", "id"),
    Index("devices_by_owner_kind_and_status", "issuer", "subject", "kind", "status", "created_at", "id"),
    Index("devices_by_age", "created_at", "id"),
    Index("devices_by_kind", "kind", "created_at", "id"),
    Index("devices_by_status", "status", "created_at", "id"),
    Index("devices_by_kind_and_status", "kind", "status", "created_at", "id"),
)

readings = Table(
    "readings",
    metadata,
    Column("device_id", ForeignKey("devices.id", ondelete="CASCADE"), nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Column("metric", String(64), nullable=False),
    Column("value", Float, nullable=False),
    Column("unit", String(16), nullable=False),
    # Also the order of the list.
    PrimaryKeyConstraint("device_id", "time", "metric"),
)

# The idempotency keys of registrations, with the device that the first request created.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("issuer", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("key", String(255), nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("device_id", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("issuer", "subject", "key"),
    Index("idempotency_keys_by_age", "created_at"),
)

# Secrets that all processes on this database share, generated by a migration.
secret_keys = Table(
    "secret_keys",
    metadata,
    Column("purpose", String(32), primary_key=True),
    Column("key", LargeBinary, nullable=False),
)
