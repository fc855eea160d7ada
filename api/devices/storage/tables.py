"""The tables, and how a point in time is stored in them."""

from datetime import UTC, datetime

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


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time: `timestamptz` where the database has it, UTC without a zone where it has not (SQLite)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC; SQLite compares these as text, which sorts right as long as all are of one zone."""
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Give back an aware datetime in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# Callers who have been here before: the sample devices are given once, not whenever a list is empty.
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
    Column("created_at", UtcDateTime, nullable=False),
    Column("last_seen_at", UtcDateTime),
    Column("version", Integer, nullable=False, server_default="1"),
    # The list's order below each thing that it can be asked by: a page reads its own rows and no others, however rare
    # what it asks for is.
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
    # Also the order in which readings are read.
    PrimaryKeyConstraint("device_id", "time", "metric"),
)

# Requests to register a device that may come again: what came first, and the device that it made.
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

# Keys that all processes on this database share; a migration makes them.
secret_keys = Table(
    "secret_keys",
    metadata,
    Column("purpose", String(32), primary_key=True),
    Column("key", LargeBinary, nullable=False),
)
