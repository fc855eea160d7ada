from pathlib import Path

import pytest

from api.auth import issuers
from api.auth.introspection import Introspection
from api.settings import SettingsError, load_settings
from tests.kit.settings import REQUIRED, load, mistakes


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
