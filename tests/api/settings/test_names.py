"""Variables that are nearly settings are mistakes; others are left alone."""

import pytest

from api.settings import SettingsError, load_all_settings
from api.settings.names import SETTING_NAMES, mistyped_settings


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("API_ISSUER", "API_ISSUERS"),
        ("API_RATELIMIT", "API_RATE_LIMIT"),
        ("API_RATE_LIMITS", "API_RATE_LIMIT"),
        ("API_RATELIMT", "API_RATE_LIMIT"),
        ("API_DATABASE_URI", "API_DATABASE_URL"),
        ("API_DATABSE_URI", "API_DATABASE_URL"),
        ("API_CORS_ORIGIN", "API_CORS_ORIGINS"),
        ("API_AUDIENCES", "API_AUDIENCE"),
        ("API_ISSUER_FILE", "API_ISSUERS_FILE"),
        ("API_ISSUESR_FILES", "API_ISSUERS_FILE"),
        ("API_JWKS_URI", "API_JWKS_URL"),
        ("API_JWK_URL", "API_JWKS_URL"),
        ("API_ALGORITHM", "API_ALGORITHMS"),
        ("API_TOKEN_TYPE", "API_TOKEN_TYPES"),
        ("API_LEEWAY_SECOND", "API_LEEWAY_SECONDS"),
        ("API_LOGLEVEL", "API_LOG_LEVEL"),
        ("API_LOG_LEVLE", "API_LOG_LEVEL"),
        ("API_REDIS_URI", "API_REDIS_URL"),
        ("API__REDIS_URL", "API_REDIS_URL"),
        ("APIREDIS_URL", "API_REDIS_URL"),
        ("api_public_url", "API_PUBLIC_URL"),
        ("WEB_CONCURENCY", "WEB_CONCURRENCY"),
        ("FORWARDED_ALLOW_IP", "FORWARDED_ALLOW_IPS"),
    ],
)
def test_a_variable_that_is_nearly_a_setting_is_a_mistake(name: str, meant: str) -> None:
    mistake = f"{name}: is not a setting; did you mean {meant}?"
    assert mistyped_settings([name]) == [mistake]
    assert mistyped_settings([meant, name, "HOME"]) == [mistake]


def service_links(service: str, port: int = 8000) -> list[str]:
    """Return the variables that Kubernetes sets in every container of a namespace for a service, Docker's included."""
    links = [f"{service}_SERVICE_HOST", f"{service}_SERVICE_PORT", f"{service}_PORT", f"{service}_NAME"]
    links += [f"{service}_SERVICE_PORT_{name}" for name in ("HTTP", "HTTPS", "METRICS", "REDIS", "URL", "POSTGRESQL")]
    for protocol in ("TCP", "UDP", "SCTP"):
        prefix = f"{service}_PORT_{port}_{protocol}"
        links += [prefix, *(f"{prefix}_{part}" for part in ("PROTO", "PORT", "ADDR"))]
    return links


def test_settings_and_what_kubernetes_sets_are_left_alone() -> None:
    assert mistyped_settings(SETTING_NAMES) == []
    # The services that may be called so, and those called like the settings without their last words.
    services = {"API", "DEVICE_API", "API_REDIS", "API_DATABASE", "API_DB", "API_POSTGRESQL", "API_ISSUERS", "WEB"}
    for setting in SETTING_NAMES:
        words = setting.split("_")
        services |= {"_".join(words[:count]) for count in range(1, len(words) + 1)}
    links = [link for service in services for link in service_links(service)]
    assert len(links) > 500
    assert mistyped_settings(links) == []


@pytest.mark.parametrize(
    "name",
    [
        *("API_URL", "API_KEY", "API_ID", "API_TOKEN", "API_SECRET", "API_HOST", "API_PORT", "API_VERSION", "API_ENV"),
        *("API_DB_URL", "API_BASE_URL", "API_REDIS_TTL", "API_REDIS_DB", "API_DATABASE_SSL", "API_PUBLIC_KEY"),
        *("API_TOKEN_CACHE_TTL", "API_LOG_FORMAT", "API_RATE", "API_CORS", "API_ISSUERS_SERVICE_HOST", "API_"),
        *("DEVICE_API", "HOST", "PORT", "PORTS", "HOSTS", "HOSTNAME", "WEB_PORT", "ISSUERS", "RATE_LIMIT", "", "_"),
        *("OTEL_EXPORTER_OTLP_ENDPOINT", "HTTPS_PROXY", "API_ISSUERS\n", "API_ISSUERSÉ"),
    ],
)
def test_other_variables_are_left_alone(name: str) -> None:
    assert mistyped_settings([name]) == []


def test_it_is_told_with_the_other_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "API_ISSUERS": "https://issuer.example/",
        "API_AUDIENCE": "",
        "API_RATELIMIT": "s3cret",
        "PORT": "http",
        "WEB_CONCURRENCY": "abc",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_all_settings()
    assert caught.value.mistakes == (
        "API_AUDIENCE: is required.",
        "API_RATELIMIT: is not a setting; did you mean API_RATE_LIMIT?",
        "PORT: must be a whole number from 0 to 65535.",
        "WEB_CONCURRENCY: must be a whole number from 0 to 999.",
    )
