"""`CompiledSelect`: a SELECT that SQLAlchemy compiles once, and the driver executes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Select
from sqlalchemy.engine.interfaces import DBAPICursor, DBAPIModule
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler

_Convert = Callable[[Any], Any]


class CompiledSelect:
    """A SELECT that is executed by the driver's own cursor. Thread-safe.

    `Connection.execute` makes an execution context and a result for each execution, which takes a quarter to a third of
    the CPU time of reading a page (docs/decisions/sqlalchemy-core.md). Here, SQLAlchemy compiles the statement once;
    its types convert the values, and its classes wrap errors.

    While something listens to SQLAlchemy's event `before_cursor_execute`, as traces do, `Connection.execute` executes
    the statement. Otherwise, SQLAlchemy sends none of its events of statements and errors, and logs no statement.

    For selected columns, not for `text()`, and without a list after `IN`, whose length the SQL depends on.
    """

    def __init__(self, statement: Select[*tuple[Any, ...]]) -> None:
        self.statement = statement
        # For the dialect of the last execution: a process has one database.
        self._compiled: _Compiled | None = None

    def fetch_all(self, connection: Connection, parameters: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
        """Execute the statement and return all rows. `parameters` has a value for each parameter without a default.

        Raises SQLAlchemy's DBAPIError like `Connection.execute`, with the statement and without the parameters. If the
        connection is lost, it is invalidated. Raises KeyError, or StatementError while something listens, if a value is
        missing; ValueError for a list after `IN`.
        """
        if connection.engine.dispatch.before_cursor_execute:
            return connection.execute(self.statement, dict(parameters)).all()
        compiled = self._compiled
        if compiled is None or compiled.dialect is not connection.dialect:
            compiled = self._compiled = _Compiled(self.statement, connection.dialect)
        return compiled.fetch_all(connection, parameters)


class _Compiled:
    """The SQL of a SELECT for one dialect, and how its values are converted."""

    def __init__(self, statement: Select[*tuple[Any, ...]], dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)  # noqa: S101  # for the type checker: a SELECT has no other
        if compiled.post_compile_params:
            raise ValueError("a list after IN: CompiledSelect does not support it")
        self.dialect = dialect
        self._sql = str(compiled)
        binds = {name: bind for bind, name in compiled.bind_names.items()}
        # SQLite's LIMIT has an OFFSET, whose parameter has a default.
        self._defaults = {name: bind.effective_value for name, bind in binds.items() if not bind.required}
        names = compiled.positiontup
        self._is_positional = names is not None
        self._parameters: list[tuple[str, _Convert | None]] = [
            (name, binds[name].type.dialect_impl(dialect).bind_processor(dialect))
            for name in (binds if names is None else names)
        ]
        self._types = [column.type for column in statement.selected_columns]
        # By the index of the column; known after the first execution, since some depend on what the driver returns.
        self._conversions: list[tuple[int, _Convert]] | None = None

    def fetch_all(self, connection: Connection, parameters: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
        """Execute the SQL and return all rows."""
        driver_parameters = self._driver_parameters({**self._defaults, **parameters})
        # Any: sqlite3 and psycopg have this `execute`; PEP 249 has not.
        driver_connection: Any = connection.connection.dbapi_connection
        try:
            cursor: DBAPICursor = driver_connection.execute(self._sql, driver_parameters)
            rows = cursor.fetchall()
        except self.dialect.loaded_dbapi.Error as exc:
            raise self._wrapped(exc, connection, driver_connection) from exc
        if self._conversions is None:
            self._conversions = self._find_conversions(cursor)
        return _converted(rows, self._conversions)

    def _driver_parameters(self, values: Mapping[str, Any]) -> list[Any] | dict[str, Any]:
        if self._is_positional:
            return [values[name] if convert is None else convert(values[name]) for name, convert in self._parameters]
        return {name: values[name] if convert is None else convert(values[name]) for name, convert in self._parameters}

    def _find_conversions(self, cursor: DBAPICursor) -> list[tuple[int, _Convert]]:
        conversions: list[tuple[int, _Convert]] = []
        for index, (column_type, column) in enumerate(zip(self._types, cursor.description, strict=True)):
            convert = column_type.dialect_impl(self.dialect).result_processor(self.dialect, column[1])
            if convert is not None:
                conversions.append((index, convert))
        return conversions

    def _wrapped(self, exc: DBAPIModule.Error, connection: Connection, driver_connection: Any) -> BaseException:
        """Return the error as SQLAlchemy's; invalidate the connection if it is lost."""
        is_lost = self.dialect.is_disconnect(exc, driver_connection, None)
        if is_lost:
            # Within a transaction: otherwise SQLAlchemy would connect again if this use of the connection went on.
            if not connection.in_transaction():
                connection.begin()
            connection.invalidate(exc)
        return DBAPIError.instance(
            self._sql,
            None,  # callers' data
            exc,
            self.dialect.loaded_dbapi.Error,
            hide_parameters=True,
            connection_invalidated=is_lost,
            dialect=self.dialect,
        )


def _converted(rows: Sequence[tuple[Any, ...]], conversions: list[tuple[int, _Convert]]) -> Sequence[tuple[Any, ...]]:
    if not rows:
        return rows
    # Column by column, without a loop over the rows in Python.
    columns: list[Any] = list(zip(*rows, strict=True))
    for index, convert in conversions:
        columns[index] = map(convert, columns[index])
    return list(zip(*columns, strict=True))
