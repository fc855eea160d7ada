import logging
from pathlib import Path

import pytest

from api.auth import issuers
from api.auth.introspection import Introspection
from api.auth.mtls import MutualTLS
from api.settings import DPoPSettings, Settings, SettingsError, load_settings

REQUIRED = {"API_ISSUERS": "https://issuer.example/", "API_AUDIENCE": "https://device-api.example"}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in os.environ:
        if name.startswith("API_"):
            monkeypatch.delenv(name)


def load(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in (REQUIRED | variables).items():
        monkeypatch.setenv(name, value)
    return load_settings()


def mistakes(monkeypatch: pytest.MonkeyPatch, **variables: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(monkeypatch, **variables)
    return caught.value.mistakes


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


def test_a_jwks_url_requires_a_single_issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, API_JWKS_URL="https://k.example/jwks").auth.issuers[0].jwks_url == "https://k.example/jwks"
    (mistake,) = mistakes(monkeypatch, API_ISSUERS="https://a.example/,https://b.example/")
    assert mistake.startswith("API_JWKS_URL: ")


@pytest.fixture
def issuers_file(tmp_path: Path) -> Path:
    path = tmp_path / "issuers.toml"
    path.write_text(
        '[[issuer]]\npreset = "auth0"\ndomain = "tenant.eu.auth0.com"\naudience = "a"\n'
        '[[issuer]]\npreset = "okta"\ndomain = "org.okta.com"\naudience = "b"\n',
        encoding="utf-8",
    )
    return path


def test_a_file_of_issuers_replaces_the_variables(monkeypatch: pytest.MonkeyPatch, issuers_file: Path) -> None:
    monkeypatch.setenv("API_ISSUERS_FILE", str(issuers_file))
    monkeypatch.setenv("API_ISSUERS", "")  # as if it was not set
    monkeypatch.setenv("API_ALGORITHMS", "RS256,ES256")
    auth = load_settings().auth
    assert auth.issuers == (
        issuers.auth0("tenant.eu.auth0.com", audience="a"),
        issuers.okta("org.okta.com", audience="b"),
    )
    assert auth.algorithms == ("RS256", "ES256")


def test_a_file_of_issuers_and_the_variables_are_a_mistake(monkeypatch: pytest.MonkeyPatch, issuers_file: Path) -> None:
    found = mistakes(
        monkeypatch,
        API_ISSUERS_FILE=str(issuers_file),
        API_JWKS_URL="https://k.example/",
        API_TOKEN_TYPES="JWT",
        API_LOG_LEVEL="loud",
    )
    assert [mistake.partition(": ")[0] for mistake in found] == [
        "API_LOG_LEVEL",
        "API_ISSUERS",
        "API_AUDIENCE",
        "API_JWKS_URL",
        "API_TOKEN_TYPES",
    ]


def test_mistakes_in_the_file_of_issuers_are_told_with_the_others(
    monkeypatch: pytest.MonkeyPatch, issuers_file: Path
) -> None:
    issuers_file.write_text('[[issuer]]\npreset = "okta"\naudience = []', encoding="utf-8")
    found = mistakes(
        monkeypatch, API_ISSUERS_FILE=str(issuers_file), API_LEEWAY_SECONDS="x", **dict.fromkeys(REQUIRED, "")
    )
    assert found == (
        "API_LEEWAY_SECONDS: is not a whole number.",
        "API_ISSUERS_FILE: issuer 1 (okta): domain is required.",
        "API_ISSUERS_FILE: issuer 1 (okta): audience must be a non-empty string, or several of them.",
    )


def test_token_types_apply_to_the_issuers_of_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    (mistake,) = mistakes(monkeypatch, API_TOKEN_TYPES="application/jwt")
    assert "media types" in mistake


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


# Mutual TLS


def test_proxies_can_hand_on_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    mtls = load(monkeypatch, API_MTLS="optional", API_MTLS_PROXIES="127.0.0.1, 10.0.0.0/8,unix").mtls
    assert mtls == MutualTLS(proxies=("127.0.0.1", "10.0.0.0/8", "unix"))
    mtls = load(monkeypatch, API_MTLS="required", API_MTLS_PROXIES="::1", API_MTLS_HEADER="X-Cert").mtls
    assert mtls == MutualTLS(proxies=("::1",), header="X-Cert", required=True)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"API_MTLS": "on", "API_MTLS_PROXIES": "::1"}, ["API_MTLS: on is not one of optional, required."]),
        ({"API_MTLS": "optional"}, ["API_MTLS_PROXIES: is required."]),
        ({"API_MTLS_PROXIES": "::1"}, ["API_MTLS_PROXIES: has no effect without API_MTLS."]),
        (
            {"API_MTLS": "optional", "API_MTLS_PROXIES": "proxy,::1", "API_MTLS_HEADER": "X_Cert"},
            [
                "API_MTLS_PROXIES: 'proxy' is no IP address, no network such as 10.0.0.0/8, and not unix.",
                "API_MTLS_HEADER: must be the name of a header, of letters, digits and hyphens.",
            ],
        ),
    ],
)
def test_mistakes_in_mutual_tls_are_told(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: list[str]
) -> None:
    assert list(mistakes(monkeypatch, **variables)) == expected


# Introspection

CLIENT = {"API_INTROSPECTION_CLIENT_ID": "api", "API_INTROSPECTION_CLIENT_SECRET": "top-secret"}


def test_the_issuer_can_be_asked_about_tokens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (one,) = load(monkeypatch, **CLIENT).introspection
    assert one == Introspection(client_id="api", client_secret="top-secret")
    (tmp_path / "secret").write_text("in a file\n")
    (one,) = load(
        monkeypatch,
        API_INTROSPECTION_CLIENT_ID="api",
        API_INTROSPECTION_CLIENT_SECRET="",
        API_INTROSPECTION_CLIENT_SECRET_FILE=str(tmp_path / "secret"),
        API_INTROSPECTION_ENDPOINT="https://issuer.example/introspect",
        API_INTROSPECTION_TOKENS="all",
    ).introspection
    assert one == Introspection(
        client_id="api", client_secret="in a file", endpoint="https://issuer.example/introspect", tokens="all"
    )


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (
            {"API_INTROSPECTION_CLIENT_ID": "api"},
            ["API_INTROSPECTION_CLIENT_SECRET: is required, or API_INTROSPECTION_CLIENT_SECRET_FILE."],
        ),
        (
            {"API_INTROSPECTION_CLIENT_SECRET": "top-secret", "API_INTROSPECTION_TOKENS": "all"},
            [
                f"{name}: has no effect without API_INTROSPECTION_CLIENT_ID, or with API_ISSUERS_FILE."
                for name in ("API_INTROSPECTION_CLIENT_SECRET", "API_INTROSPECTION_TOKENS")
            ],
        ),
        (
            {**CLIENT, "API_INTROSPECTION_CLIENT_SECRET_FILE": "/dev/null"},
            ["API_INTROSPECTION_CLIENT_SECRET_FILE: cannot be set together with API_INTROSPECTION_CLIENT_SECRET."],
        ),
        (
            {"API_INTROSPECTION_CLIENT_ID": "api", "API_INTROSPECTION_CLIENT_SECRET_FILE": "/dev/null"},
            ["API_INTROSPECTION_CLIENT_SECRET_FILE: /dev/null is empty."],
        ),
        (
            {**CLIENT, "API_INTROSPECTION_ENDPOINT": "http://issuer.example/", "API_INTROSPECTION_TOKENS": "some"},
            [
                "API_INTROSPECTION_ENDPOINT: http://issuer.example/ is not an https URL (http is for loopback only).",
                "API_INTROSPECTION_TOKENS: some is not one of opaque, jwt, all.",
            ],
        ),
        (
            {**CLIENT, "API_ISSUERS": "https://a.example/,https://b.example/"},
            ["API_INTROSPECTION_CLIENT_ID: can only be set with a single issuer; for several, use API_ISSUERS_FILE."],
        ),
    ],
)
def test_mistakes_in_an_introspection_are_told(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: list[str]
) -> None:
    found = mistakes(monkeypatch, **variables)
    assert list(found) == expected
    assert "top-secret" not in " ".join(found)


def test_with_a_file_of_issuers_the_file_says_how_they_are_asked(
    monkeypatch: pytest.MonkeyPatch, issuers_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("s")
    table = f'introspection = {{ client_id = "api", client_secret_file = "{tmp_path}/secret" }}\n'
    text = issuers_file.read_text(encoding="utf-8")
    issuers_file.write_text(text.replace('preset = "okta"\n', f'preset = "okta"\n{table}'), encoding="utf-8")
    monkeypatch.setenv("API_ISSUERS_FILE", str(issuers_file))
    (one,) = load_settings().introspection
    assert one.issuer == "https://org.okta.com/oauth2/default"
    monkeypatch.setenv("API_INTROSPECTION_CLIENT_ID", "api")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.mistakes[0].startswith("API_INTROSPECTION_CLIENT_ID: cannot be set together with API_ISSUERS")


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


# DPoP

DPOP = {"API_DPOP": "optional", "API_PUBLIC_URL": "https://api.example"}
SECRET = "a secret of thirty-two bytes, or more"


def test_dpop_is_off_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch).dpop is None


def test_the_defaults_of_dpop(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, **DPOP).dpop == DPoPSettings(
        required=False, algorithms=("ES256", "EdDSA", "Ed25519", "RS256", "PS256"), window_seconds=60, nonce_secret=None
    )


def test_every_variable_of_dpop_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        **DPOP | {"API_DPOP": "required"},
        API_DPOP_ALGORITHMS="ES256, EdDSA",
        API_DPOP_WINDOW_SECONDS="600",
        API_DPOP_NONCE_SECRET=SECRET,
    )
    assert settings.dpop == DPoPSettings(
        required=True, algorithms=("ES256", "EdDSA"), window_seconds=600, nonce_secret=SECRET.encode()
    )
    assert SECRET not in repr(settings)


def test_the_secret_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    settings = load(monkeypatch, **DPOP, API_DPOP_NONCE_SECRET_FILE=str(tmp_path / "secret"))
    assert settings.dpop is not None
    assert settings.dpop.nonce_secret == SECRET.encode()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("API_DPOP", "yes", "yes is not one of optional, required"),
        ("API_DPOP_ALGORITHMS", "ES256,HS256", "HS256 is not one of ES256, EdDSA, Ed25519, RS256, PS256"),
        ("API_DPOP_ALGORITHMS", "ES256,,", "has an empty entry"),
        ("API_DPOP_WINDOW_SECONDS", "0", "must be between 1 and 600"),
        ("API_DPOP_WINDOW_SECONDS", "601", "must be between 1 and 600"),
        ("API_DPOP_WINDOW_SECONDS", "a minute", "is not a whole number"),
        ("API_DPOP_NONCE_SECRET", "too short", "has fewer than 32 bytes"),
        ("API_DPOP_NONCE_SECRET", " " * 40, "has fewer than 32 bytes"),
        ("API_DPOP_NONCE_SECRET_FILE", "/nowhere/secret", "/nowhere/secret cannot be read: No such file or directory"),
    ],
)
def test_mistakes_in_dpop(monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str) -> None:
    assert mistakes(monkeypatch, **DPOP | {name: value}) == (f"{name}: {sentence}.",)


def test_a_short_secret_in_a_file_is_a_mistake_and_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("geheim")
    variables = {**DPOP, "API_DPOP_NONCE_SECRET_FILE": str(tmp_path / "secret")}
    assert mistakes(monkeypatch, **variables) == ("API_DPOP_NONCE_SECRET_FILE: has fewer than 32 bytes.",)


def test_two_secrets_are_a_mistake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    variables = {"API_DPOP_NONCE_SECRET": SECRET, "API_DPOP_NONCE_SECRET_FILE": str(tmp_path / "secret")}
    (mistake,) = mistakes(monkeypatch, **DPOP, **variables)
    assert mistake == "API_DPOP_NONCE_SECRET_FILE: cannot be set together with API_DPOP_NONCE_SECRET."


def test_dpop_needs_the_public_address(monkeypatch: pytest.MonkeyPatch) -> None:
    (mistake,) = mistakes(monkeypatch, API_DPOP="required")
    assert mistake == "API_DPOP: needs API_PUBLIC_URL: each proof names the address that it was made for."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_DPOP_ALGORITHMS", "ES256"),
        ("API_DPOP_WINDOW_SECONDS", "60"),
        ("API_DPOP_NONCE_SECRET", SECRET),
        ("API_DPOP_NONCE_SECRET_FILE", "/nowhere/secret"),
    ],
)
def test_settings_of_dpop_without_dpop_are_mistakes(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert mistakes(monkeypatch, **{name: value}) == (f"{name}: has no effect without API_DPOP.",)
