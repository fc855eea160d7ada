"""Say in one sentence why a database could not be used, without its password and without data."""

from typing import Any

from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

_UNREACHABLE = "connection failed: "


def described(database_url: str, error: SQLAlchemyError) -> str:
    """Return where the database is and what its driver says, such as "PostgreSQL at db:5432, database x: …".

    Without the password, and without values: of the errors of statements that can quote them, only the code is given.
    """
    url = make_url(database_url)
    cause: Any = getattr(error, "orig", None)
    return f"{_location(url)}: {_reason(error, cause, url)}"


def _location(url: URL) -> str:
    if url.get_backend_name() == "sqlite":
        return f"SQLite file {url.database}"
    host, port = url.host or url.query.get("host") or "the local socket", url.port or url.query.get("port") or 5432
    return f"PostgreSQL at {host}:{port}, database {url.database}"


def _reason(error: SQLAlchemyError, cause: Any, url: URL) -> str:
    code = getattr(cause, "sqlstate", None)
    if cause is None or isinstance(error, IntegrityError) or (code or "").startswith("22"):
        return f"{type(error).__name__} {code or ''}".strip()
    # The server's message without its detail and its statement, which can quote values; before there is a session, the
    # driver's own, with a hint in the next lines.
    message = getattr(getattr(cause, "diag", None), "message_primary", None) or str(cause)
    # psycopg repeats the address of the server before the reason.
    line = message.strip().partition("\n")[0].rpartition(" failed: ")[2].removeprefix("FATAL:").strip()
    if url.password:
        line = line.replace(str(url.password), "***")
    return line.rstrip(".") or type(error).__name__
