"""Environment → frozen Settings. The one reader of the environment; it tells all mistakes together."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from environs import Env, EnvValidationError
from marshmallow import ValidationError
from marshmallow.validate import OneOf, Range
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from .auth.config import (
    DEFAULT_LEEWAY_SECONDS,
    DEFAULT_STALE_SECONDS,
    DEFAULT_TOKEN_CACHE_SIZE,
    DEFAULT_TOKEN_TYPES,
    AuthConfig,
    ConfigError,
    TrustedIssuer,
    fetchable,
    is_quotable,
)
from .auth.keys import KEY_KINDS

DEFAULT_DATABASE_URL = "sqlite:///device-api.db"
LOG_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_MISSING = "is required"
# What the libraries say, to go on after the variable's name as our own sentences do.
_WORDING = {
    "Environment variable not set.": _MISSING,
    "Not a valid integer.": "is not a whole number",
    "Not a valid boolean.": "is neither true nor false",
}


class SettingsError(ValueError):
    """Settings that the API cannot start with; `mistakes` has a sentence for each, naming the variable."""

    def __init__(self, mistakes: list[str]) -> None:
        count = "A setting is" if len(mistakes) == 1 else f"{len(mistakes)} settings are"
        super().__init__("\n  ".join([f"{count} wrong; the README lists them all:", *mistakes]))
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How this process is set up.

    `public_url` is the API's address as clients know it, None to take it from each request. `log_level` is a number of
    the logging module.
    """

    auth: AuthConfig
    database_url: str = DEFAULT_DATABASE_URL
    sample_data: bool = False
    log_level: int = logging.INFO
    public_url: str | None = None


def load_settings() -> Settings:
    """Return the settings that the environment gives. Raises SettingsError, which tells all mistakes together."""
    env = Env(eager=False)
    not_negative = Range(min=0, error="must be 0 or more")
    issuers = _words(env, "API_ISSUERS", _check_url)
    audiences = _words(env, "API_AUDIENCE")
    jwks_url = env.str("API_JWKS_URL", "", validate=_unless_empty(_check_url)) or None
    algorithms = _words(env, "API_ALGORITHMS", OneOf(KEY_KINDS, error="{input} is not one of {choices}"), ("RS256",))
    token_types = _words(env, "API_TOKEN_TYPES", default=DEFAULT_TOKEN_TYPES)
    leeway_seconds = env.int("API_LEEWAY_SECONDS", DEFAULT_LEEWAY_SECONDS, validate=not_negative)
    stale_seconds = env.int("API_JWKS_STALE_SECONDS", DEFAULT_STALE_SECONDS, validate=not_negative)
    token_cache_size = env.int("API_TOKEN_CACHE_SIZE", DEFAULT_TOKEN_CACHE_SIZE, validate=not_negative)
    database_url = env.str("API_DATABASE_URL", DEFAULT_DATABASE_URL, validate=_check_database_url)
    sample_data = env.bool("API_SAMPLE_DATA", False)  # environs takes the default in this place
    log_level = env.str("API_LOG_LEVEL", "info", validate=OneOf(LOG_LEVELS, error="{input} is not one of {choices}"))
    public_url = env.str("API_PUBLIC_URL", "", validate=_unless_empty(_check_public_url)) or None
    mistakes = _mistakes(env)
    if jwks_url and len(issuers) > 1:
        mistakes.append("API_JWKS_URL: goes with one issuer; the keys of several are found by discovery.")
    if mistakes:
        raise SettingsError(mistakes)
    try:
        auth = AuthConfig(
            issuers=tuple(
                TrustedIssuer(identifier=issuer, audiences=audiences, jwks_url=jwks_url) for issuer in issuers
            ),
            algorithms=algorithms,
            token_types=token_types,
            leeway_seconds=leeway_seconds,
            stale_seconds=stale_seconds,
            token_cache_size=token_cache_size,
        )
    except ConfigError as exc:
        raise SettingsError(list(exc.mistakes)) from exc
    return Settings(
        auth=auth,
        database_url=database_url,
        sample_data=sample_data,
        log_level=LOG_LEVELS[log_level],
        public_url=public_url,
    )


def _words(
    env: Env, name: str, check: Callable[[str], object] | None = None, default: tuple[str, ...] | None = None
) -> tuple[str, ...]:
    """Read a comma-separated list: required where there is no default; empty where it was wrong."""

    def check_all(words: list[str]) -> None:
        if not any(words):
            raise ValidationError(_MISSING)
        if not all(words):
            raise ValidationError("has an empty entry between its commas")
        for word in words:
            if check is not None:
                check(word)

    if default is None:
        values = env.list(name, subcast=_stripped, validate=check_all)
    else:
        values = env.list(name, list(default), subcast=_stripped, validate=check_all)
    return tuple(values or ())


def _stripped(word: str) -> str:
    return word.strip()


def _unless_empty(check: Callable[[str], object]) -> Callable[[str], None]:
    def check_unless_empty(value: str) -> None:
        if value:
            check(value)

    return check_unless_empty


def _check_url(value: str) -> None:
    if not fetchable(value):
        raise ValidationError(f"{value} is not an https URL (http is for loopback only)")


def _check_public_url(value: str) -> None:
    try:
        parts = urlsplit(value)
    except ValueError as exc:
        raise ValidationError(f"{value} is not a URL") from exc
    if not is_quotable(value):
        raise ValidationError("has characters that no challenge can hold")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValidationError(f"{value} is not an http or https URL without query and fragment")


def _check_database_url(value: str) -> None:
    try:
        make_url(value).get_dialect()
    except (ArgumentError, NoSuchModuleError) as exc:
        # Not the value: a database address holds a password.
        raise ValidationError("is not a database address that SQLAlchemy knows") from exc


def _mistakes(env: Env) -> list[str]:
    try:
        env.seal()
    except EnvValidationError as exc:
        messages = cast("Mapping[str, list[str]]", exc.error_messages)  # by name, since nothing is eager
        return [f"{name}: {'; '.join(_WORDING.get(text, text) for text in texts)}." for name, texts in messages.items()]
    return []
