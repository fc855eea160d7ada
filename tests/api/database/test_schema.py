import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Engine, Integer, MetaData, Table, inspect, select, text
from sqlalchemy.exc import OperationalError

from api.database import engine as database
from api.database import schema
from api.database.engine import open_engine, write_transaction
from api.database.schema import schema_is_current, upgrade
from api.devices.models import EVERYONE, Owner
from api.devices.storage.store import DeviceStore
from api.devices.storage.tables import metadata, secret_keys
from tests.kit.databases import POSTGRESQL, postgresql_schema

ALICE = Owner("https://issuer.example/", "alice")


@pytest.fixture
def engine(empty_database_url: str) -> Iterator[Engine]:
    engine = open_engine(empty_database_url)
    yield engine
    engine.dispose()


def differences(engine: Engine, of: MetaData = metadata) -> list[object]:
    with engine.connect() as connection:
        return compare_metadata(MigrationContext.configure(connection), of)  # type: ignore[no-any-return]


def test_the_migrations_create_the_tables_of_the_code(empty_database_url: str, engine: Engine) -> None:
    assert not schema_is_current(engine)
    upgrade(empty_database_url)
    assert schema_is_current(engine)
    assert differences(engine) == []


def test_a_difference_is_detected(empty_database_url: str, engine: Engine) -> None:
    upgrade(empty_database_url)
    with write_transaction(engine) as connection:
        connection.execute(text("DROP INDEX devices_by_age"))
    assert len(differences(engine)) == 1
    other = MetaData()
    Table("devices", other, Column("more", Integer))
    assert len(differences(engine, other)) > 1


def test_many_processes_may_upgrade_at_once(empty_database_url: str, engine: Engine) -> None:
    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(upgrade, empty_database_url) for _ in range(6)]:
            future.result()
    assert schema_is_current(engine)
    with engine.connect() as connection:
        assert len(connection.execute(select(secret_keys)).all()) == 1


def test_an_upgrade_that_fails_leaves_nothing_behind(empty_database_url: str, engine: Engine) -> None:
    with write_transaction(engine) as connection:
        connection.execute(text("CREATE TABLE secret_keys (mine INTEGER)"))
    with pytest.raises(Exception, match="secret_keys"):
        upgrade(empty_database_url)
    assert inspect(engine).get_table_names() == ["secret_keys"]


def test_a_schema_that_is_ahead_is_current(empty_database_url: str, engine: Engine) -> None:
    upgrade(empty_database_url)
    with write_transaction(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert schema_is_current(engine)
    # After a rollback to this version, `upgrade` succeeds and changes nothing.
    upgrade(empty_database_url)
    assert schema_is_current(engine)
    with write_transaction(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    assert not schema_is_current(engine)


def test_each_database_has_its_own_cursor_key(tmp_path: Path) -> None:
    keys = []
    for name in ("one", "two"):
        url = f"sqlite:///{tmp_path}/{name}.db"
        upgrade(url)
        for _ in range(2):  # as another process would
            with closing(DeviceStore(open_engine(url))) as store:
                keys.append(store.cursor_key())
    assert keys[0] == keys[1] != keys[2] == keys[3]
    assert all(len(key) == 32 for key in keys)


def test_a_block_that_raises_is_rolled_back(empty_database_url: str, engine: Engine) -> None:
    upgrade(empty_database_url)

    def write_and_fail() -> None:
        with write_transaction(engine) as connection:
            connection.execute(text("DELETE FROM secret_keys"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    with engine.connect() as connection:
        assert connection.execute(select(secret_keys)).all()


def test_an_unreachable_database_raises_soon(tmp_path: Path) -> None:
    store = DeviceStore(open_engine(f"sqlite:///{tmp_path}/missing/devices.db"))
    with closing(store), pytest.raises(OperationalError):
        store.list_devices(ALICE, limit=1)
    with pytest.raises(OperationalError):
        upgrade("postgresql+psycopg://postgres@127.0.0.1:1/postgres")


@pytest.mark.needs("postgresql")
def test_the_pool_survives_the_loss_of_its_connections() -> None:
    with postgresql_schema() as url:
        upgrade(url)
        engine, other = open_engine(url), open_engine(url)
        with closing(DeviceStore(engine)) as store:
            with engine.connect() as one, engine.connect() as two:
                pids = [connection.execute(text("SELECT pg_backend_pid()")).scalar_one() for connection in (one, two)]
            # A restart of the server closes pooled connections in the same way.
            with other.connect() as connection:
                for pid in pids:
                    # It returns once the connection is closed, or after 10 seconds: a use may begin only then.
                    terminate = text("SELECT pg_terminate_backend(:pid, 10000)")
                    assert connection.execute(terminate, {"pid": pid}).scalar_one()
            for _ in range(3):
                assert store.list_devices(EVERYONE, limit=1) == []
        other.dispose()


@pytest.mark.needs("postgresql")
def test_a_request_does_not_wait_for_the_end_of_a_migration(monkeypatch: pytest.MonkeyPatch) -> None:
    assert database._LOCK_TIMEOUT_MILLISECONDS == 3_000
    monkeypatch.setattr(database, "_LOCK_TIMEOUT_MILLISECONDS", 100)
    with postgresql_schema() as url:
        upgrade(url)
        engine = open_engine(url)
        with closing(DeviceStore(open_engine(url))) as store, write_transaction(engine) as migration:
            migration.execute(text("LOCK TABLE devices"))
            with pytest.raises(OperationalError, match="lock timeout"):
                store.list_devices(EVERYONE, limit=1)
        engine.dispose()


@pytest.mark.needs("postgresql")
def test_an_upgrade_waits_for_another_one_without_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_LOCK_TIMEOUT_MILLISECONDS", 1)
    with postgresql_schema() as url, ThreadPoolExecutor(1) as pool:
        engine = open_engine(url)
        with write_transaction(engine) as first:
            first.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": schema._SCHEMA_LOCK})
            second = pool.submit(upgrade, url)
            with pytest.raises(TimeoutError):
                second.result(timeout=0.5)
        second.result(timeout=30)
        assert schema_is_current(engine)
        engine.dispose()


@pytest.mark.needs("postgresql")
def test_the_first_and_the_last_day_of_the_calendar_are_read() -> None:
    with postgresql_schema() as url:
        engine = open_engine(f"{url}%20-cTimeZone%3DPacific/Kiritimati")
        with engine.connect() as connection:
            for time in (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
                assert (
                    connection.execute(text("SELECT CAST(:time AS timestamptz)"), {"time": time}).scalar_one() == time
                )
        engine.dispose()


@pytest.mark.needs("postgresql")
@pytest.mark.parametrize(("option", "milliseconds"), [("", 10_000), ("&tcp_user_timeout=60000", 60_000)])
def test_a_vanished_server_times_out(option: str, milliseconds: int) -> None:
    engine = open_engine(f"{POSTGRESQL}?application_name=test{option}")
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        with socket.socket(fileno=os.dup(driver.fileno())) as its_socket:
            assert its_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == milliseconds
            assert its_socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert its_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5
    engine.dispose()


def test_every_migration_says_which_locks_it_takes() -> None:
    for script in ScriptDirectory.from_config(schema._config()).walk_revisions():
        assert "\nLocks: " in str(script.module.__doc__), script.path
