"""The query plans: each page is read in order from one range of an index."""

import contextlib
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import ClauseElement, Connection, insert, select, text

from api.database.engine import open_database, write_transaction
from api.database.schema import upgrade
from api.devices.cursors import Position
from api.devices.models import EVERYONE, KINDS, STATUSES, Owner, OwnerScope
from api.devices.storage import queries
from api.devices.storage.tables import devices, idempotency_keys, readings
from tests.kit.databases import KINDS as KINDS_OF_DATABASE
from tests.kit.databases import postgresql_schema

NOW = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)
ALICE = Owner("https://issuer.example/", "alice")
MIDDLE = Position(NOW, "dev_00000000000000000500")
DEVICE_ID = "dev_00000000000000000001"


@pytest.fixture(scope="module", params=KINDS_OF_DATABASE)
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a database with tables, of each kind in turn, one for all tests of this module."""
    with contextlib.ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('queries')}/devices.db"
        else:
            url = stack.enter_context(postgresql_schema())
        upgrade(url)
        yield url


@pytest.fixture(scope="module")
def connection(database_url: str) -> Iterator[Connection]:
    """Yield a connection to a database with so many rows that planners prefer indexes."""
    database = open_database(database_url)
    chosen = random.Random(1)
    with write_transaction(database) as connection:
        connection.execute(
            insert(devices),
            [
                {
                    "id": f"dev_{number:020}",
                    "issuer": ALICE.issuer,
                    "subject": chosen.choice(("alice", "bob", *(f"user-{other}" for other in range(20)))),
                    "name": "Device",
                    "kind": chosen.choice(KINDS),
                    "model": "M",
                    "status": chosen.choices(STATUSES, (10, 1))[0],
                    "created_at": NOW + timedelta(minutes=number),
                }
                for number in range(3_000)
            ],
        )
        connection.execute(
            insert(readings),
            [
                {"device_id": f"dev_{number % 3:020}", "metric": "power", "value": 1.0, "unit": "W"}
                | {"time": NOW + timedelta(seconds=number)}
                for number in range(6_000)
            ],
        )
        connection.execute(
            insert(idempotency_keys),
            [
                {
                    "issuer": ALICE.issuer,
                    "subject": f"user-{number}",
                    "key": "k",
                    "fingerprint": b"",
                    "device_id": DEVICE_ID,
                }
                | {"created_at": NOW + timedelta(seconds=number)}
                for number in range(3_000)
            ],
        )
    with database.connect() as connection:
        for table in (devices, readings, idempotency_keys):  # only these: the server has schemas of other tests
            connection.execute(text(f"ANALYZE {table.name}"))
        yield connection
    database.close()


def plan(connection: Connection, query: queries.Query | ClauseElement) -> str:
    """Return the database's query plan, one step per line."""
    if isinstance(query, queries.Query):
        query = query.select.statement.params(query.parameters)
    compiled: Any = query.compile(connection, compile_kwargs={"render_postcompile": True})
    values: Any = compiled.construct_params()
    processors = compiled._bind_processors
    parameters = {name: processors.get(name, lambda value: value)(value) for name, value in values.items()}
    if connection.dialect.name == "sqlite":
        ordered = tuple(parameters[name] for name in compiled.positiontup or ())
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", ordered)
        return "\n".join(row[3] for row in rows)
    return "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {compiled}", parameters))


def reads_one_range(steps: str, index: str) -> bool:
    """Return whether a plan reads one range of an index, and neither sorts nor filters the rows."""
    if "Index" in steps:  # PostgreSQL
        wrong = ("Sort", "Seq Scan", "Filter:", "Bitmap")
        return f" using {index} on " in steps and not any(word in steps for word in wrong)
    return "SCAN" not in steps and "TEMP B-TREE" not in steps and f"INDEX {index} (" in steps


@pytest.mark.parametrize(
    ("owner_scope", "kind", "status", "index"),
    [
        (ALICE, None, None, "devices_by_owner"),
        (ALICE, "hub", None, "devices_by_owner_and_kind"),
        (ALICE, None, "offline", "devices_by_owner_and_status"),
        (ALICE, "hub", "offline", "devices_by_owner_kind_and_status"),
        (EVERYONE, None, None, "devices_by_age"),
        (EVERYONE, "hub", None, "devices_by_kind"),
        (EVERYONE, None, "offline", "devices_by_status"),
        (EVERYONE, "hub", "offline", "devices_by_kind_and_status"),
    ],
)
def test_pages_of_devices(
    connection: Connection, owner_scope: OwnerScope, kind: str | None, status: str | None, index: str
) -> None:
    for after in (None, MIDDLE):
        steps = plan(connection, queries.devices_page(owner_scope, kind=kind, status=status, after=after, limit=21))
        if (
            owner_scope is EVERYONE
            and (kind, status, after) == (None, None, None)
            and "sqlite" in connection.dialect.name
        ):
            # SQLite calls reading an index from its start a scan.
            assert steps == f"SCAN devices USING INDEX {index}"
        else:
            assert reads_one_range(steps, index), steps


def test_pages_of_readings(connection: Connection) -> None:
    index = "sqlite_autoindex_readings_1" if connection.dialect.name == "sqlite" else "readings_pkey"
    bounds = (None, NOW + timedelta(seconds=1_000))
    for start in bounds:
        for end in (None, NOW + timedelta(seconds=5_000)):
            for after in (None, Position(NOW + timedelta(seconds=3_000), "power")):
                query = queries.readings_page(DEVICE_ID, start=start, end=end, after=after, limit=101)
                steps = plan(connection, query)
                assert reads_one_range(steps, index), steps
                if after and connection.dialect.name == "sqlite":
                    # It starts at the position, not at `end`.
                    assert "(time,metric)<(?,?)" in steps


def test_reading_and_changing_one_device(connection: Connection) -> None:
    for query in (
        queries.device_by_id(ALICE, DEVICE_ID),
        queries.device_by_id(EVERYONE, DEVICE_ID),
        queries.update_device(ALICE, DEVICE_ID, frozenset({1, 2}), {"name": "x"}),
        queries.update_last_seen(ALICE, DEVICE_ID, NOW),
        queries.delete_device(ALICE, DEVICE_ID, None),
    ):
        steps = plan(connection, query)
        assert "Index Scan using devices_pkey" in steps or "INDEX sqlite_autoindex_devices_1 (id=?)" in steps, steps
        assert "Seq Scan" not in steps
        assert "SCAN" not in steps.replace("SCAN 3 ", "")


def test_expired_idempotency_keys(connection: Connection) -> None:
    steps = plan(connection, queries.expired_idempotency_keys(NOW + timedelta(seconds=50), 100))
    assert reads_one_range(steps, "idempotency_keys_by_age"), steps


def test_one_idempotency_key(connection: Connection) -> None:
    is_this_key = queries.matches_idempotency_key(ALICE.issuer, "user-1", "k")
    steps = plan(connection, select(idempotency_keys).where(*is_this_key))
    assert "idempotency_keys_pkey" in steps or "sqlite_autoindex_idempotency_keys_1" in steps, steps
    assert "Seq Scan" not in steps
