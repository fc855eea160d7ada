import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, NotSupportedError, OperationalError

from api.database import uses as uses_module
from api.database.connections import Database
from api.database.engine import MAX_CONNECTIONS, open_database, write_transaction
from api.database.events import DatabaseEvents
from api.database.uses import ConnectionsInUseError
from tests.api.database.conftest import Recorded
from tests.kit.databases import postgresql_schema


@pytest.fixture
def database_of() -> Iterator[Callable[..., Database]]:
    databases: list[Database] = []

    def database_of(url: str, events: DatabaseEvents | None = None) -> Database:
        databases.append(open_database(url, events=events))
        return databases[-1]

    yield database_of
    for database in databases:
        database.close()


def connect(database: Database) -> None:
    with database.connect():
        pass


def test_a_database_has_no_more_connections(
    tmp_path: Path, database_of: Callable[..., Database], events: Recorded
) -> None:
    database = database_of(f"sqlite:///{tmp_path}/empty.db", events)
    with ExitStack() as stack:
        connections = [stack.enter_context(database.connect()) for _ in range(MAX_CONNECTIONS)]
        assert len(set(connections)) == MAX_CONNECTIONS
        with pytest.raises(ConnectionsInUseError):
            connect(database)
    with database.connect() as connection:
        assert connection in connections
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    assert events.seen[-1] == "in use 0"
    assert "refused" in events.seen


def test_a_connection_that_fails_takes_no_place(
    tmp_path: Path, database_of: Callable[..., Database], events: Recorded
) -> None:
    database = database_of(f"sqlite:///{tmp_path}/missing/devices.db", events)
    for _ in range(2 * MAX_CONNECTIONS):
        with pytest.raises(OperationalError):
            connect(database)
    assert events.seen[-1] == "in use 0"
    assert events.seen.count("lost") == 1
    (tmp_path / "missing").mkdir()
    connect(database)
    assert events.seen[-1] == "found"


def insert(connection: Connection, *numbers: int) -> None:
    for number in numbers:
        connection.execute(text("INSERT INTO numbers VALUES (:number)"), {"number": number})


def begin_and_fail(connection: Connection) -> None:
    """Leave a transaction that nobody ends."""
    connection.exec_driver_sql("BEGIN")
    insert(connection, 2)
    raise ZeroDivisionError


def test_a_connection_is_used_again_after_an_error(
    empty_database_url: str, database_of: Callable[..., Database]
) -> None:
    database = database_of(empty_database_url)
    with write_transaction(database) as connection:
        connection.execute(text("CREATE TABLE numbers (number INTEGER PRIMARY KEY)"))
    with pytest.raises(IntegrityError), write_transaction(database) as first:
        insert(first, 1, 1)
    with pytest.raises(ZeroDivisionError), database.connect() as second:
        begin_and_fail(second)
    with database.connect() as third:
        assert third.execute(text("SELECT count(*) FROM numbers")).scalar_one() == 0
    assert connection is first is second is third


def test_after_the_loss_of_a_connection_the_older_ones_are_not_used_again(
    tmp_path: Path, database_of: Callable[..., Database], events: Recorded
) -> None:
    """A server that vanished without closing them would cost a failed request for each."""
    database = database_of(f"sqlite:///{tmp_path}/empty.db", events)
    with database.connect() as in_use:
        with database.connect() as one, database.connect() as two:
            pass
        with database.connect() as lost:
            lost.invalidate()
        assert events.seen[-1] == "lost"
        assert (one.closed, two.closed) == (True, True)
        with database.connect() as later:
            # From before the loss, too: it says nothing about those that were opened since.
            in_use.invalidate()
    assert [one.closed for one in (lost, in_use, later)] == [True, True, False]
    with database.connect() as connection:
        assert connection is later


def test_a_commit_that_fails_leaves_no_transaction(tmp_path: Path, database_of: Callable[..., Database]) -> None:
    url = f"sqlite:///{tmp_path}/devices.db"
    database, other = database_of(url), database_of(url)
    with write_transaction(database) as connection:
        connection.execute(text("CREATE TABLE parents (id INTEGER PRIMARY KEY)"))
        connection.execute(
            text("CREATE TABLE children (parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED)")
        )
    with pytest.raises(IntegrityError), write_transaction(database) as connection:
        connection.execute(text("INSERT INTO children VALUES (1)"))
    with write_transaction(other) as writer:
        writer.execute(text("INSERT INTO parents VALUES (2)"))
    with database.connect() as kept:
        assert kept is connection
        assert kept.execute(text("SELECT count(*) FROM children")).scalar_one() == 0


@pytest.mark.needs("postgresql")
def test_a_use_ends_before_the_next_one_of_its_connection_can_begin(
    database_of: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a use that has lasted long could be ended in the hands of the next one."""
    watched: list[int | None] = []

    class Idle(list[Connection]):
        def append(self, connection: Connection, /) -> None:
            watched.extend(use.socket_number for use in uses)
            super().append(connection)

    with postgresql_schema() as url:
        database = database_of(url)
        uses = database._uses._uses
        monkeypatch.setattr(database, "_idle", Idle())
        for _ in range(2):
            with database.connect():
                assert [use.socket_number is None for use in uses] == [False]
    assert watched == [None, None]


def test_statements_outside_of_a_transaction_are_committed(
    empty_database_url: str, database_of: Callable[..., Database]
) -> None:
    database, other = database_of(empty_database_url), database_of(empty_database_url)
    with database.connect() as connection:
        connection.execute(text("CREATE TABLE numbers (number INTEGER PRIMARY KEY)"))
        insert(connection, 1)
        with other.connect() as reader:
            assert reader.execute(text("SELECT number FROM numbers")).scalar_one() == 1
    # The connection that has read goes on to write.
    with write_transaction(other) as writer:
        assert writer is reader
        insert(writer, 2)
    with database.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM numbers")).scalar_one() == 2


def test_a_closed_database_opens_new_connections(tmp_path: Path, database_of: Callable[..., Database]) -> None:
    database = database_of(f"sqlite:///{tmp_path}/empty.db")
    with database.connect() as before:
        pass
    database.close()
    assert before.closed
    with database.connect() as after:
        assert after.execute(text("SELECT 1")).scalar_one() == 1


def test_a_forked_process_opens_its_own_connections(
    empty_database_url: str, database_of: Callable[..., Database]
) -> None:
    database = database_of(empty_database_url)
    with database.connect() as of_parent:
        pass
    child = os.fork()
    if child == 0:
        try:
            with database.connect() as connection:
                is_own = connection is not of_parent and connection.execute(text("SELECT 1")).scalar_one() == 1
            database.close()
            # The parent's is still open.
            os._exit(0 if is_own and not of_parent.closed else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    with database.connect() as connection:
        assert connection is of_parent
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


@pytest.mark.needs("postgresql")
def test_an_error_is_not_replaced_by_that_of_a_rollback_on_a_lost_connection(
    database_of: Callable[..., Database], events: Recorded
) -> None:
    def lose_and_fail(connection: Connection, other: Connection) -> None:
        connection.exec_driver_sql("BEGIN")
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        assert other.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid}).scalar_one()
        raise ZeroDivisionError

    with postgresql_schema() as url:
        database = database_of(url, events)
        with database_of(url).connect() as other, pytest.raises(ZeroDivisionError), database.connect() as lost:
            lose_and_fail(lost, other)
        assert events.seen[-1] == "lost"
        with database.connect() as connection:
            assert connection is not lost
            assert connection.execute(text("SELECT 1")).scalar_one() == 1
        assert events.seen[-1] == "found"


@pytest.mark.needs("postgresql")
def test_a_session_has_its_limits_and_a_use_too(
    database_of: Callable[..., Database], events: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uses_module, "USE_LIMIT_SECONDS", 0.5)
    with postgresql_schema() as url:
        database = database_of(url, events)
        with database.connect() as connection:
            assert connection.execute(text("SHOW statement_timeout")).scalar_one() == "3500ms"
            assert connection.execute(text("SHOW lock_timeout")).scalar_one() == "3s"
        with database.connect() as connection, pytest.raises(OperationalError):
            connection.execute(text("SELECT pg_sleep(20)"))
        assert events.seen[-1] == "lost"
        connect(database)
        with pytest.raises(OperationalError), database.connect() as connection:
            connection.execute(text("SELECT pg_sleep(20)"))
        assert events.seen[-1] == "lost"
        with database.connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1
        assert events.seen[-1] == "found"
        number = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(3):
            with database.connect() as connection:
                connection.invalidate()
        assert len(list(Path("/proc/self/fd").iterdir())) <= number


@pytest.mark.needs("postgresql")
def test_after_a_migration_of_a_column_connections_do_not_keep_their_prepared_statements(
    database_of: Callable[..., Database], events: Recorded
) -> None:
    with postgresql_schema() as url:
        database = database_of(url, events)
        query = text("SELECT number FROM numbers")

        def read(connection: Connection) -> int:
            return int(connection.execute(query).scalar_one())

        with write_transaction(database) as connection:
            connection.execute(text("CREATE TABLE numbers AS SELECT 1::int AS number"))
        with database.connect() as one, database.connect() as two:
            for connection in (one, two):
                for _ in range(10):  # psycopg prepares the sixth execution
                    assert read(connection) == 1
        with write_transaction(database_of(url)) as migration:
            migration.execute(text("ALTER TABLE numbers ALTER COLUMN number TYPE bigint"))
        with pytest.raises(NotSupportedError, match="cached plan"), database.connect() as connection:
            read(connection)
        assert (one.closed, two.closed) == (True, True)
        for _ in range(3):
            with database.connect() as connection:
                assert read(connection) == 1
        # The database was there all the time.
        assert "lost" not in events.seen
