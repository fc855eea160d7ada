import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Integer, MetaData, Table, inspect, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from api.database import engine, schema
from api.database.connections import Database
from api.database.engine import open_database, write_transaction
from api.database.schema import schema_is_current, upgrade
from api.devices.models import EVERYONE, NewDevice, Owner
from api.devices.storage.store import DeviceStore
from api.devices.storage.tables import metadata, secret_keys
from tests.kit.databases import POSTGRESQL, postgresql_schema

ALICE = Owner("https://issuer.example/", "alice")


@pytest.fixture
def database(empty_database_url: str) -> Iterator[Database]:
    database = open_database(empty_database_url)
    yield database
    database.close()


def differences(database: Database, of: MetaData = metadata) -> list[object]:
    with database.connect() as connection:
        return compare_metadata(MigrationContext.configure(connection), of)  # type: ignore[no-any-return]


def test_the_migrations_create_the_tables_of_the_code(empty_database_url: str, database: Database) -> None:
    assert not schema_is_current(database)
    upgrade(empty_database_url)
    assert schema_is_current(database)
    assert differences(database) == []


def test_a_difference_is_detected(empty_database_url: str, database: Database) -> None:
    upgrade(empty_database_url)
    with write_transaction(database) as connection:
        connection.execute(text("DROP INDEX devices_by_age"))
    assert len(differences(database)) == 1
    other = MetaData()
    Table("devices", other, Column("more", Integer))
    assert len(differences(database, other)) > 1


def test_many_processes_may_upgrade_at_once(empty_database_url: str, database: Database) -> None:
    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(upgrade, empty_database_url) for _ in range(6)]:
            future.result()
    assert schema_is_current(database)
    with database.connect() as connection:
        assert len(connection.execute(select(secret_keys)).all()) == 1


def test_an_upgrade_that_fails_leaves_nothing_behind(empty_database_url: str, database: Database) -> None:
    with write_transaction(database) as connection:
        connection.execute(text("CREATE TABLE secret_keys (mine INTEGER)"))
    with pytest.raises(Exception, match="secret_keys"):
        upgrade(empty_database_url)
    assert inspect(database.engine).get_table_names() == ["secret_keys"]


def test_a_schema_that_is_ahead_is_current(empty_database_url: str, database: Database) -> None:
    upgrade(empty_database_url)
    with write_transaction(database) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert schema_is_current(database)
    # After a rollback to this version, `upgrade` succeeds and changes nothing.
    upgrade(empty_database_url)
    assert schema_is_current(database)
    with write_transaction(database) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    assert not schema_is_current(database)


def test_each_database_has_its_own_cursor_key(tmp_path: Path) -> None:
    keys = []
    for name in ("one", "two"):
        url = f"sqlite:///{tmp_path}/{name}.db"
        upgrade(url)
        for _ in range(2):  # as another process would
            with closing(DeviceStore(open_database(url))) as store:
                keys.append(store.cursor_key())
    assert keys[0] == keys[1] != keys[2] == keys[3]
    assert all(len(key) == 32 for key in keys)


def test_a_block_that_raises_is_rolled_back(empty_database_url: str, database: Database) -> None:
    upgrade(empty_database_url)

    def write_and_fail() -> None:
        with write_transaction(database) as connection:
            connection.execute(text("DELETE FROM secret_keys"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    with database.connect() as connection:
        assert connection.execute(select(secret_keys)).all()


def test_an_unreachable_database_raises_soon(tmp_path: Path) -> None:
    store = DeviceStore(open_database(f"sqlite:///{tmp_path}/missing/devices.db"))
    with closing(store), pytest.raises(OperationalError):
        store.list_devices(ALICE, limit=1)
    with pytest.raises(OperationalError):
        upgrade("postgresql+psycopg://postgres@127.0.0.1:1/postgres")


@pytest.mark.needs("postgresql")
def test_the_loss_of_idle_connections_fails_no_request() -> None:
    with postgresql_schema() as url:
        upgrade(url)
        database, other = open_database(url), open_database(url)
        with closing(DeviceStore(database)) as store:
            with database.connect() as one, database.connect() as two:
                pids = [connection.execute(text("SELECT pg_backend_pid()")).scalar_one() for connection in (one, two)]
            # A restart of the server closes idle connections in the same way.
            with other.connect() as connection:
                for pid in pids:
                    # It returns once the connection is closed, or after 10 seconds: a use may begin only then.
                    terminate = text("SELECT pg_terminate_backend(:pid, 10000)")
                    assert connection.execute(terminate, {"pid": pid}).scalar_one()
            for _ in range(3):
                assert store.list_devices(EVERYONE, limit=1) == []
        other.close()


@pytest.mark.needs("postgresql")
def test_a_request_does_not_wait_for_the_end_of_a_migration(monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine._LOCK_TIMEOUT_MILLISECONDS == 3_000
    monkeypatch.setattr(engine, "_LOCK_TIMEOUT_MILLISECONDS", 100)
    with postgresql_schema() as url:
        upgrade(url)
        database = open_database(url)
        with closing(DeviceStore(open_database(url))) as store, write_transaction(database) as migration:
            migration.execute(text("LOCK TABLE devices"))
            with pytest.raises(OperationalError, match="lock timeout"):
                store.list_devices(EVERYONE, limit=1)
        database.close()


@pytest.mark.needs("postgresql")
def test_an_upgrade_waits_for_another_one_without_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_LOCK_TIMEOUT_MILLISECONDS", 1)
    with postgresql_schema() as url, ThreadPoolExecutor(1) as pool:
        database = open_database(url)
        with write_transaction(database) as first:
            first.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": schema._SCHEMA_LOCK})
            second = pool.submit(upgrade, url)
            with pytest.raises(TimeoutError):
                second.result(timeout=0.5)
        second.result(timeout=30)
        assert schema_is_current(database)
        database.close()


@pytest.mark.needs("postgresql")
def test_the_first_and_the_last_day_of_the_calendar_are_read() -> None:
    with postgresql_schema() as url:
        database = open_database(f"{url}%20-cTimeZone%3DPacific/Kiritimati")
        with database.connect() as connection:
            for time in (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
                assert (
                    connection.execute(text("SELECT CAST(:time AS timestamptz)"), {"time": time}).scalar_one() == time
                )
        database.close()


@pytest.mark.needs("postgresql")
@pytest.mark.parametrize(("option", "milliseconds"), [("", 10_000), ("&tcp_user_timeout=60000", 60_000)])
def test_a_vanished_server_times_out(option: str, milliseconds: int) -> None:
    database = open_database(f"{POSTGRESQL}?application_name=test{option}")
    with database.connect() as connection:
        driver: Any = connection.connection.driver_connection
        with socket.socket(fileno=os.dup(driver.fileno())) as its_socket:
            assert its_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == milliseconds
            assert its_socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert its_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5
    database.close()


def test_every_migration_says_which_locks_it_takes() -> None:
    for script in ScriptDirectory.from_config(schema._config()).walk_revisions():
        assert "\nLocks: " in str(script.module.__doc__), script.path


@pytest.mark.needs("postgresql")
def test_a_database_without_an_encoding() -> None:
    name = f"test_{uuid4().hex}"
    with closing(open_database(POSTGRESQL)) as server, server.connect() as administrator:
        administrator.execute(text(f"CREATE DATABASE {name} ENCODING SQL_ASCII LOCALE 'C' TEMPLATE template0"))
        try:
            url = make_url(POSTGRESQL).set(database=name).render_as_string(hide_password=False)
            upgrade(url)
            with closing(DeviceStore(open_database(url))) as store:
                created = store.create_device(ALICE, NewDevice(name="Küche 台所", kind="hub", model="M"))
                assert store.get_device(ALICE, created.id) == created
        finally:
            administrator.execute(text(f"DROP DATABASE {name}"))
