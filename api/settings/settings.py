"""`Settings`, read from the environment. Start here: `load_settings` says what is read, and from which variable."""

import logging
import os
from dataclasses import dataclass

import limits
from environs import Env
from limits import RateLimitItem

from api.auth.config import (
    DEFAULT_LEEWAY_SECONDS,
    DEFAULT_STALE_SECONDS,
    DEFAULT_TOKEN_CACHE_SIZE,
    KEY_KINDS,
    AuthConfig,
    ConfigError,
)
from api.auth.introspection import Introspection
from api.auth.mtls import MutualTLS
from api.settings.errors import SettingsError
from api.settings.issuers import read_introspection, read_issuers
from api.settings.names import mistyped_settings
from api.settings.proofs import DPoPSettings, read_dpop, read_mtls
from api.settings.server import ServerSettings, read_server_settings
from api.settings.tracing import asks_for_traces, mistakes_of_tracing
from api.settings.values import (
    MAX_NUMBER,
    between,
    check_database_url,
    check_origin,
    check_public_url,
    check_rate_limit,
    check_redis_url,
    mistakes_in,
    one_of,
    read_list,
    unless_empty,
)

DEFAULT_DATABASE_URL = "sqlite:///device-api.db"
LOG_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


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
    in_range = between(0, MAX_NUMBER)
    issuers, mistakes_in_issuers = read_issuers(env)
    introspection, mistakes_in_introspection = read_introspection(env)
    algorithms = read_list(env, "API_ALGORITHMS", one_of(KEY_KINDS), ("RS256",))
    leeway_seconds = env.int("API_LEEWAY_SECONDS", DEFAULT_LEEWAY_SECONDS, validate=in_range)
    stale_seconds = env.int("API_JWKS_STALE_SECONDS", DEFAULT_STALE_SECONDS, validate=in_range)
    token_cache_size = env.int("API_TOKEN_CACHE_SIZE", DEFAULT_TOKEN_CACHE_SIZE, validate=in_range)
    database_url = env.str("API_DATABASE_URL", DEFAULT_DATABASE_URL, validate=check_database_url)
    sample_data = env.bool("API_SAMPLE_DATA", False)  # environs has a positional default
    log_level = env.str("API_LOG_LEVEL", "info", validate=one_of(LOG_LEVELS))
    public_url = env.str("API_PUBLIC_URL", "", validate=unless_empty(check_public_url)) or None
    redis_url = env.str("API_REDIS_URL", "", validate=unless_empty(check_redis_url)) or None
    cors_origins = read_list(env, "API_CORS_ORIGINS", check_origin, ()) if env.str("API_CORS_ORIGINS", "") else ()
    rate_limit = env.str("API_RATE_LIMIT", "", validate=unless_empty(check_rate_limit)) or None
    dpop = read_dpop(env, public_url)
    mtls, mistakes_in_mtls = read_mtls(env)
    tracing = asks_for_traces(env)
    mistakes = [
        *mistakes_in(env),
        *mistakes_in_issuers,
        *mistakes_in_introspection,
        *mistakes_in_mtls,
        *(mistakes_of_tracing() if tracing else ()),
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
