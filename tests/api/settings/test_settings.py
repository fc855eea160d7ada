import logging

import pytest

from api.settings import SettingsError, load_settings
from tests.kit.settings import load, mistakes


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch)
    auth = settings.auth
    assert [issuer.identifier for issuer in auth.issuers] == ["https://issuer.example/"]
    assert auth.issuers[0].audiences == ("https://device-api.example",)
    assert auth.issuers[0].jwks_url is None
    assert auth.algorithms == ("RS256",)
    assert auth.issuers[0].token_types == ("at+jwt", "JWT")
    assert (auth.leeway_seconds, auth.stale_seconds, auth.token_cache_size) == (30, 86_400, 10_000)
    assert settings.database_url == "sqlite:///device-api.db"
    assert (settings.sample_data, settings.log_level, settings.public_url) == (False, logging.INFO, None)
    assert (settings.redis_url, settings.cors_origins, settings.rate_limit) == (None, (), None)


def test_every_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        API_ISSUERS="https://a.example/, https://b.example",
        API_AUDIENCE="one , two",
        API_ALGORITHMS="RS256,ES256",
        API_TOKEN_TYPES="at+jwt",
        API_LEEWAY_SECONDS="5",
        API_JWKS_STALE_SECONDS="0",
        API_TOKEN_CACHE_SIZE="0",
        API_DATABASE_URL="postgresql+psycopg://localhost/x",
        API_SAMPLE_DATA="true",
        API_LOG_LEVEL="debug",
        API_PUBLIC_URL="https://api.example",
        API_REDIS_URL="rediss://user:password@redis.example:6380/1",
        API_CORS_ORIGINS="https://tv.example, http://localhost:3000,http://[::1]:3000",
        API_RATE_LIMIT="600/minute",
    )
    auth = settings.auth
    assert [issuer.identifier for issuer in auth.issuers] == ["https://a.example/", "https://b.example"]
    assert auth.issuers[1].audiences == ("one", "two")
    assert auth.algorithms == ("RS256", "ES256")
    assert {issuer.token_types for issuer in auth.issuers} == {("at+jwt",)}
    assert (auth.leeway_seconds, auth.stale_seconds, auth.token_cache_size) == (5, 0, 0)
    assert (settings.sample_data, settings.log_level) == (True, logging.DEBUG)
    assert settings.public_url == "https://api.example"
    assert settings.database_url == "postgresql+psycopg://localhost/x"
    assert settings.redis_url == "rediss://user:password@redis.example:6380/1"
    assert settings.cors_origins == ("https://tv.example", "http://localhost:3000", "http://[::1]:3000")
    assert settings.rate_limit is not None
    assert (settings.rate_limit.amount, settings.rate_limit.get_expiry()) == (600, 60)


def test_an_empty_optional_setting_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = (
        "API_ISSUERS_FILE",
        "API_JWKS_URL",
        "API_PUBLIC_URL",
        "API_REDIS_URL",
        "API_CORS_ORIGINS",
        "API_RATE_LIMIT",
        "API_INTROSPECTION_CLIENT_ID",
        "API_INTROSPECTION_CLIENT_SECRET",
        "API_INTROSPECTION_CLIENT_SECRET_FILE",
        "API_INTROSPECTION_ENDPOINT",
        "API_MTLS",
        "API_MTLS_PROXIES",
        "API_MTLS_HEADER",
    )
    settings = load(monkeypatch, **dict.fromkeys(empty, ""))
    assert settings.auth.issuers[0].jwks_url is None
    assert settings.public_url is None
    assert (settings.redis_url, settings.cors_origins, settings.rate_limit) == (None, (), None)
    assert settings.introspection == ()
    assert settings.mtls is None


@pytest.mark.parametrize("rate", ["600/minute", "5 per 2 seconds", "1000/day"])
@pytest.mark.parametrize(
    "url", ["redis://localhost", "unix:///run/redis.sock", "redis://h:1/2?health_check_interval=5"]
)
def test_usual_rates_and_redis_urls_are_accepted(monkeypatch: pytest.MonkeyPatch, rate: str, url: str) -> None:
    settings = load(monkeypatch, API_RATE_LIMIT=rate, API_REDIS_URL=url)
    assert settings.redis_url == url
    assert settings.rate_limit is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_ISSUERS", ""),
        ("API_ISSUERS", " , "),
        ("API_ISSUERS", "https://a.example/,,https://b.example/"),
        ("API_ISSUERS", "http://issuer.example/"),
        ("API_ISSUERS", "issuer.example"),
        ("API_AUDIENCE", ""),
        ("API_JWKS_URL", "http://issuer.example/jwks"),
        ("API_ALGORITHMS", "none"),
        ("API_ALGORITHMS", "RS256,HS256"),
        ("API_ALGORITHMS", ""),
        ("API_TOKEN_TYPES", ""),
        ("API_LEEWAY_SECONDS", "-1"),
        ("API_LEEWAY_SECONDS", "thirty"),
        ("API_LEEWAY_SECONDS", ""),
        ("API_LEEWAY_SECONDS", "9" * 400),
        ("API_JWKS_STALE_SECONDS", "1.5"),
        ("API_JWKS_STALE_SECONDS", "9" * 400),
        ("API_TOKEN_CACHE_SIZE", "-5"),
        ("API_DATABASE_URL", "devices.db"),
        ("API_DATABASE_URL", "nosuchdatabase://x"),
        ("API_DATABASE_URL", ""),
        ("API_DATABASE_URL", "mysql://host/x"),
        ("API_DATABASE_URL", "postgresql+nosuchdriver://host/x"),
        ("API_DATABASE_URL", "postgresql+pg8000://host/x"),
        ("API_DATABASE_URL", "postgresql://host:port/x"),
        ("API_DATABASE_URL", "sqlite:///devices.db?timeout=long"),
        ("API_REDIS_URL", "localhost:6379"),
        ("API_REDIS_URL", "http://localhost"),
        ("API_REDIS_URL", "redis://"),
        ("API_REDIS_URL", "redis://localhost:port"),
        ("API_REDIS_URL", "redis://localhost?nosuchoption=1"),
        ("API_REDIS_URL", "redis://localhost?socket_timeout=long"),
        ("API_REDIS_URL", "redis://localhost?protocol=9"),
        ("API_REDIS_URL", "unix://"),
        ("API_CORS_ORIGINS", "*"),
        ("API_CORS_ORIGINS", "null"),
        ("API_CORS_ORIGINS", "https://tv.example/"),
        ("API_CORS_ORIGINS", "https://tv.example/path"),
        ("API_CORS_ORIGINS", "https://TV.example"),
        ("API_CORS_ORIGINS", "https://*.example"),
        ("API_CORS_ORIGINS", "https://tv.example:443"),
        ("API_CORS_ORIGINS", "https://tv.example,,https://other.example"),
        ("API_CORS_ORIGINS", "tv.example"),
        ("API_CORS_ORIGINS", "ftp://tv.example"),
        ("API_RATE_LIMIT", "600"),
        ("API_RATE_LIMIT", "600/fortnight"),
        ("API_RATE_LIMIT", "0/minute"),
        ("API_RATE_LIMIT", "-1/minute"),
        ("API_RATE_LIMIT", "1/second; 10/minute"),
        ("API_RATE_LIMIT", f"1 per {10**30} minutes"),
        ("API_SAMPLE_DATA", "perhaps"),
        ("API_LOG_LEVEL", "loud"),
        ("API_PUBLIC_URL", "api.example"),
        ("API_PUBLIC_URL", "https://api.example/?a"),
        ("API_PUBLIC_URL", 'https://api.example/"'),
        ("API_PUBLIC_URL", "http://[::1"),
        ("API_PUBLIC_URL", "https://api. example"),
    ],
)
def test_a_mistake_is_reported_with_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    (mistake,) = mistakes(monkeypatch, **{name: value})
    assert mistake.startswith(f"{name}: ")
    assert mistake.endswith(".")
    assert not mistake.endswith("..")


def test_all_mistakes_are_reported_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("API_AUDIENCE", raising=False)
    found = mistakes(monkeypatch, API_ISSUERS="", API_ALGORITHMS="none", API_LEEWAY_SECONDS="x", API_LOG_LEVEL="loud")
    assert [mistake.partition(":")[0] for mistake in found] == [
        "API_ISSUERS",
        "API_ALGORITHMS",
        "API_LEEWAY_SECONDS",
        "API_LOG_LEVEL",
    ]


def test_a_missing_variable_is_reported_like_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_AUDIENCE", "")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.mistakes == ("API_ISSUERS: is required.", "API_AUDIENCE: is required.")


@pytest.mark.parametrize("name", ["API_ISSUERS", "API_JWKS_URL", "API_PUBLIC_URL"])
def test_a_password_in_a_url_is_not_repeated(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (mistake,) = mistakes(monkeypatch, **{name: "https://user:s3cret@issuer.example/?a#b"})
    assert "s3cret" not in mistake
    assert "https://***@issuer.example/?a#b" in mistake


def test_a_database_password_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    (mistake,) = mistakes(monkeypatch, API_DATABASE_URL="nosuch://user:geheim@host/x")
    assert "geheim" not in mistake


@pytest.mark.parametrize("url", ["nosuch://:geheim@host", "redis://:geheim@host:x", "redis://:geheim@host?nosuch=1"])
def test_a_redis_password_is_not_repeated(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    (mistake,) = mistakes(monkeypatch, API_REDIS_URL=url)
    assert "geheim" not in mistake
