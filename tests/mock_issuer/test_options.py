"""A TOML file, flags and Python give the same configuration."""

from __future__ import annotations

import argparse
import functools
import importlib
import inspect
import re
import subprocess
import sys
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests

from mock_issuer import Api, Client, Config, ConfigError, Server, User
from mock_issuer.options import add_flags, make_config, read_config
from tests.kit.issuer_command import COMMANDS, started

# Every field of Config has a value other than its default.
TOML = """
issuer = "https://issuer.test/tenant"
profile = "rfc"
dialect = "auth0"
default_audience = "urn:b"
access_token_format = "opaque"
access_token_seconds = 60
id_token_seconds = 61
refresh_token_seconds = 63
authorization_code_seconds = 30
device_code_seconds = 62
device_code_reuse_revokes = true
dpop_nonces = true
poll_interval_seconds = 1
user_code_charset = "digits"
user_code_mask = "***.*** ***"
wrong_code_limit = 7
pick_user = false
rules = ["my_rules:add_claim"]
api_url = "http://127.0.0.1:8000"
verification_uri = "http://192.168.1.5:9000/activate"

[[apis]]
audience = "urn:a"
name = "A"
allow_offline_access = false
scopes = {"read:a" = "Read A", "write:a" = "Write A"}

[[apis]]
audience = "urn:b"

[[clients]]
client_id = "tv"
name = "TV"
grant_types = ["urn:ietf:params:oauth:grant-type:device_code"]
application_type = "web"
dynamically_registered = true
rotate_refresh_tokens = false
default_audience = "urn:a"
dpop_bound_access_tokens = true
access_token_format = "jwt"

[[clients]]
client_id = "hub"
grant_types = ["client_credentials", "authorization_code"]
secret = "hub-secret"
redirect_uris = ["https://hub.example/callback", "http://127.0.0.1/callback"]
introspects = ["urn:a", "urn:b"]

[[users]]
username = "carol"
password = "p w"
sub = "c"
name = "Carol"
email = "c@example.com"
claims = {"https://example.com/team" = {"colour" = "blue", "size" = 3}}

[[users]]
username = "dave"
"""
FLAGS = [
    "--issuer=https://issuer.test/tenant",
    "--profile=rfc",
    "--dialect=auth0",
    "--default-audience=urn:b",
    "--access-token-format=opaque",
    "--access-token-seconds=60",
    "--id-token-seconds=61",
    "--refresh-token-seconds=63",
    "--authorization-code-seconds=30",
    "--device-code-seconds=62",
    "--device-code-reuse-revokes=true",
    "--dpop-nonces=true",
    "--poll-interval-seconds=1",
    "--user-code-charset=digits",
    "--user-code-mask=***.*** ***",
    "--wrong-code-limit=7",
    "--pick-user=false",
    "--rule=my_rules:add_claim",
    "--api-url=http://127.0.0.1:8000",
    "--verification-uri=http://192.168.1.5:9000/activate",
    (
        '--api={audience = "urn:a", name = "A", allow_offline_access = false, '
        'scopes = {"read:a" = "Read A", "write:a" = "Write A"}}'
    ),
    '--api={audience = "urn:b"}',
    (
        '--client={client_id = "tv", name = "TV", grant_types = ["urn:ietf:params:oauth:grant-type:device_code"], '
        'application_type = "web", dynamically_registered = true, rotate_refresh_tokens = false, '
        'default_audience = "urn:a", dpop_bound_access_tokens = true, access_token_format = "jwt"}'
    ),
    (
        '--client={client_id = "hub", grant_types = ["client_credentials", "authorization_code"], '
        'secret = "hub-secret", introspects = ["urn:a", "urn:b"], '
        'redirect_uris = ["https://hub.example/callback", "http://127.0.0.1/callback"]}'
    ),
    (
        '--user={username = "carol", password = "p w", sub = "c", name = "Carol", email = "c@example.com", '
        'claims = {"https://example.com/team" = {"colour" = "blue", "size" = 3}}}'
    ),
    '--user={username = "dave"}',
]
RULES = """
def add_claim(user, client, context):
    context.access_token["urn:from"] = "my_rules"

not_callable = 5
"""


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of rules that can be imported."""
    (tmp_path / "my_rules.py").write_text(RULES, encoding="utf-8")
    (tmp_path / "my_broken_rules.py").write_text("raise LookupError('at import')\n", encoding="utf-8")
    (tmp_path / "my_mistyped_rules.py").write_text("def (:\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("my_rules", "my_broken_rules", "my_mistyped_rules"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("my_rules")
    yield module
    sys.modules.pop("my_rules", None)


def in_python(rule: Any) -> Config:
    return Config(
        issuer="https://issuer.test/tenant",
        apis=(
            Api(
                audience="urn:a",
                name="A",
                scopes={"read:a": "Read A", "write:a": "Write A"},
                allow_offline_access=False,
            ),
            Api(audience="urn:b"),
        ),
        clients=(
            Client(
                client_id="tv",
                name="TV",
                grant_types=frozenset({"urn:ietf:params:oauth:grant-type:device_code"}),
                application_type="web",
                dynamically_registered=True,
                rotate_refresh_tokens=False,
                default_audience="urn:a",
                dpop_bound_access_tokens=True,
                access_token_format="jwt",
            ),
            Client(
                client_id="hub",
                grant_types=frozenset({"client_credentials", "authorization_code"}),
                secret="hub-secret",
                introspects=frozenset({"urn:a", "urn:b"}),
                redirect_uris=frozenset({"https://hub.example/callback", "http://127.0.0.1/callback"}),
            ),
        ),
        users=(
            User(
                username="carol",
                password="p w",
                sub="c",
                name="Carol",
                email="c@example.com",
                claims={"https://example.com/team": {"colour": "blue", "size": 3}},
            ),
            User(username="dave"),
        ),
        profile="rfc",
        dialect="auth0",
        default_audience="urn:b",
        access_token_format="opaque",
        access_token_seconds=60,
        id_token_seconds=61,
        refresh_token_seconds=63,
        authorization_code_seconds=30,
        device_code_seconds=62,
        device_code_reuse_revokes=True,
        dpop_nonces=True,
        poll_interval_seconds=1,
        user_code_charset="digits",
        user_code_mask="***.*** ***",
        wrong_code_limit=7,
        pick_user=False,
        rules=(rule,),
        api_url="http://127.0.0.1:8000",
        verification_uri="http://192.168.1.5:9000/activate",
    )


def read(*arguments: str) -> Config:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return read_config(parser.parse_args(arguments))[0]


def mistakes_of(*arguments: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(*arguments)
    return "\n".join(caught.value.mistakes)


def file(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "mock.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def test_file_flags_and_python_give_the_same_configuration(tmp_path: Path, rules: Any) -> None:
    expected = in_python(rules.add_claim)
    assert read("--config", file(tmp_path, TOML)) == expected
    assert read(*FLAGS) == expected


def test_the_example_changes_every_default() -> None:
    # Otherwise a field that neither file nor flag can set would pass the test above.
    changed = in_python(test_the_example_changes_every_default)
    for config_field in fields(Config):
        assert getattr(changed, config_field.name) != getattr(Config(), config_field.name), config_field.name
    for kind, parts in ((Api, changed.apis), (Client, changed.clients), (User, changed.users)):
        for part_field in fields(kind):
            plain = {} if part_field.default is MISSING else {part_field.default}
            values = {str(getattr(part, part_field.name)) for part in parts}
            assert values - {str(default) for default in plain}, part_field.name
    flags = {flag.partition("=")[0].removeprefix("--").replace("-", "_") for flag in FLAGS}
    singular = {"apis": "api", "clients": "client", "users": "user", "rules": "rule"}
    assert flags == {singular.get(config_field.name, config_field.name) for config_field in fields(Config)}


def test_without_file_and_flags_the_default_is_used(tmp_path: Path) -> None:
    assert read() == read("--config", file(tmp_path, "")) == make_config({}) == Config()


def test_flags_override_the_file_field_by_field(tmp_path: Path, rules: Any) -> None:
    config = read("--config", file(tmp_path, TOML), "--profile", "auth0", "--user", '{username = "erin"}')
    assert config == replace(in_python(rules.add_claim), profile="auth0", users=(User(username="erin"),))


def test_repeatable_fields_can_be_empty(tmp_path: Path) -> None:
    config = read("--config", file(tmp_path, "apis = []\nclients = []\nusers = []\nrules = []\n"))
    assert (config.apis, config.clients, config.users, config.rules) == ((), (), (), ())


# Mistakes


def test_all_mistakes_of_a_file_are_reported_together(tmp_path: Path) -> None:
    reported = mistakes_of(
        "--config",
        file(
            tmp_path,
            """
            issuer = "ftp://x"
            profile = "other"
            wrong = 1
            pick_user = "yes"
            device_code_seconds = 0
            poll_interval_seconds = 1.5
            user_code_mask = "**"
            rules = ["json:nothing", "", "json:__name__"]
            apis = [{}, {audience = "a", scopes = {x = 1}}, {audience = ""}]
            clients = [{client_id = 1, grant_types = "x"}, {client_id = "a", secrets = "b"}, 5, {client_id = "a b"}]
            users = {username = "u"}
            """,
        ),
    )
    for words in (
        "wrong is not known; known are issuer, apis",
        "profile must be one of auth0, rfc.",
        "pick_user is not true or false.",
        "poll_interval_seconds is not an integer.",
        "rules.0 does not name a function",
        "rules.1 does not name a function",
        "rules.2 names something that is not callable.",
        "apis.0.audience is missing.",
        "apis.1.scopes.x is not a string.",
        "clients.0.client_id is not a string.",
        "clients.0.grant_types is not a list.",
        "clients.1.secrets is not known",
        "clients.2 is not an object.",
        "users is not a list.",
        # Values of the right type that are wrong, reported together with the others.
        "The issuer 'ftp://x' is not",
        "device_code_seconds must be a number from 1",
        "user_code_mask must have at least 6",
        "An API has an empty audience.",
        "Client 'a b': the id must be printable",
    ):
        assert words in reported


def test_all_mistakes_of_flags_are_reported_together(tmp_path: Path) -> None:
    reported = mistakes_of(
        "--config",
        file(tmp_path, "= 5"),
        "--device-code-seconds=soon",
        "--pick-user=yes",
        "--api={audience",
        "--api={}",
        "--user=carol",
        "--issuer=x",
        "--wrong-code-limit=0",
        "--profile=other",
    )
    for words in (
        "mock.toml is not TOML",
        "--device-code-seconds soon is not a TOML value",
        "--pick-user yes is not a TOML value",
        "--api {audience is not a TOML value",
        "--user carol is not a TOML value",
        "The issuer 'x' is not",
        "wrong_code_limit must be a number from 1",
        "profile must be one of auth0, rfc.",
    ):
        assert words in reported


@pytest.mark.parametrize(
    "text",
    ["issuer", "issuer = ", 'issuer = "a"\nissuer = "b"', b"issuer = '\xff'", "a = " + "9" * 5000, "a = " + "[" * 5000],
    ids=lambda text: repr(text)[:20],
)
def test_a_file_that_is_not_toml_is_reported_by_its_path(tmp_path: Path, text: str | bytes) -> None:
    path = file(tmp_path, text)
    assert mistakes_of("--config", path).startswith(f"{path} is not TOML: ")


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 5000, "", "a b", "1 2", "1\nx = 2 3"])
def test_an_invalid_value_is_reported_by_its_flag(value: str) -> None:
    assert mistakes_of(f"--device-code-seconds={value}").startswith("--device-code-seconds ")


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    assert mistakes_of("--config", str(missing)) == f"{missing} cannot be read: No such file or directory."
    assert mistakes_of("--config", str(tmp_path)) == f"{tmp_path} cannot be read: Is a directory."


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("my_rules", "does not name a function"),
        ("my_rules:", "does not name a function"),
        ("my_rules:absent", "AttributeError"),
        ("my_rules.add_claim", "does not name a function"),
        ("absent_module:f", "No module named 'absent_module'"),
        (".my_rules:add_claim", "does not name a function"),
        (":add_claim", "does not name a function"),
        ("é:\x00", "does not name a function"),
        ("my_rules:not_callable", "is not callable"),
        ("my_broken_rules:f", "LookupError: at import"),
        ("my_mistyped_rules:f", "SyntaxError"),
    ],
)
def test_an_invalid_rule_is_reported(rules: Any, rule: str, words: str) -> None:
    reported = mistakes_of(f"--rule={rule}")
    assert reported.startswith("rules.0 ")
    assert words in reported


@pytest.mark.parametrize("value", [5, None, [], {"a": 1}, True])
def test_a_rule_must_be_a_string(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"rules\.0 does not name a function"):
        make_config({"rules": [value]})


# The command


def run(*options: str, cwd: Path | None = None) -> tuple[int, str, str]:
    command = [*COMMANDS[0], "--port", "0", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=cwd)
    return done.returncode, done.stdout, done.stderr


@functools.cache
def help_text() -> str:
    status, out, _ = run("--help")
    assert status == 0
    return out


def test_the_command_reports_all_mistakes_with_status_2(tmp_path: Path) -> None:
    path = file(tmp_path, 'profile = "other"\nwrong = 1\ndevice_code_seconds = 0\n')
    status, out, err = run("--config", path, "--pick-user", "maybe")
    assert (status, out) == (2, "")
    lines = err.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("mock-issuer: ") for line in lines)
    for words in ("profile", "wrong", "device_code_seconds", "--pick-user"):
        assert any(words in line for line in lines), words


@pytest.mark.parametrize("command", COMMANDS, ids=["module", "script"])
def test_the_command_uses_the_file_and_the_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    # The module of the rule is in the current directory, as in the README's example.
    (tmp_path / "my_rules.py").write_text(RULES, encoding="utf-8")
    path = file(tmp_path, 'users = [{username = "carol"}]\nissuer = "http://issuer.test/"\n')
    monkeypatch.chdir(tmp_path)
    options = ["--port", "0", "--config", path, "--rule", "my_rules:add_claim", "--device-code-seconds", "77"]
    with started([*command, *options]) as (_, line):
        url = line.split()[4]
        assert line == f"Mock issuer listening on {url} as http://issuer.test/\n"
        requests.post(f"{url}_mock/script", json={"outcome": "approve"}, timeout=10)
        form = {"client_id": "device-app", "audience": "https://device-api.example"}
        device = requests.post(f"{url}oauth/device/code", data=form, timeout=10).json()
        assert device["expires_in"] == 77
        form = {"client_id": "device-app", "grant_type": "urn:ietf:params:oauth:grant-type:device_code"}
        poll = form | {"device_code": device["device_code"]}
        token = requests.post(f"{url}oauth/token", data=poll, timeout=10).json()["access_token"]
        claims = jwt.decode(token, options={"verify_signature": False})
        assert (claims["iss"], claims["sub"], claims["urn:from"]) == ("http://issuer.test/", "mock|carol", "my_rules")


def test_the_command_and_the_server_take_the_same() -> None:
    """How it is served; what it is, Config, is compared above, and the controls in control/test_http.py."""
    of_config = {flag.partition("=")[0] for flag in FLAGS}
    of_the_command = set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", help_text(), re.MULTILINE)) - of_config
    without_a_counterpart = {"--help", "--version", "--config"}  # they print something, or name the file
    parameters = set(inspect.signature(Server).parameters)
    # `config` is the file with its flags, `issuer` a field of Config, `clock` a function, which only Python can pass.
    in_python = {f"--{name.replace('_', '-')}" for name in parameters - {"config", "issuer", "clock"}}
    assert of_the_command - without_a_counterpart == in_python


def test_help_names_every_flag() -> None:
    for flag in FLAGS:
        assert flag.partition("=")[0] in help_text()
