"""`CompiledSelect` returns and raises what SQLAlchemy's own execution does."""

import contextlib
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Dialect,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Select,
    String,
    Table,
    bindparam,
    event,
    func,
    insert,
    or_,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, OperationalError, PendingRollbackError, ProgrammingError
from sqlalchemy.types import TypeDecorator

from api.database.compiled_select import CompiledSelect
from api.database.connections import Database
from api.database.engine import open_database, write_transaction
from api.devices.storage.tables import UtcDateTime
from tests.kit.databases import KINDS, postgresql_schema


class Tenths(TypeDecorator[float]):
    """A number of tenths, stored as a whole number: the driver cannot convert it."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> int | None:
        return None if value is None else round(value * 10)

    def process_result_value(self, value: int | None, dialect: Dialect) -> float | None:
        return None if value is None else value / 10


metadata = MetaData()
# Types whose values the drivers of the two databases return in different forms.
things = Table(
    "things",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False),
    Column("time", UtcDateTime),
    Column("amount", Numeric(12, 3)),
    Column("share", Float),
    Column("tenths", Tenths),
    Column("is_new", Boolean),
    Column("data", LargeBinary),
)
missing = Table("missing", MetaData(), Column("id", Integer))
SINCE = CompiledSelect(
    select(things)
    .where(things.c.time >= bindparam("since", type_=UtcDateTime), things.c.name != bindparam("name", "100 % of :x"))
    .order_by(things.c.id)
    .limit(bindparam("limit", type_=Integer))
)
START = datetime(2026, 11, 22, tzinfo=UTC)
ROWS = [
    {
        "id": 1,
        "name": "a",
        "time": START,
        "amount": 1.125,
        "share": 0.1,
        "tenths": 0.7,
        "is_new": True,
        "data": b"\0\xff",
    },
    {"id": 2, "name": "100 % of :x", "time": START + timedelta(seconds=1)},
    {"id": 3, "name": "ü", "time": START + timedelta(microseconds=1), "share": math.pi, "is_new": False, "data": b""},
    {"id": 4, "name": "no time", "time": None},
]


@pytest.fixture(scope="module", params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Yield a database with four things, of each kind in turn."""
    with contextlib.ExitStack() as stack:
        url = f"sqlite:///{tmp_path_factory.mktemp('things')}/things.db"
        if request.param == "postgresql":
            url = stack.enter_context(postgresql_schema())
        database = open_database(url)
        with write_transaction(database) as connection:
            metadata.create_all(connection)
            for row in ROWS:
                connection.execute(insert(things), row)
        yield database
        database.close()


def both(connection: Connection, compiled: CompiledSelect, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return the rows, after a comparison with those that SQLAlchemy returns."""
    rows = list(compiled.fetch_all(connection, parameters))
    expected = [tuple(row) for row in connection.execute(compiled.statement, parameters).all()]
    assert rows == expected
    assert [list(map(type, row)) for row in rows] == [list(map(type, row)) for row in expected]
    return rows


def test_rows_and_their_types_are_those_of_sqlalchemy(database: Database) -> None:
    zone = timezone(timedelta(hours=2))
    with database.connect() as connection:
        rows = both(connection, SINCE, {"since": START.astimezone(zone), "limit": 10})
        assert [row[:3] for row in rows] == [(1, "a", START), (3, "ü", START + timedelta(microseconds=1))]
        assert [row[2].tzinfo for row in rows] == [UTC, UTC]
        # A value in place of the default of a parameter.
        assert [row[0] for row in both(connection, SINCE, {"since": START, "name": "a", "limit": 1})] == [2]
        assert both(connection, SINCE, {"since": START + timedelta(days=1), "limit": 10}) == []
        assert [row[2] for row in both(connection, CompiledSelect(select(things)), {})].count(None) == 1
        assert both(connection, CompiledSelect(select(things.c.id).where(things.c.id == 3)), {}) == [(3,)]


def test_values_are_converted_and_one_may_be_used_twice(database: Database) -> None:
    twice = CompiledSelect(
        select(things.c.id, things.c.tenths)
        .where(things.c.name != bindparam("other"))
        .where(or_(things.c.tenths == bindparam("tenths"), things.c.tenths > bindparam("tenths")))
    )
    with database.connect() as connection:
        assert both(connection, twice, {"tenths": 0.7, "other": "b"}) == [(1, 0.7)]
        assert both(connection, twice, {"tenths": 0.8, "other": "b"}) == []


def test_a_statement_is_compiled_once(database: Database) -> None:
    one = CompiledSelect(select(things.c.time))
    with database.connect() as connection:
        one.fetch_all(connection, {})
        compiled = one._compiled
        assert compiled is not None
        conversions = compiled._conversions
        assert conversions
        one.fetch_all(connection, {})
    assert one._compiled is compiled
    assert compiled._conversions is conversions


def test_a_missing_value_is_no_null(database: Database) -> None:
    with database.connect() as connection, pytest.raises(KeyError, match="since"):
        SINCE.fetch_all(connection, {"limit": 10})


def test_the_first_execution_may_find_no_row(database: Database) -> None:
    by_name = CompiledSelect(select(things.c.time, things.c.amount).where(things.c.name == bindparam("name")))
    with database.connect() as connection:
        assert both(connection, by_name, {"name": "nobody"}) == []
        assert both(connection, by_name, {"name": "a"})[0][0] == START


@given(name=st.text(), limit=st.integers(0, 2**31 - 1))
def test_any_text_is_a_value_and_never_sql(database: Database, name: str, limit: int) -> None:
    by_name = CompiledSelect(
        select(things.c.id, bindparam("name", type_=String)).order_by(things.c.id).limit(bindparam("limit", 1))
    )
    parameters = {"name": name, "limit": limit}
    with database.connect() as connection:
        try:
            expected = [tuple(row) for row in connection.execute(by_name.statement, parameters).all()]
        except (DBAPIError, UnicodeEncodeError) as exc:
            # NUL on PostgreSQL; surrogates.
            assert "\0" in name or not name.isprintable()
            with pytest.raises(type(exc)):
                by_name.fetch_all(connection, parameters)
        else:
            assert by_name.fetch_all(connection, parameters) == expected


def test_a_list_after_in_is_refused(database: Database) -> None:
    several = CompiledSelect(select(things.c.id).where(things.c.name.in_(["a", "b"])))
    with database.connect() as connection, pytest.raises(ValueError, match="IN"):
        several.fetch_all(connection, {})


def test_one_statement_serves_databases_of_both_kinds(database: Database, tmp_path: Path) -> None:
    parameters = {"since": START, "limit": 10}
    other = open_database(f"sqlite:///{tmp_path}/other.db")
    with write_transaction(other) as connection:
        metadata.create_all(connection)
    try:
        for _ in range(2):
            with database.connect() as connection:
                assert len(both(connection, SINCE, parameters)) == 2
            with other.connect() as connection:
                assert both(connection, SINCE, parameters) == []
    finally:
        other.close()


def test_it_reads_what_its_transaction_has_written(database: Database) -> None:
    def insert_and_fail() -> None:
        with write_transaction(database) as connection:
            connection.execute(insert(things), {"id": 5, "name": "e", "time": START})
            assert len(both(connection, SINCE, {"since": START, "limit": 10})) == 3
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        insert_and_fail()
    with database.connect() as connection:
        assert len(both(connection, SINCE, {"since": START, "limit": 10})) == 2


def errors(connection: Connection, statement: Select[Any], parameters: dict[str, Any]) -> tuple[DBAPIError, DBAPIError]:
    """Return the errors of both ways, SQLAlchemy's second."""
    with pytest.raises(DBAPIError) as own:
        CompiledSelect(statement).fetch_all(connection, parameters)
    with pytest.raises(DBAPIError) as expected:
        connection.execute(statement, parameters).all()
    return own.value, expected.value


def test_errors_are_those_of_sqlalchemy_without_values(database: Database) -> None:
    statement = select(missing.c.id).where(missing.c.id == bindparam("id", type_=Integer))
    with database.connect() as connection:
        own, expected = errors(connection, statement, {"id": 987_654})
        assert type(own) is type(expected)
        assert type(own.orig) is type(expected.orig)
        assert own.statement == expected.statement
        assert own.__cause__ is own.orig
        assert (own.params, own.hide_parameters) == (None, True)
        assert "987654" not in str(own)
        assert "FROM missing" in str(own)
        assert not own.connection_invalidated
        # The connection is used on.
        assert len(both(connection, SINCE, {"since": START, "limit": 10})) == 2
    if database.engine.dialect.name == "postgresql":
        assert isinstance(own, ProgrammingError)
        assert str(getattr(own.orig, "sqlstate", "")) == "42P01"


def test_an_error_of_the_database_in_a_row_is_raised_too(database: Database) -> None:
    """SQLite and a server may report an error after the first rows."""
    failing = "abs(CASE id WHEN 3 THEN -9223372036854775808 ELSE 1 END)"
    if database.engine.dialect.name == "postgresql":
        failing = "1 / (3 - id)"
    with database.connect() as connection:
        own, expected = errors(connection, select(text(failing)).select_from(things), {})
        assert type(own) is type(expected)
        assert len(both(connection, SINCE, {"since": START, "limit": 10})) == 2


def test_while_something_listens_to_statements_sqlalchemy_executes_them(database: Database) -> None:
    seen: list[str] = []

    def listen(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    parameters = {"since": START, "limit": 10}
    with database.connect() as connection:
        rows = SINCE.fetch_all(connection, parameters)
        assert seen == []
        event.listen(database.engine, "before_cursor_execute", listen)
        try:
            assert [tuple(row) for row in SINCE.fetch_all(connection, parameters)] == rows
        finally:
            event.remove(database.engine, "before_cursor_execute", listen)
        assert len(seen) == 1
        assert SINCE.fetch_all(connection, parameters) == rows
        assert len(seen) == 1


@pytest.mark.needs("postgresql")
@pytest.mark.parametrize("connect", [Database.connect, write_transaction])
def test_a_lost_connection_is_invalidated_and_replaced(
    connect: Callable[[Database], AbstractContextManager[Connection]],
) -> None:
    with postgresql_schema() as url:
        database = open_database(url)
        one = CompiledSelect(select(bindparam("one", 1, type_=Integer)))
        process = CompiledSelect(select(func.pg_backend_pid()))

        def lose(connection: Connection) -> None:
            ((pid,),) = process.fetch_all(connection, {})
            with database.connect() as other:
                terminate = text("SELECT pg_terminate_backend(:pid, 10000)")
                assert other.execute(terminate, {"pid": pid}).scalar_one()
            with pytest.raises(OperationalError) as raised:
                one.fetch_all(connection, {})
            assert raised.value.connection_invalidated
            assert connection.invalidated
            # The use of a lost connection does not go on with another one.
            with pytest.raises(PendingRollbackError):
                one.fetch_all(connection, {})
            assert connection.invalidated
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError), connect(database) as lost:
            lose(lost)
        with database.connect() as connection:
            assert connection is not lost
            assert one.fetch_all(connection, {}) == [(1,)]
        database.close()


@pytest.mark.needs("postgresql")
def test_a_statement_that_takes_too_long_keeps_its_connection() -> None:
    with postgresql_schema() as url:
        database = open_database(url)
        slow = select(text("pg_sleep(30)"))
        with database.connect() as connection:
            connection.exec_driver_sql("SET statement_timeout = '50ms'")
            own, expected = errors(connection, slow, {})
            assert type(own) is type(expected)
            assert getattr(own.orig, "sqlstate", None) == "57014"
            assert not own.connection_invalidated
            assert CompiledSelect(select(bindparam("one", 1, type_=Integer))).fetch_all(connection, {}) == [(1,)]
        database.close()
