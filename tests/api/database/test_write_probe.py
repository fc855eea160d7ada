from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from api.database.connections import Database
from api.database.engine import open_database, write_transaction
from api.database.schema import upgrade
from api.database.write_probe import WriteProbe
from tests.kit.databases import postgresql_schema


class Clock:
    time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path}/devices.db"
    upgrade(url)
    database = open_database(url)
    yield database
    database.close()


def writes(database: Database) -> int:
    with database.connect() as connection:
        return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def test_it_writes_once_in_five_seconds(database: Database) -> None:
    clock = Clock()
    probe = WriteProbe(database, monotonic=clock)
    for time, expected in ((0, 1), (1, 1), (4.9, 1), (5, 2), (9, 2), (10, 3)):
        clock.time = 1000.0 + time
        assert probe.is_writable()
        assert writes(database) == expected


def test_a_file_that_may_not_be_written(database: Database) -> None:
    clock = Clock()
    probe = WriteProbe(database, monotonic=clock)
    assert probe.is_writable()
    with database.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
    assert probe.is_writable()  # the remembered outcome
    clock.time += 5
    assert not probe.is_writable()
    with database.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = OFF")
    assert not probe.is_writable()
    clock.time += 5
    assert probe.is_writable()


def test_while_somebody_else_writes_the_last_outcome_stands(database: Database) -> None:
    probe = WriteProbe(database)
    with write_transaction(database):
        assert probe.is_writable()
    with database.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 3_000


@pytest.mark.needs("postgresql")
def test_postgresql_says_whether_it_is_read_only() -> None:
    with postgresql_schema() as url:
        for setting, expected in (("off", True), ("on", False)):
            database = open_database(f"{url}%20-cdefault_transaction_read_only%3D{setting}")
            assert WriteProbe(database).is_writable() is expected
            database.close()


def test_an_unreachable_database_is_an_error(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/missing/devices.db")
    with pytest.raises(OperationalError):
        WriteProbe(database).is_writable()
