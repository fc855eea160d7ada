from typing import Any

import pytest

from api.auth import Auth, AuthConfig, ConfigError, Requirement, TokenVerifier, TrustedIssuer

INVISIBLE = ("\u202e", "\u200b", "\u200d", "\ufeff", "\u2028", "\u2029", "\n", "\0", "\x7f", "\U000e0041")


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
        {"identifier": None},
        {"identifier": b"https://issuer.example/"},
        {"identifier": ""},
        {"identifier": "https://issuer.example/?a=b"},
        {"identifier": "https://issuer.example/#a"},
        {"identifier": "https://user@issuer.example/"},
        {"audiences": ()},
        {"audiences": "https://device-api.example"},
        {"audiences": ("",)},
        {"jwks_url": "http://issuer.example/jwks"},
        {"jwks_url": 5},
        {"jwks_url": b"https://issuer.example/jwks"},
        {"token_types": ()},
        {"token_types": "JWT"},
        {"token_types": ("application/jwt",)},
        {"token_types": ("JWT\u200b",)},
        {"token_types": (None,)},
        {"scope_claims": ()},
        {"scope_claims": "scope"},
        {"scope_claims": ("groups",)},
        {"scope_claims": ("scope\u200b",)},
        {"app_scope_claims": "roles"},
        {"app_scope_claims": ("groups",)},
        {"app_scope_claims": ("scope",)},
        {"scope_list": 1},
        {"client_id_claims": ()},
        {"client_id_claims": "azp"},
        {"client_id_claims": ("",)},
        {"client_id_claims": ("azp\u200b",)},
        {"subject_required": None},
        {"audience_claim": "azp"},
        {"audience_claim": ["aud"]},
        {"resource_audiences": ("https://api.example",)},
        {"audience_claim": "client_id", "resource_audiences": ("",)},
        {"audience_claim": "client_id", "resource_audiences": "https://api.example"},
        {"audience_claim": "client_id", "resource_audiences": ("a\u200b",)},
        {"required_claims": ("typ", "Bearer")},
        {"required_claims": {"": "Bearer"}},
        {"required_claims": {"typ\u200b": "Bearer"}},
        {"required_claims": {"typ": {"Bearer"}}},
        {"required_claims": {"level": float("nan")}},
        {"one_of_claims": ("azp",)},
        {"one_of_claims": (("azp",), ())},
        {"one_of_claims": [("azp",)]},
        {"one_of_claims": (("azp", ""),)},
        *({"audiences": ("a", f"b{character}")} for character in INVISIBLE),
        *({"identifier": f"https://issuer.example/{character}"} for character in INVISIBLE),
        *({"jwks_url": f"https://issuer.example/{character}"} for character in INVISIBLE),
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
        {"issuers": issuer()},
        {"issuers": [issuer()]},
        {"issuers": ("https://issuer.example/",)},
        {"algorithms": ()},
        {"algorithms": ("none",)},
        {"algorithms": "RS256"},
        {"algorithms": ["RS256"]},
        {"algorithms": (["RS256"],)},
        {"algorithms": ("RS256", "HS256")},
        {"leeway_seconds": -1},
        {"leeway_seconds": True},
        {"stale_seconds": -1},
        {"token_cache_size": -1},
        {"algorithms": ("RS256\u200b",)},
    ],
)
def test_refuses_configurations(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        AuthConfig(**{"issuers": (issuer(),), **fields})
    assert len(caught.value.mistakes) == 1


def test_says_how_to_write_a_tuple_of_one() -> None:
    with pytest.raises(ConfigError) as caught:
        AuthConfig(issuers=issuer(), algorithms="RS256")  # type: ignore[arg-type]  # the usual missing commas
    assert caught.value.mistakes == (
        "issuers must be a tuple, also of one: (issuer,).",
        'algorithms must be a tuple, also of one: ("RS256",).',
    )
    with pytest.raises(ConfigError, match=r'^audiences must be a tuple of strings: \("a", "b"\) or \("a",\)\.$'):
        issuer(audiences="a")


def test_tells_all_mistakes_in_an_issuer_together_by_its_fields() -> None:
    fields: dict[str, Any] = {
        "identifier": 5,
        "jwks_url": 5,
        "audiences": (),
        "resource_audiences": "a",
        "audience_claim": "azp",
        "token_types": (),
        "scope_claims": 5,
        "app_scope_claims": ("groups",),
        "client_id_claims": ("",),
        "one_of_claims": ((),),
        "required_claims": {"": 1},
        "scope_list": 1,
        "subject_required": 1,
    }
    with pytest.raises(ConfigError) as caught:
        issuer(**fields)
    assert [mistake.split(" ")[0] for mistake in caught.value.mistakes] == list(fields)


def test_tells_all_mistakes_together() -> None:
    with pytest.raises(ConfigError) as caught:
        AuthConfig(issuers=(), algorithms=("none",), leeway_seconds=-1, stale_seconds=-1)
    assert len(caught.value.mistakes) == 4


@pytest.mark.parametrize("character", INVISIBLE)
def test_refuses_invisible_characters_in_names(character: str) -> None:
    verifier = TokenVerifier(AuthConfig(issuers=(issuer(),)))
    with pytest.raises(ConfigError):
        Auth(verifier, realm=f"api{character}")
    with pytest.raises(ConfigError):
        Auth(verifier, resource_url=f"https://api.example/{character}")
    refused: tuple[dict[str, Any], ...] = (
        {"scopes": (f"a{character}",)},
        {"any_of": (f"a{character}",)},
        {"acr_values": (f"a{character}",)},
        {"audiences": (f"a{character}",)},
        {"issuers": (f"https://issuer.example/{character}",)},
        {"claims": {f"org{character}": "a"}},
    )
    for arguments in refused:
        with pytest.raises(ValueError):  # noqa: PT011  # each has a sentence of its own
            Requirement(**arguments)


def test_names_invisible_characters_by_their_code_points() -> None:
    with pytest.raises(ConfigError, match=r"'a\\u200b' has an invisible"):
        issuer(audiences=("a\u200b",))
