"""Read and validate the settings from the environment. No other module of api/ reads API_ variables."""

import importlib.util
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast, get_args
from urllib.parse import urlsplit

import limits
import redis
from environs import Env, EnvValidationError
from limits import RateLimitItem
from marshmallow import ValidationError
from marshmallow.validate import OneOf, Range
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from api.auth.config import (
    DEFAULT_LEEWAY_SECONDS,
    DEFAULT_STALE_SECONDS,
    DEFAULT_TOKEN_CACHE_SIZE,
    DEFAULT_TOKEN_TYPES,
    KEY_KINDS,
    AuthConfig,
    ConfigError,
    TrustedIssuer,
    is_quotable,
    is_secure_url,
    without_credentials,
)
from api.auth.dpop.dpop import DEFAULT_WINDOW_SECONDS, MAX_WINDOW_SECONDS
from api.auth.dpop.nonces import MIN_SECRET_BYTES
from api.auth.dpop.proof import ALGORITHMS as PROOF_ALGORITHMS
from api.auth.introspection import Introspection, Tokens
from api.auth.mtls import DEFAULT_HEADER, MutualTLS
from api.issuers_file import IssuersInFile, read_issuers, read_secret
from api.setting_names import mistyped_settings

DEFAULT_DATABASE_URL = "sqlite:///device-api.db"
LOG_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_MISSING = "is required"
# What api/operations/tracing.py imports of the extra `tracing`.
_TRACING_MODULES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")
# What API_ISSUERS_FILE says in place of these.
_SET_IN_FILE = ("API_ISSUERS", "API_AUDIENCE", "API_JWKS_URL", "API_TOKEN_TYPES")
_OF_INTROSPECTION = (
    "API_INTROSPECTION_CLIENT_SECRET",
    "API_INTROSPECTION_CLIENT_SECRET_FILE",
    "API_INTROSPECTION_ENDPOINT",
    "API_INTROSPECTION_TOKENS",
)
_OF_MTLS = ("API_MTLS_PROXIES", "API_MTLS_HEADER")
_OF_DPOP = (
    "API_DPOP_ALGORITHMS",
    "API_DPOP_WINDOW_SECONDS",
    "API_DPOP_NONCE_SECRET",
    "API_DPOP_NONCE_SECRET_FILE",
)
# Larger numbers are mistakes, and overflow datetime.
_MAX_NUMBER = 999_999_999
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


class SettingsError(ValueError):
    """Invalid settings; `mistakes` has a sentence for each, which begins with the variable's name."""

    def __init__(self, mistakes: list[str]) -> None:
        count = "One setting is" if len(mistakes) == 1 else f"{len(mistakes)} settings are"
        super().__init__("\n  ".join([f"{count} invalid (see docs/settings.md):", *mistakes]))
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, slots=True, kw_only=True)
class DPoPSettings:
    """Which DPoP proofs are accepted: the arguments of `DPoP`, in api/auth/dpop/."""

    required: bool = False
    algorithms: tuple[str, ...] = PROOF_ALGORITHMS
    window_seconds: int = DEFAULT_WINDOW_SECONDS
    nonce_secret: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of the API.

    `public_url` is the API's base URL as clients know it; None derives it from each request. `log_level` is a number of
    the logging module. `redis_url` is the Redis where processes share rate limits and revocations; None means that each
    process counts only its own requests, and that no token can be revoked. `cors_origins` are the origins whose pages
    may call the API. `rate_limit` applies to each caller; None means no limit. `introspection` says which issuers are
    asked about tokens. `dpop` says which proofs are accepted for tokens that are bound to a key; None refuses these
    tokens. `mtls` says which proxies hand on client certificates; None refuses tokens that are bound to one. `tracing`
    is whether OpenTelemetry's standard variables ask for traces; where they go, OpenTelemetry reads there itself.
    """

    auth: AuthConfig
    database_url: str = DEFAULT_DATABASE_URL
    sample_data: bool = False
    log_level: int = logging.INFO
    public_url: str | None = None
    redis_url: str | None = None
    cors_origins: tuple[str, ...] = ()
    rate_limit: RateLimitItem | None = None
    introspection: tuple[Introspection, ...] = ()
    dpop: DPoPSettings | None = None
    mtls: MutualTLS | None = None
    tracing: bool = False


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where the server listens, and with how many processes; all servers take them from the same variables."""

    host: str
    port: int
    workers: int


def read_server_settings() -> tuple[ServerSettings, list[str]]:
    """Return HOST, PORT and WEB_CONCURRENCY, and a sentence for each that is invalid, whose default is returned.

    Loopback by default: listening on a network should be a decision. One process per core: verifying tokens is CPU
    work.
    """
    mistakes: list[str] = []

    def number(variable: str, default: int, highest: int) -> int:
        text = os.environ.get(variable) or str(default)
        if text.isascii() and text.isdecimal() and len(text) <= len(str(highest)) and int(text) <= highest:
            return int(text)
        mistakes.append(f"{variable}: must be a whole number from 0 to {highest}.")
        return default

    port = number("PORT", 8000, 65_535)
    workers = number("WEB_CONCURRENCY", 0, 999) or os.cpu_count() or 1
    return ServerSettings(os.environ.get("HOST") or "127.0.0.1", port, workers), mistakes


def load_all_settings() -> tuple[Settings, ServerSettings]:
    """Return the settings of the API and those of its server. Raises SettingsError with all mistakes at once."""
    server_settings, mistakes = read_server_settings()
    try:
        settings = load_settings()
    except SettingsError as exc:
        raise SettingsError([*exc.mistakes, *mistakes]) from exc
    if mistakes:
        raise SettingsError(mistakes)
    return settings, server_settings


def load_settings() -> Settings:
    """Return the settings in the environment. Raises SettingsError with all mistakes at once."""
    env = Env(eager=False)
    in_range = Range(0, _MAX_NUMBER, error="must be between {min} and {max}")
    issuers, mistakes_in_issuers = _issuers(env)
    introspection, mistakes_in_introspection = _introspection(env)
    algorithms = _list(env, "API_ALGORITHMS", OneOf(KEY_KINDS, error="{input} is not one of {choices}"), ("RS256",))
    leeway_seconds = env.int("API_LEEWAY_SECONDS", DEFAULT_LEEWAY_SECONDS, validate=in_range)
    stale_seconds = env.int("API_JWKS_STALE_SECONDS", DEFAULT_STALE_SECONDS, validate=in_range)
    token_cache_size = env.int("API_TOKEN_CACHE_SIZE", DEFAULT_TOKEN_CACHE_SIZE, validate=in_range)
    database_url = env.str("API_DATABASE_URL", DEFAULT_DATABASE_URL, validate=_check_database_url)
    sample_data = env.bool("API_SAMPLE_DATA", False)  # environs has a positional default
    log_level = env.str("API_LOG_LEVEL", "info", validate=OneOf(LOG_LEVELS, error="{input} is not one of {choices}"))
    public_url = env.str("API_PUBLIC_URL", "", validate=_unless_empty(_check_public_url)) or None
    redis_url = env.str("API_REDIS_URL", "", validate=_unless_empty(_check_redis_url)) or None
    cors_origins = _list(env, "API_CORS_ORIGINS", _check_origin, ()) if env.str("API_CORS_ORIGINS", "") else ()
    rate_limit = env.str("API_RATE_LIMIT", "", validate=_unless_empty(_check_rate_limit)) or None
    dpop = _dpop(env, public_url)
    mtls, mistakes_in_mtls = _mtls(env)
    tracing = _asks_for_traces(env)
    mistakes = [
        *_mistakes(env),
        *mistakes_in_issuers,
        *mistakes_in_introspection,
        *mistakes_in_mtls,
        *(_mistakes_of_tracing() if tracing else ()),
    ]
    mistakes += mistyped_settings(os.environ)
    if introspection and len(issuers.issuers) > 1:
        mistakes.append(
            "API_INTROSPECTION_CLIENT_ID: can only be set with a single issuer; for several, use API_ISSUERS_FILE."
        )
    if mistakes:
        raise SettingsError(mistakes)
    try:
        auth = AuthConfig(
            issuers=issuers.issuers,
            algorithms=algorithms,
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
        redis_url=redis_url,
        cors_origins=cors_origins,
        rate_limit=limits.parse(rate_limit) if rate_limit else None,
        introspection=issuers.introspection or introspection,
        dpop=dpop,
        mtls=mtls,
        tracing=tracing,
    )


def _mtls(env: Env) -> tuple[MutualTLS | None, list[str]]:
    """Return which client certificates are believed, None without API_MTLS, and mistakes; some are kept in `env`."""
    is_mode = OneOf(("optional", "required"), error="{input} is not one of {choices}")
    mode = env.str("API_MTLS", "", validate=_unless_empty(is_mode))
    if not os.environ.get("API_MTLS"):
        for name in _OF_MTLS:
            env.str(name, "", validate=_unless_empty(_refuse_without_mtls))
        return None, []
    proxies = _list(env, "API_MTLS_PROXIES")
    header = env.str("API_MTLS_HEADER", "") or DEFAULT_HEADER
    if not proxies:  # `env` has the mistake
        return None, []
    try:
        return MutualTLS(proxies=proxies, header=header, required=mode == "required"), []
    except ConfigError as exc:
        # Each begins with the name of the argument.
        named = [mistake.partition(" ") for mistake in exc.mistakes]
        return None, [f"API_MTLS_{name.rstrip(':').upper()}: {rest}" for name, _, rest in named]


def _refuse_without_mtls(_value: str) -> None:
    raise ValidationError("has no effect without API_MTLS")


def _dpop(env: Env, public_url: str | None) -> DPoPSettings | None:
    """Return the settings of DPoP, None without API_DPOP; their mistakes are kept in `env`."""
    is_mode = OneOf(("optional", "required"), error="{input} is not one of {choices}")

    def check_mode(mode: str) -> None:
        is_mode(mode)
        if public_url is None:
            raise ValidationError("needs API_PUBLIC_URL: each proof names the address that it was made for")

    mode = env.str("API_DPOP", "", validate=_unless_empty(check_mode))
    if not os.environ.get("API_DPOP"):
        for name in _OF_DPOP:
            env.str(name, "", validate=_unless_empty(_refuse_without_dpop))
        return None
    is_algorithm = OneOf(PROOF_ALGORITHMS, error="{input} is not one of {choices}")
    in_range = Range(1, MAX_WINDOW_SECONDS, error="must be between {min} and {max}")
    return DPoPSettings(
        required=mode == "required",
        algorithms=_list(env, "API_DPOP_ALGORITHMS", is_algorithm, PROOF_ALGORITHMS),
        window_seconds=env.int("API_DPOP_WINDOW_SECONDS", DEFAULT_WINDOW_SECONDS, validate=in_range),
        nonce_secret=_nonce_secret(env),
    )


def _refuse_without_dpop(_value: str) -> None:
    raise ValidationError("has no effect without API_DPOP")


def _nonce_secret(env: Env) -> bytes | None:
    """Return the secret of a variable or a file, without white space around it; None without both."""
    secret = b""

    def check_secret(text: str) -> None:
        nonlocal secret
        secret = text.strip().encode("utf-8", "surrogateescape")
        if len(secret) < MIN_SECRET_BYTES:
            # Without the value, which is a secret.
            raise ValidationError(f"has fewer than {MIN_SECRET_BYTES} bytes")

    def check_file(path: str) -> None:
        if env.str("API_DPOP_NONCE_SECRET", ""):
            raise ValidationError("cannot be set together with API_DPOP_NONCE_SECRET")
        try:
            text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
        except OSError as exc:
            raise ValidationError(f"{path} cannot be read: {exc.strerror}") from exc
        check_secret(text)

    env.str("API_DPOP_NONCE_SECRET", "", validate=_unless_empty(check_secret))
    env.str("API_DPOP_NONCE_SECRET_FILE", "", validate=_unless_empty(check_file))
    return secret or None


def _asks_for_traces(env: Env) -> bool:
    """Return whether OpenTelemetry's standard variables ask for traces; their mistakes are kept in `env`."""
    if env.str("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    is_exporter = OneOf(("otlp", "none"), error="{input} is not one of {choices}")
    exporter = env.str("OTEL_TRACES_EXPORTER", "", validate=_unless_empty(is_exporter))
    endpoints = [
        env.str(name, "", validate=_unless_empty(_check_collector))
        for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    ]
    if exporter == "none" or not (exporter or any(endpoints)):
        return False
    is_protocol = OneOf(("http/protobuf",), error="{input} is not supported; http/protobuf is")
    for name in ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"):
        env.str(name, "", validate=_unless_empty(is_protocol))
    return True


def _check_collector(value: str) -> None:
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError unless it is a number
    except ValueError as exc:
        raise ValidationError("is not a URL") from exc
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        # Without the value: it may contain a password.
        raise ValidationError("is not an http or https URL")


def _mistakes_of_tracing() -> list[str]:
    try:
        is_installed = all(importlib.util.find_spec(name) for name in _TRACING_MODULES)
    except ModuleNotFoundError:  # a package around the module
        is_installed = False
    if is_installed:
        return []
    mistake = "traces need device-api[tracing], which is not installed; install it, or set OTEL_SDK_DISABLED=true."
    return [f"OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_TRACES_EXPORTER: {mistake}"]


def _introspection(env: Env) -> tuple[tuple[Introspection, ...], list[str]]:
    """Return how the single issuer is asked about tokens, and mistakes; those in single variables are kept in `env`."""
    client_id = env.str("API_INTROSPECTION_CLIENT_ID", "")
    if not client_id:
        for name in _OF_INTROSPECTION:
            env.str(name, "", validate=_unless_empty(_refuse_without_client_id))
        return (), []
    secret = _client_secret(env)
    endpoint = env.str("API_INTROSPECTION_ENDPOINT", "", validate=_unless_empty(_check_url)) or None
    is_choice = OneOf(get_args(Tokens), error="{input} is not one of {choices}")
    tokens = cast("Tokens", env.str("API_INTROSPECTION_TOKENS", "opaque", validate=is_choice))
    if secret == "":
        return (), ["API_INTROSPECTION_CLIENT_SECRET: is required, or API_INTROSPECTION_CLIENT_SECRET_FILE."]
    try:
        one = Introspection(client_id=client_id, client_secret=secret or "", endpoint=endpoint, tokens=tokens)
    except ConfigError:  # `env` has the mistake
        return (), []
    return (one,), []


def _refuse_without_client_id(_value: str) -> None:
    raise ValidationError("has no effect without API_INTROSPECTION_CLIENT_ID, or with API_ISSUERS_FILE")


def _client_secret(env: Env) -> str | None:
    """Return the secret of a variable or of a file; "" if there is none, None for a mistake that is kept in `env`."""
    in_file: str | None = None

    def check_file(path: str) -> None:
        nonlocal in_file
        if env.str("API_INTROSPECTION_CLIENT_SECRET", ""):
            raise ValidationError("cannot be set together with API_INTROSPECTION_CLIENT_SECRET")
        try:
            in_file = read_secret(path)
        except ConfigError as exc:
            raise ValidationError(" ".join(exc.mistakes).removesuffix(".")) from exc

    if env.str("API_INTROSPECTION_CLIENT_SECRET_FILE", "", validate=_unless_empty(check_file)) != "":
        return in_file
    return env.str("API_INTROSPECTION_CLIENT_SECRET", "")


def _issuers(env: Env) -> tuple[IssuersInFile, list[str]]:
    """Return the trusted issuers, of a file or of variables, and mistakes; those in single variables are kept in `env`.

    If there are any mistakes, the issuers may lack some.
    """
    path = env.str("API_ISSUERS_FILE", "")
    try:
        return (_issuers_of_file(env, path) if path else IssuersInFile(_issuers_of_variables(env))), []
    except ConfigError as exc:
        return IssuersInFile(), list(exc.mistakes)


def _issuers_of_file(env: Env, path: str) -> IssuersInFile:
    mistakes = [
        f"{name}: cannot be set together with API_ISSUERS_FILE; write it in the file, for each issuer."
        for name in (*_SET_IN_FILE, "API_INTROSPECTION_CLIENT_ID")
        if env.str(name, "")
    ]
    issuers = IssuersInFile()
    try:
        issuers = read_issuers(path)
    except ConfigError as exc:
        mistakes += [f"API_ISSUERS_FILE: {mistake}" for mistake in exc.mistakes]
    if mistakes:
        raise ConfigError(mistakes)
    return issuers


def _issuers_of_variables(env: Env) -> tuple[TrustedIssuer, ...]:
    identifiers = _list(env, "API_ISSUERS", _check_url)
    audiences = _list(env, "API_AUDIENCE")
    jwks_url = env.str("API_JWKS_URL", "", validate=_unless_empty(_check_url)) or None
    token_types = _list(env, "API_TOKEN_TYPES", default=DEFAULT_TOKEN_TYPES)
    if jwks_url and len(identifiers) > 1:
        raise ConfigError(
            ["API_JWKS_URL: can only be set with a single issuer; the keys of several are found by discovery."]
        )
    if not audiences or not token_types:
        return ()  # `env` has the mistake
    return tuple(
        TrustedIssuer(identifier=identifier, audiences=audiences, jwks_url=jwks_url, token_types=token_types)
        for identifier in identifiers
    )


def _list(
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


def _unless_empty(check: Callable[[str], object]) -> Callable[[str], None]:
    def check_unless_empty(value: str) -> None:
        if value:
            check(value)

    return check_unless_empty


def _check_url(value: str) -> None:
    if not is_secure_url(value):
        raise ValidationError(f"{without_credentials(value)} is not an https URL (http is for loopback only)")


def _check_public_url(value: str) -> None:
    try:
        parts = urlsplit(value)
    except ValueError as exc:
        raise ValidationError(f"{without_credentials(value)} is not a URL") from exc
    if not is_quotable(value):
        raise ValidationError("has characters that are not allowed in a WWW-Authenticate header")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or " " in value:
        shown = without_credentials(value)
        raise ValidationError(f"{shown} is not an http or https URL without query and fragment")


def _check_database_url(value: str) -> None:
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


def _check_redis_url(value: str) -> None:
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


def _check_origin(value: str) -> None:
    found = _ORIGIN.fullmatch(value)
    if found is None:
        raise ValidationError(f"{value} is not an origin as browsers send it: https://host or https://host:port")
    if found["port"] == _DEFAULT_PORTS[found["scheme"]]:
        raise ValidationError(f"{value} has the default port, which browsers omit: remove :{found['port']}")


def _check_rate_limit(value: str) -> None:
    try:
        several = limits.parse_many(value)
    except ValueError as exc:
        raise ValidationError(f"{value} is not a rate such as 600/minute") from exc
    numbers = (several[0].amount, several[0].get_expiry())
    if len(several) > 1 or not all(1 <= number <= _MAX_NUMBER for number in numbers):
        raise ValidationError(f"{value} is not a single rate such as 600/minute")


def _mistakes(env: Env) -> list[str]:
    try:
        env.seal()
    except EnvValidationError as exc:
        messages = cast("Mapping[str, list[str]]", exc.error_messages)  # a mapping, because Env is not eager
        return [
            f"{name}: {'; '.join(_REWORDED.get(text, text) for text in texts)}." for name, texts in messages.items()
        ]
    return []
