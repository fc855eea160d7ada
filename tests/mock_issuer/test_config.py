from __future__ import annotations

import dataclasses
import datetime as dt

import pytest

from mock_issuer import Api, Client, Config, ConfigError, User


def test_all_mistakes_are_reported_together() -> None:
    client = Client(client_id="a b", name="", grant_types=frozenset({"client_credentials", "magic"}))
    user = User(username="u v")
    with pytest.raises(ConfigError) as caught:
        Config(
            issuer="issuer.test?x",
            apis=(Api(audience="", name="", scopes={"a b": "", "openid": ""}),),
            clients=(client, client),
            users=(user, user),
            profile="other",  # type: ignore[arg-type]
            device_code_seconds=0,
            user_code_mask="<*>",
        )
    reported = "\n".join(caught.value.mistakes)
    for words in (
        "'issuer.test?x' is not an http(s) URL",
        "empty audience",
        "'a b' is not a scope",
        "'openid' belongs to OpenID Connect",
        "Client 'a b': the id",
        "unknown grant types magic",
        "client_credentials needs a secret",
        "User 'u v': the name must be",
        "Several clients have the client_id 'a b'",
        "Several users have the username 'u v'",
        "Several users have the sub 'mock|u v'",
        "profile must be one of auth0, rfc",
        "device_code_seconds must be a number from 1",
        "user_code_mask must have at least 6 asterisks",
    ):
        assert words in reported
    assert len(caught.value.mistakes) == 18  # one client and one user are listed twice


def test_audiences_and_claims_are_checked() -> None:
    machine = Client(
        client_id="m",
        secret="s",
        grant_types=frozenset({"client_credentials"}),
        default_audience="urn:b",
        introspects=frozenset({"urn:c", "urn:api"}),
    )
    claims = {"team": "x", "https://example.com/day": dt.date(2026, 1, 1), "https://example.com/x": float("nan")}
    user = User(username="u", claims={**claims, "https://example.com/ok": [None, {"a": 1.5}]})
    with pytest.raises(ConfigError) as caught:
        Config(apis=(Api(audience="urn:api"),), clients=(machine,), users=(user,), default_audience="urn:a")
    assert caught.value.mistakes == (
        "User 'u': the claim 'team' is not an http(s) URL.",
        "User 'u': the claim 'https://example.com/day' has a value that JSON cannot hold.",
        "User 'u': the claim 'https://example.com/x' has a value that JSON cannot hold.",
        "default_audience 'urn:a' is no API's audience.",
        "Client 'm': default_audience 'urn:b' is no API's audience.",
        "Client 'm': it introspects 'urn:c', which is no API's audience.",
    )


def test_the_default_clients_fit_other_apis() -> None:
    Config(apis=(Api(audience="urn:api"),))


@pytest.mark.parametrize("mask", ["*" * 33, "-" * 64 + "*" * 6])
def test_a_user_code_mask_has_a_maximum_length(mask: str) -> None:
    with pytest.raises(ConfigError, match="at most 32 characters"):
        Config(user_code_mask=mask)


@pytest.mark.parametrize("issuer", ["", "http://", "http://[::1", "http://a:x/", "https://a/#f", "http://a b/", "a"])
def test_an_issuer_is_a_plain_url(issuer: str) -> None:
    with pytest.raises(ConfigError, match="not an http"):
        Config(issuer=issuer)


def test_an_issuer_may_have_a_path_and_no_slash() -> None:
    Config(issuer="https://issuer.test/tenant")


def test_a_config_is_frozen_and_keeps_secrets_out_of_its_repr() -> None:
    config = Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.issuer = "http://other/"  # type: ignore[misc]
    assert "public-test-secret" not in repr(config)
    assert "alice-password" not in repr(config)


def test_redirect_uris_are_checked() -> None:
    wrong = (
        "",
        "/callback",
        "//app.example/callback",
        "https:///callback",
        "https://app.example/callback#x",
        "https://app.example/call back",
        "https://user@app.example/callback",
        "https://app.example:99999/callback",
        "https://app.example:0/callback",
        "https://äpp.example/callback",
        "javascript:alert(1)",
        "data:text/html,x",
        "myapp://callback",
        "urn:ietf:wg:oauth:2.0:oob",
    )
    right = ("https://app.example", "http://[::1]:3000/?a=b", "com.example.app:/callback", "com.example.app://x")
    code = frozenset({"authorization_code"})
    with pytest.raises(ConfigError) as caught:
        Config(
            clients=(
                Client(client_id="wrong", grant_types=code, redirect_uris=frozenset(wrong)),
                Client(client_id="right", grant_types=code, redirect_uris=frozenset(right)),
                Client(client_id="none", grant_types=code),
                Client(client_id="useless", redirect_uris=frozenset(right)),
            )
        )
    mistakes = caught.value.mistakes
    for redirect_uri in wrong:
        assert sum(f"Client 'wrong': {redirect_uri!r} is not a redirect URI" in mistake for mistake in mistakes) == 1
    assert [mistake for mistake in mistakes if "is not a redirect URI" not in mistake] == [
        f"Client '{client}': the grant type authorization_code and redirect_uris need each other."
        for client in ("none", "useless")
    ]
