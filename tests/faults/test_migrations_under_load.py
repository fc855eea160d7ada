"""`db upgrade` on PostgreSQL while others read and write: everybody goes on."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine, create_engine, text

from api.database import schema
from api.database.engine import open_database
from api.database.schema import SchemaLockedError, schema_is_current, upgrade
from tests.kit.databases import postgresql_schema

pytestmark = pytest.mark.needs("postgresql")

DEVICES, READINGS_EACH = 2_000, 20
# Longer than a statement of the upgrade waits, so that it has to try again.
READER_SECONDS = 4
# The upgrade waits for a second, and whoever is queued behind it too; the machine may be busy.
SLOWEST_SECONDS = 2.5

_INSERT_DEVICE = text(
    "INSERT INTO devices (id, issuer, subject, name, kind, model, status, created_at)"
    " VALUES (:id, 'https://issuer.example/', 'alice', 'Lamp', 'sensor', 'M', 'online', :time)"
)
_INSERT_READING = text("INSERT INTO readings VALUES (:id, :time, 'power', 1, 'W')")
_READ = text("SELECT count(*) FROM readings WHERE device_id IN (SELECT id FROM devices ORDER BY created_at LIMIT 20)")


@pytest.fixture
def url() -> Iterator[str]:
    """Yield a database with the schema of the first revision."""
    with postgresql_schema() as url:
        upgrade(url, revision="0001")
        yield url


def insert_devices(connection: Connection, count: int) -> None:
    now = datetime.now(UTC)
    ids = [f"dev_{uuid4().hex[:20]}" for _ in range(count)]
    connection.execute(_INSERT_DEVICE, [{"id": one, "time": now} for one in ids])
    times = [now + timedelta(seconds=number) for number in range(READINGS_EACH)]
    connection.execute(_INSERT_READING, [{"id": one, "time": time} for one in ids for time in times])


def repeat(engine: Engine, stopped: threading.Event, *, writes: bool) -> list[float]:
    """Read or write again and again; return how long each transaction took."""
    durations = []
    while not stopped.wait(0.01):
        started = time.monotonic()
        with engine.begin() as connection:
            if writes:
                insert_devices(connection, 1)
            else:
                connection.execute(_READ)
        durations.append(time.monotonic() - started)
    return durations


def is_current(url: str) -> bool:
    with closing(open_database(url)) as database:
        return schema_is_current(database)


@pytest.mark.slow
def test_nobody_waits_long_for_an_upgrade_behind_a_long_reader(url: str) -> None:
    engine = create_engine(url, pool_size=5)
    with engine.begin() as connection:
        insert_devices(connection, DEVICES)
    stopped, reading = threading.Event(), threading.Event()

    def read_for_long() -> None:
        with engine.begin() as connection:
            connection.execute(_READ)
            reading.set()
            stopped.wait(READER_SECONDS)

    sentences: list[str] = []
    with ThreadPoolExecutor(5) as pool:
        try:
            others = [pool.submit(repeat, engine, stopped, writes=writes) for writes in (False, False, True, True)]
            pool.submit(read_for_long)
            assert reading.wait(30)
            upgrade(url, on_wait=sentences.append)
        finally:
            stopped.set()
        durations = [one for other in others for one in other.result()]
    assert sentences[0] == (
        "Waiting for a lock: another transaction uses a table that a migration changes."
        " Trying again in 3 s (attempt 2 of 30)."
    )
    assert len(durations) > 20
    assert max(durations) < SLOWEST_SECONDS
    engine.dispose()
    assert is_current(url)


def test_an_upgrade_that_gets_no_lock_changes_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_LOCK_TIMEOUT_MILLISECONDS", 20)
    pauses: list[float] = []
    engine = create_engine(url)
    with engine.begin() as reader:
        reader.execute(text("SELECT * FROM devices"))
        with pytest.raises(SchemaLockedError):
            upgrade(url, sleep=pauses.append)
    assert pauses == [3] * 29
    engine.dispose()
    assert not is_current(url)
    upgrade(url)
    assert is_current(url)
