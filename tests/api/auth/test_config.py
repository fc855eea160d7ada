from collections.abc import Callable
from typing import Any

import pytest

from api.auth import Auth, AuthConfig, ConfigError, Requirement, TokenVerifier, TrustedIssuer, issuers
from api.auth.config import is_quotable, is_scope, is_secure_url, without_credentials

INVISIBLE = ("\u202e", "\u200b", "\u200d", "\ufeff", "\u2028", "\u2029", "\n", "\0", "\x7f", "\U000e0041")


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def issuer(identifier: str = "https://issuer.example/", **fields: Any) -> TrustedIssuer:
    return TrustedIssuer(**{"identifier": identifier, "audiences": ("a",), **fields})


@pytest.mark.parametrize(
    "identifier",
    [
        "https://issuer.example",
        "https://issuer.example/",
        "https://issuer.example:8443/t/1",
        "http://127.0.0.1:9000/",
        "http://localhost:9000/",
        "http://[::1]:9000/",
    ],
)
def test_accepts_issuers(identifier: str) -> None:
    made = AuthConfig(issuers=(issuer(identifier, jwks_url=f"{identifier}?keys"),)).issuers[0]
    assert (made.identifier, made.jwks_url) == (identifier, f"{identifier}?keys")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.example/x", "https://a.example/x"),
        ("http://a.example", "http://a.example"),
        ("", ""),
        (None, None),
        (5, 5),
        ("https://u:p@a.example/x", "https://***@a.example/x"),
        ("https://u:p@q@a.example/x", "https://***@a.example/x"),
        ("u:p@a.example", "***@a.example"),
    ],
)
def test_a_url_is_shown_as_it_is_except_its_credentials(url: object, shown: object) -> None:
    assert without_credentials(url) == shown


@pytest.mark.parametrize("scope_claims", [None, 5])
def test_claims_of_apps_beside_scope_claims_of_another_type_are_one_mistake(scope_claims: Any) -> None:
    with pytest.raises(ConfigError, match="scope_claims") as caught:
        AuthConfig(issuers=(issuer(scope_claims=scope_claims, app_scope_claims=("roles",)),))
    assert len(caught.value.mistakes) == 1


def test_an_issuer_has_strict_rules_unless_told_otherwise() -> None:
    made = issuer()
    assert made.jwks_url is None
    assert made.token_types == ("at+jwt", "JWT")
    assert (made.scope_claims, made.scope_list) == (("scope",), False)
    assert made.client_id_claims == ("client_id", "azp")
    assert made.subject_required is True
    assert (made.audience_claim, made.resource_audiences) == ("aud", ())
    assert (made.required_claims, made.one_of_claims) == ({}, ())


def test_a_configuration_has_limits_unless_told_otherwise() -> None:
    config = AuthConfig(issuers=(issuer(),))
    assert config.algorithms == ("RS256",)
    assert (config.leeway_seconds, config.stale_seconds, config.token_cache_size) == (30, 86_400, 10_000)


@pytest.mark.parametrize(
    "fields",
    [
        *({"scope_claims": (name,)} for name in ("scope", "scp", "permissions", "roles")),
        {"scope_claims": ("scope", "scp", "permissions", "roles")},
        {"scope_list": True},
        {"subject_required": False},
        {"audience_claim": "client_id"},
        {"audience_claim": "client_id", "resource_audiences": ("https://api.example", "b")},
        {"token_types": ("JWT",)},
        {"token_types": ("a!#$&^_.+-Z9",)},
        {"client_id_claims": ("https://issuer.example/client",)},
        {"required_claims": {"a": None, "b": [1, 1.5, True, {"c": "d"}]}},
        {"one_of_claims": (("a",), ("b", "c"))},
    ],
)
def test_accepts_rules(fields: dict[str, Any]) -> None:
    made = issuer(**fields)
    assert {name: getattr(made, name) for name in fields} == fields


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "ES256", "EdDSA"])
def test_accepts_algorithms_with_public_keys(algorithm: str) -> None:
    assert AuthConfig(issuers=(issuer(),), algorithms=(algorithm,)).algorithms == (algorithm,)


@pytest.mark.parametrize("name", ["leeway_seconds", "stale_seconds", "token_cache_size"])
@pytest.mark.parametrize("value", [-1, True, False, 0.5, 30.0, float("nan"), "30", None])
def test_numbers_are_whole_and_not_negative(name: str, value: Any) -> None:
    for accepted in (0, 1, 10**9):
        numbers: dict[str, Any] = {name: accepted}
        assert getattr(AuthConfig(issuers=(issuer(),), **numbers), name) == accepted
    with pytest.raises(ConfigError) as caught:
        AuthConfig(issuers=(issuer(),), **{name: value})
    assert caught.value.mistakes == (f"{name} must be a whole number, 0 or more.",)


@pytest.mark.parametrize(
    ("url", "secure"),
    [
        ("https://a.example", True),
        ("https://a.example:443/b?c=d", True),
        ("https://[2001:db8::1]/", True),
        ("http://localhost", True),
        ("http://127.0.0.1/", True),
        ("http://[::1]/", True),
        ("http://a.example/", False),
        ("http://127.0.0.1.a.example/", False),
        ("http://127.0.0.2/", False),
        ("http://[::2]/", False),
        ("ftp://localhost/", False),
        ("ftp://a.example/", False),
        ("//a.example/", False),
        ("https://", False),
        ("https:///path", False),
        ("https://:443/", False),
        ("https://a.example:port/", False),
        ("https://a.example:65536/", False),
        ("https://[::1/", False),
        ("https://user@a.example/", False),
        ("https://@a.example/", False),
        ("https://user:password@a.example/", False),
        ("https://:password@a.example/", False),
        ("https://a.example/#b", False),
        ("https://ä.example/", False),
        ("https://a.example/ä", False),
        ("https://a.example/b c", False),
        ("https://a.example/b\n", False),
        (" https://a.example/", False),
    ],
)
def test_secure_urls(url: str, secure: bool) -> None:  # noqa: FBT001
    assert is_secure_url(url) is secure


@pytest.mark.parametrize(
    ("word", "accepted"),
    [
        ("read:devices", True),
        ("!#[]~", True),
        ("", False),
        (" ", False),
        ("a b", False),
        ('a"', False),
        ("a\\", False),
        ("\x7f", False),
        ("é", False),
        ("a\n", False),
        (None, False),
        (7, False),
        (b"a", False),
    ],
)
def test_scopes_are_single_words(word: Any, accepted: bool) -> None:  # noqa: FBT001
    assert is_scope(word) is accepted


@pytest.mark.parametrize(
    ("text", "accepted"),
    [("an api", True), ("!#[]~", True), ("", False), ('"', False), ("\\", False), ("é", False), ("a\n", False)],
)
def test_texts_that_need_no_escape_between_quotes(text: str, accepted: bool) -> None:  # noqa: FBT001
    assert is_quotable(text) is accepted


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
        {"audiences": None},
        {"audiences": ["a"]},
        {"audiences": (7,)},
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
        {"audience_claim": "client_id", "resource_audiences": None},
        {"audience_claim": "client_id", "resource_audiences": (7,)},
        {"audience_claim": "client_id", "resource_audiences": ("",)},
        {"audience_claim": "client_id", "resource_audiences": "https://api.example"},
        {"audience_claim": "client_id", "resource_audiences": ("a\u200b",)},
        {"required_claims": ("typ", "Bearer")},
        {"required_claims": {"": "Bearer"}},
        {"required_claims": {7: "Bearer"}},
        {"required_claims": {"list": nested(100_000)}},
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


def test_equal_issuers_have_equal_hashes() -> None:
    made = [issuer(required_claims={"typ": "Bearer"}) for _ in range(2)]
    assert len(set(made)) == 1


def test_tells_all_mistakes_of_an_issuer_together() -> None:
    with pytest.raises(ConfigError) as caught:
        issuer("issuer.example", jwks_url="x", audiences=("a\0", "b\0"), audience_claim="azp", token_types=())
    assert len(caught.value.mistakes) == 6
    assert str(caught.value) == " ".join(caught.value.mistakes)


def test_names_each_wrong_rule() -> None:
    wrong: dict[str, Any] = {
        "scope_claims": ("groups",),
        "client_id_claims": (),
        "one_of_claims": ("azp",),
        "scope_list": None,
        "subject_required": 1,
        "required_claims": {"a": {1}, "b": object()},
    }
    with pytest.raises(ConfigError) as caught:
        issuer(**wrong)
    mistakes = caught.value.mistakes
    assert mistakes[0] == "scope_claims must be one or more of scope, scp, permissions, roles."
    assert mistakes[3:5] == tuple(f"required_claims: the value of {name} is not JSON." for name in "ab")
    assert mistakes[5:] == ("scope_list must be True or False.", "subject_required must be True or False.")
    assert len(mistakes) == 7


def test_names_what_is_supported() -> None:
    with pytest.raises(ConfigError, match=r"algorithm none, HS256 is not .* RS256, RS384, RS512, PS256, ES256, EdDSA"):
        AuthConfig(issuers=(issuer(),), algorithms=("none", "RS256", "HS256"))
    with pytest.raises(ConfigError, match="audience_claim must be aud or client_id"):
        issuer(audience_claim="sub")


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


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:s3cret@issuer.example/keys", "https://***@issuer.example/keys"),
        ("https://s3cret@issuer.example/", "https://***@issuer.example/"),
        ("https://user:s3cret@with@issuer.example/", "https://***@issuer.example/"),
        ("user:s3cret@issuer.example", "***@issuer.example"),
    ],
)
def test_no_mistake_shows_a_password(url: str, shown: str) -> None:
    makers: list[Callable[[], object]] = [
        lambda: issuer(url),
        lambda: issuer(jwks_url=url),
        lambda: issuers.duende(url, audience="a"),
        lambda: issuers.auth0("tenant.eu.auth0.com", audience="a", jwks_url=url),
    ]
    for make in makers:
        with pytest.raises(ConfigError) as caught:
            make()
        assert "s3cret" not in str(caught.value)
        assert shown in str(caught.value)
