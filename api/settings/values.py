"""Checks of single values, lists in one variable, and the mistakes that `Env` collects."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import cast
from urllib.parse import urlsplit

import limits
import redis
from environs import Env, EnvValidationError
from marshmallow import ValidationError
from marshmallow.validate import OneOf, Range
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from api.auth.config import is_quotable, is_secure_url, without_credentials

# Larger numbers are mistakes, and overflow datetime.
MAX_NUMBER = 999_999_999
_MISSING = "is required"
# The schemes that redis-py supports; `unix` has the path of a socket.
_REDIS_SCHEMES = frozenset({"redis", "rediss", "unix"})
# An origin as browsers send it (RFC 6454 §6.2): lower case, without a path and without the scheme's default port.
_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::(?P<port>[1-9]\d{0,4}))?"
)
_DATABASES = frozenset({"sqlite", "postgresql"})
_DEFAULT_PORTS = {"http": "80", "https": "443"}
# The libraries' messages, reworded to follow the name of the variable as ours do.
_REWORDED = {
    "Environment variable not set.": _MISSING,
    "Not a valid integer.": "is not a whole number",
    "Not a valid boolean.": "is neither true nor false",
}


def one_of(choices: Iterable[str]) -> OneOf:
    """Return the check whether a value is one of the choices."""
    return OneOf(choices, error="{input} is not one of {choices}")


def between(lowest: int, highest: int) -> Range:
    """Return the check whether a number is in the range, both ends included."""
    return Range(lowest, highest, error="must be between {min} and {max}")


def read_list(
    env: Env, name: str, check: Callable[[str], object] | None = None, default: tuple[str, ...] | None = None
) -> tuple[str, ...]:
    """Return a comma-separated list; it is required if there is no default. Returns an empty tuple if it is invalid."""

    def check_all(entries: list[str]) -> None:
        if not any(entries):
            raise ValidationError(_MISSING)
        if not all(entries):
            raise ValidationError("has an empty entry")
        for entry in entries:
            if check is not None:
                check(entry)

    if default is None:
        values = env.list(name, subcast=_stripped, validate=check_all)
    else:
        values = env.list(name, list(default), subcast=_stripped, validate=check_all)
    return tuple(values or ())


def _stripped(entry: str) -> str:
    return entry.strip()


def mistakes_in(env: Env) -> list[str]:
    """Return a sentence for each variable that was read from `env` and is invalid."""
    try:
        env.seal()
    except EnvValidationError as exc:
        messages = cast("Mapping[str, list[str]]", exc.error_messages)  # a mapping, because Env is not eager
        return [
            f"{name}: {'; '.join(_REWORDED.get(text, text) for text in texts)}." for name, texts in messages.items()
        ]
    return []


def unless_empty(check: Callable[[str], object]) -> Callable[[str], None]:
    """Return the check for a variable that may be empty, which counts as not set."""

    def check_unless_empty(value: str) -> None:
        if value:
            check(value)

    return check_unless_empty


def check_url(value: str) -> None:
    """Raise ValidationError unless the value is an https URL, or an http URL of loopback."""
    if not is_secure_url(value):
        raise ValidationError(f"{without_credentials(value)} is not an https URL (http is for loopback only)")


def check_public_url(value: str) -> None:
    """Raise ValidationError unless the value is a base URL that can be quoted in a header."""
    try:
        parts = urlsplit(value)
    except ValueError as exc:
        raise ValidationError(f"{without_credentials(value)} is not a URL") from exc
    if not is_quotable(value):
        raise ValidationError("has characters that are not allowed in a WWW-Authenticate header")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or " " in value:
        shown = without_credentials(value)
        raise ValidationError(f"{shown} is not an http or https URL without query and fragment")


def check_database_url(value: str) -> None:
    """Raise ValidationError unless the value is the URL of a database that can be used. Does not connect."""
    try:
        url = make_url(value)
        dialect = url.get_dialect()
        if dialect.name not in _DATABASES:
            raise ValidationError("is not a SQLite or PostgreSQL URL")
        dialect.import_dbapi()
        dialect().create_connect_args(url)  # validates the driver's options
    except ImportError as exc:
        raise ValidationError(f"needs a driver that is not installed: {exc.name}") from exc
    except (ArgumentError, NoSuchModuleError, ValueError) as exc:
        # Without the value: a database URL contains a password.
        raise ValidationError("is not a SQLite or PostgreSQL URL") from exc


def check_redis_url(value: str) -> None:
    """Raise ValidationError unless redis-py accepts the URL. Does not connect."""
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError unless it is a number
    except ValueError as exc:
        raise ValidationError("is not a URL") from exc
    if parts.scheme not in _REDIS_SCHEMES or not (parts.path if parts.scheme == "unix" else parts.hostname):
        # Without the value, for the same reason.
        raise ValidationError("must be redis://host:port, rediss://host:port or unix:///path/of/socket")
    try:
        redis.ConnectionPool.from_url(value).make_connection()  # does not connect
    except (ValueError, TypeError, redis.RedisError) as exc:
        raise ValidationError("has an option that redis-py does not support") from exc


def check_origin(value: str) -> None:
    """Raise ValidationError unless the value is an origin as browsers send it (RFC 6454 §6.2)."""
    found = _ORIGIN.fullmatch(value)
    if found is None:
        raise ValidationError(f"{value} is not an origin as browsers send it: https://host or https://host:port")
    if found["port"] == _DEFAULT_PORTS[found["scheme"]]:
        raise ValidationError(f"{value} has the default port, which browsers omit: remove :{found['port']}")


def check_rate_limit(value: str) -> None:
    """Raise ValidationError unless the value is a single rate such as 600/minute."""
    try:
        several = limits.parse_many(value)
    except ValueError as exc:
        raise ValidationError(f"{value} is not a rate such as 600/minute") from exc
    numbers = (several[0].amount, several[0].get_expiry())
    if len(several) > 1 or not all(1 <= number <= MAX_NUMBER for number in numbers):
        raise ValidationError(f"{value} is not a single rate such as 600/minute")
