import re
import tomllib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest

from api.auth import ConfigError, TrustedIssuer, issuers
from api.auth.introspection import Introspection
from api.settings.issuers_file import KINDS, read_issuers_file
from tests.kit.processes import ROOT

GUID = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
OF_AUTH0 = '[[issuer]]\npreset = "auth0"\ndomain = "tenant.eu.auth0.com"\naudience = "a"\n'
OF_COGNITO = """
[[issuer]]
preset = "cognito"
region = "us-west-2"
user_pool = "us-west-2_a"
client_ids = "a"
audience = "b"
"""
REST = "The rest of this table was not checked."
WITHOUT_PRESET = '[[issuer]]\nidentifier = "https://issuer.example/"\naudiences = ["a"]\n'

Read = Callable[[str], tuple[TrustedIssuer, ...]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(text: str) -> tuple[TrustedIssuer, ...]:
        path = tmp_path / "issuers.toml"
        path.write_text(text, encoding="utf-8")
        return read_issuers_file(str(path)).issuers

    return read


@pytest.fixture
def mistakes(read: Read) -> Callable[[str], tuple[str, ...]]:
    def mistakes(text: str) -> tuple[str, ...]:
        with pytest.raises(ConfigError) as caught:
            read(text)
        assert all(mistake.endswith((".", "?")) for mistake in caught.value.mistakes)
        return caught.value.mistakes

    return mistakes


Mistakes = Callable[[str], tuple[str, ...]]


def test_each_table_is_an_issuer(read: Read) -> None:
    read_here = read(
        OF_AUTH0
        + f'[[issuer]]\npreset = "entra"\ntenant_id = "{GUID}"\nclient_id = ["{GUID}"]\n'
        + "user_roles = true\n"
        + '[[issuer]]\npreset = "keycloak"\nbase_url = "https://k.example"\nrealm = "tv"\naudience = ["a", "b"]\n'
        + "lightweight = true\n"
    )
    assert read_here == (
        issuers.auth0("tenant.eu.auth0.com", audience="a"),
        issuers.entra(GUID, client_id=GUID, user_roles=True),
        issuers.keycloak("https://k.example", "tv", audience=("a", "b"), lightweight=True),
    )


def test_without_preset_a_table_has_the_fields_of_an_issuer(read: Read) -> None:
    (issuer,) = read(
        """
        [[issuer]]
        identifier = "https://issuer.example/"
        audiences = ["client-1"]
        jwks_url = "https://issuer.example/keys"
        token_types = "JWT"
        scope_claims = ["scp", "permissions"]
        app_scope_claims = "roles"
        scope_list = true
        client_id_claims = ["cid"]
        subject_required = false
        audience_claim = "client_id"
        resource_audiences = ["https://api.example"]
        required_claims = { token_use = "access", level = 2 }
        one_of_claims = [["cid"], ["scp", "roles"]]
        """
    )
    assert issuer == TrustedIssuer(
        identifier="https://issuer.example/",
        audiences=("client-1",),
        jwks_url="https://issuer.example/keys",
        token_types=("JWT",),
        scope_claims=("scp", "permissions"),
        app_scope_claims=("roles",),
        scope_list=True,
        client_id_claims=("cid",),
        subject_required=False,
        audience_claim="client_id",
        resource_audiences=("https://api.example",),
        required_claims={"token_use": "access", "level": 2},
        one_of_claims=(("cid",), ("scp", "roles")),
    )
    usual = TrustedIssuer(identifier="https://issuer.example/", audiences=("a",))
    assert all(
        getattr(issuer, one.name) != getattr(usual, one.name) for one in fields(issuer) if one.name != "identifier"
    )


def test_every_argument_of_a_preset_and_every_field_can_be_written() -> None:
    for make in (TrustedIssuer, *issuers.PRESETS.values()):
        hints = get_type_hints(make)
        hints.pop("return", None)
        assert set(hints.values()) <= KINDS.keys()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "has no issuer: write a table [[issuer]] for each."),
        ("issuer = []", "has no issuer: write a table [[issuer]] for each."),
        ("[issuer]\na = 1", "issuer must be a table for each issuer: write [[issuer]], with two brackets."),
        ("issuer = [1]", "issuer must be a table for each issuer: write [[issuer]], with two brackets."),
        ("[[issuers]]", "'issuers' is not a key here. Is issuer meant?"),
        (
            '[[issuer]]\npreset = "Entry"',
            f"issuer 1 (Entry): preset 'Entry' is not one of {', '.join(issuers.PRESETS)}. Is entra meant? {REST}",
        ),
        (
            "[[issuer]]\npreset = 1",
            f"issuer 1: preset 1 is not one of {', '.join(issuers.PRESETS)}. {REST}",
        ),
        (f"{OF_AUTH0}permisions = true", "issuer 1 (auth0): 'permisions' is not a key here. Is permissions meant?"),
        (f"{OF_AUTH0}audiences = 'b'", "issuer 1 (auth0): 'audiences' is not a key here. Is audience meant?"),
        (f"{OF_COGNITO}audiences = 'b'", "issuer 1 (cognito): 'audiences' is not a key here. Is audience meant?"),
        (f"{OF_COGNITO}client_id = 'b'", "issuer 1 (cognito): 'client_id' is not a key here. Is client_ids meant?"),
        (f"{OF_AUTH0}base_url = 'b'", "issuer 1 (auth0): 'base_url' is not a key here. Is domain meant?"),
        (f"{OF_AUTH0}zzz = 1", "issuer 1 (auth0): 'zzz' is not a key here."),
        (f"{OF_AUTH0}scope_claims = ['scp']", "issuer 1 (auth0): 'scope_claims' is not a key here."),
        (f"{OF_AUTH0}permissions = 'yes'", "issuer 1 (auth0): permissions must be true or false."),
        (f"{OF_AUTH0}jwks_url = 1", "issuer 1 (auth0): jwks_url must be a string."),
        (
            '[[issuer]]\npreset = "auth0"\ndomain = "tenant.eu.auth0.com"\naudience = ["a", 1]',
            "issuer 1 (auth0): audience must be a string, or a list of strings.",
        ),
        ('[[issuer]]\npreset = "duende"\nissuer = "https://d.example"', "issuer 1 (duende): audience is required."),
        (f"{WITHOUT_PRESET}presets = 'okta'", "issuer 1: 'presets' is not a key here. Is preset meant?"),
        (f"{WITHOUT_PRESET}one_of_claims = ['a']", "issuer 1: one_of_claims must be a list of lists of strings."),
        (f"{WITHOUT_PRESET}required_claims = 'a'", "issuer 1: required_claims must be a table."),
        (
            f"{WITHOUT_PRESET}required_claims.since = 2026-11-21",
            "issuer 1: required_claims: the value of since is not JSON.",
        ),
        (f"{WITHOUT_PRESET}audience_claim = 'azp'", "issuer 1: audience_claim must be aud or client_id."),
        (OF_AUTH0 * 2, "issuer 2 (auth0): has the identifier of issuer 1, https://tenant.eu.auth0.com/."),
    ],
)
def test_a_mistake_is_told_with_its_table_and_key(mistakes: Mistakes, text: str, expected: str) -> None:
    assert mistakes(text) == (expected,)


def test_all_mistakes_are_told_together(mistakes: Mistakes) -> None:
    found = mistakes(
        """
        [[issuer]]
        preset = "entra"
        tenant_id = "common"
        client_id = 1
        audience = "a"

        [[issuer]]
        preset = "okta"
        server = ""

        [[issuer]]
        identifier = "issuer.example"
        scope_claims = ["groups"]
        """
    )
    assert [re.sub(r"^(issuer \d).*?: (\S+) .*", r"\1 \2", mistake, flags=re.DOTALL) for mistake in found] == [
        "issuer 1 'audience'",
        "issuer 1 client_id",
        "issuer 1 tenant_id",
        "issuer 2 domain",
        "issuer 2 audience",
        "issuer 2 server",
        "issuer 3 audiences",
        "issuer 3 identifier",
        "issuer 3 scope_claims",
    ]


def test_mistakes_are_told_by_the_keys_of_the_file_and_in_its_terms(mistakes: Mistakes) -> None:
    lists = ("audiences", "token_types", "scope_claims", "client_id_claims")
    found = mistakes(
        '[[issuer]]\nidentifier = "https://issuer.example/"\n'
        + "".join(f"{name} = []\n" for name in lists)
        + 'app_scope_claims = ["groups"]\none_of_claims = [[]]\nrequired_claims = { "" = 1 }\n'
    )
    keys = [mistake.removeprefix("issuer 1: ").split(" ")[0] for mistake in found]
    assert sorted(keys) == sorted([*lists, "app_scope_claims", "one_of_claims", "required_claims"])
    assert not any("tuple" in mistake or "mapping" in mistake for mistake in found)


def test_an_unreadable_file_is_told_in_a_sentence(tmp_path: Path) -> None:
    for path, content, expected in (
        (tmp_path / "none.toml", None, "cannot be read: No such file or directory."),
        (tmp_path, None, "cannot be read: Is a directory."),
        (tmp_path / "latin.toml", b"# \xe9", "is not UTF-8."),
        (tmp_path / "deep.toml", b"issuer = " + b"[" * 5_000, "is nested too deeply."),
        (tmp_path / "bad.toml", b"issuer = ", "is not TOML: Invalid value (at end of document)."),
    ):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            read_issuers_file(str(path))
        assert caught.value.mistakes == (f"{path} {expected}",)


def test_the_examples_in_the_documentation(read: Read, tmp_path: Path) -> None:
    example, opaque = re.findall(
        r"```toml\n(.*?)```", (ROOT / "docs" / "settings.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert len(read(example)) == len(tomllib.loads(example)["issuer"]) > 2
    (tmp_path / "secret").write_text("secret\n")
    assert len(read(opaque.replace("/run/secrets/introspection", str(tmp_path / "secret")))) == 1


# Introspection


def with_introspection(table: str, *, of: str = WITHOUT_PRESET) -> str:
    return f"{of}introspection = {{ {table} }}\n"


def test_a_table_says_how_the_issuer_is_asked_about_tokens(tmp_path: Path) -> None:
    path, secret = tmp_path / "issuers.toml", tmp_path / "secret"
    secret.write_text(" s3cret value\n")
    keys = f'client_id = "api", client_secret_file = "{secret}"'
    path.write_text(
        with_introspection(keys, of=OF_AUTH0)
        + with_introspection(f'{keys}, tokens = "jwt", endpoint = "https://e.example/", token_type_required = false')
        + OF_COGNITO
    )
    found = read_issuers_file(str(path))
    assert len(found.issuers) == 3
    assert found.introspection == (
        Introspection(client_id="api", client_secret="s3cret value", issuer="https://tenant.eu.auth0.com/"),
        Introspection(
            client_id="api",
            client_secret="s3cret value",
            issuer="https://issuer.example/",
            tokens="jwt",
            endpoint="https://e.example/",
            token_type_required=False,
        ),
    )


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("", ["client_id is required.", "client_secret_file is required."]),
        (
            'client_id = "", client_secret_file = "SECRET", endpoint = "http://e.example/", tokens = "none"',
            [
                "client_id must be a non-empty string.",
                "endpoint 'http://e.example/' must be an https URL (http on loopback only).",
                "tokens must be one of opaque, jwt, all.",
            ],
        ),
        (
            'client_id = "a", client_secret = "top-secret", client_secret_file = 1',
            [
                "'client_secret' is not a key here. Is client_secret_file meant?",
                "client_secret_file must be a string.",
            ],
        ),
        (
            'client_id = "a", client_secret_file = "SECRET.none"',
            ["SECRET.none cannot be read: No such file or directory."],
        ),
        ('client_id = "a", client_secret_file = "EMPTY"', ["EMPTY is empty."]),
        ('client_id = "a", client_secret_file = "LATIN"', ["LATIN is not UTF-8."]),
    ],
)
def test_mistakes_in_an_introspection_are_told(
    mistakes: Mistakes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, expected: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "SECRET").write_text("top-secret")
    (tmp_path / "EMPTY").write_text(" \n")
    (tmp_path / "LATIN").write_bytes(b"top-secret\xe9")
    found = mistakes(with_introspection(table))
    assert list(found) == [f"issuer 1: introspection: {mistake}" for mistake in expected]
    assert "top-secret" not in " ".join(found)


def test_one_issuer_alone_is_asked_about_opaque_tokens(mistakes: Mistakes, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    keys = f'client_id = "api", client_secret_file = "{tmp_path}/secret"'
    (mistake,) = mistakes(with_introspection(keys, of=OF_AUTH0) + with_introspection(keys))
    assert mistake == 'only one issuer can be asked about opaque tokens: for the others, set tokens = "jwt".'
    (mistake,) = mistakes(f"{WITHOUT_PRESET}introspection = true\n")
    assert mistake == "issuer 1: introspection must be a table."
