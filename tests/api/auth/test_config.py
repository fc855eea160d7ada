from typing import Any

import pytest

from api.auth.config import AuthConfig, ConfigError, TrustedIssuer


def issuer(identifier: str = "https://issuer.example/", **fields: Any) -> TrustedIssuer:
    return TrustedIssuer(**{"identifier": identifier, "audiences": ("a",), **fields})


@pytest.mark.parametrize(
    "identifier",
    ["https://issuer.example", "https://issuer.example/", "https://issuer.example:8443/t/1", "http://127.0.0.1:9000/"],
)
def test_accepts_issuers(identifier: str) -> None:
    assert AuthConfig(issuers=(issuer(identifier),)).issuers[0].identifier == identifier


@pytest.mark.parametrize(
    "fields",
    [
        {"identifier": "http://issuer.example/"},
        {"identifier": "issuer.example"},
        {"identifier": ""},
        {"identifier": "https://issuer.example/?a=b"},
        {"identifier": "https://issuer.example/#a"},
        {"identifier": "https://user@issuer.example/"},
        {"audiences": ()},
        {"audiences": "https://device-api.example"},
        {"audiences": ("",)},
        {"jwks_url": "http://issuer.example/jwks"},
    ],
)
def test_refuses_issuers(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        issuer(**fields)
    assert len(caught.value.mistakes) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"issuers": ()},
        {"issuers": (issuer(), issuer())},
        {"algorithms": ()},
        {"algorithms": ("none",)},
        {"algorithms": ("RS256", "HS256")},
        {"token_types": ()},
        {"token_types": ("application/jwt",)},
        {"leeway_seconds": -1},
        {"leeway_seconds": True},
        {"stale_seconds": -1},
        {"token_cache_size": -1},
        {"scope_claims": ()},
        {"scope_claims": ("roles",)},
    ],
)
def test_refuses_configurations(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        AuthConfig(**{"issuers": (issuer(),), **fields})
    assert len(caught.value.mistakes) == 1


def test_tells_all_mistakes_together() -> None:
    with pytest.raises(ConfigError) as caught:
        AuthConfig(issuers=(), algorithms=("none",), leeway_seconds=-1, stale_seconds=-1)
    assert len(caught.value.mistakes) == 4
