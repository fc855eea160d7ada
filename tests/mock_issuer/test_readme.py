"""The README is complete, and its examples run."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest

import mock_issuer
from mock_issuer import Api, Client, Config, RuleContext, RuleDenied, Server, User, create_app
from mock_issuer.config import Dialect
from mock_issuer.control.control import Control
from mock_issuer.flow.events import EVENT_NAMES
from mock_issuer.hostile import check
from mock_issuer.hostile.verdict import Severity
from mock_issuer.options import make_config
from tests.kit.processes import running_api

README = (Path(mock_issuer.__file__).parent / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_names_every_endpoint() -> None:
    rules = {rule.rule for rule in create_app().url_map.iter_rules()}
    # Endpoints that only the pages call.
    inside = ("/activate/", "/authorize/", "/account/log", "/account/unlink", "/static/", "/playground/static/")
    public = {rule for rule in rules if not rule.startswith(inside)}
    assert {rule for rule in public if f"{rule}`" not in README} == set()


def test_names_every_default() -> None:
    config = Config()
    for user in config.users:
        assert f"| `{user.username}` | `{user.password}` |" in README
    for client in config.clients:
        assert f"| `{client.client_id}` | {f'`{client.secret}`' if client.secret else 'none'}" in README
    for api in config.apis:
        assert {name for name in (api.audience, *api.scopes) if f"`{name}`" not in README} == set()


def test_its_server_snippet_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (snippet,) = (snippet for snippet in SNIPPETS if "device_code_seconds" in snippet)
    exec(compile(snippet, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")


def test_its_preset_reads_the_tokens_of_the_dialect(capsys: pytest.CaptureFixture[str]) -> None:
    (snippet,) = (snippet for snippet in SNIPPETS if "issuers.entra" in snippet)
    exec(compile(snippet, "README.md", "exec"), {})
    assert capsys.readouterr().out == "frozenset({'Devices.Read'}) frozenset({'Devices.Read.All'})\n"


def test_its_table_has_every_dialect() -> None:
    table = README.split("## Tokens of a vendor\n")[1].split("\n##")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(get_args(Dialect))


def test_names_every_option_and_every_severity_of_the_check(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        check.main(["--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    assert {"--only", "--fail-on", "--junit"} < options
    assert {option for option in options if option not in README} == set()
    assert {severity for severity in Severity if f"| `{severity}` |" not in README} == set()


@pytest.mark.slow
def test_its_check_of_an_api_finds_mistakes(tmp_path: Path) -> None:
    (snippet,) = (snippet for snippet in SNIPPETS if "check.main" in snippet)
    module: dict[str, Any] = {}
    exec(compile(snippet, "README.md", "exec"), module)
    test = module["test_my_api_makes_no_mistake"]
    with Server() as server:
        with running_api(server.url, tmp_path, API_LOG_LEVEL="error") as url:
            test(server, url)
        # This API accepts a `typ` that RFC 9068 does not define.
        lax = running_api(server.url, tmp_path, API_LOG_LEVEL="error", API_TOKEN_TYPES="at+jwt,dpop+jwt")
        with lax as url, pytest.raises(AssertionError):
            test(server, url)


def test_its_rule_adds_a_claim_and_refuses() -> None:
    (snippet,) = (snippet for snippet in SNIPPETS if "def add_team" in snippet)
    module: dict[str, Any] = {}
    exec(compile(snippet, "README.md", "exec"), module)
    client, context = Client(client_id="c"), RuleContext(protocol="p", audience="a", scopes=())
    module["add_team"](User(username="u"), client, context)
    assert context.access_token == {"https://example.com/team": "blue"}
    with pytest.raises(RuleDenied):
        module["add_team"](User(username="u", email="u@blocked.example"), client, context)


def test_its_toml_names_every_field() -> None:
    (snippet,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    unverified = tomllib.loads(snippet)
    assert unverified.keys() == {field.name for field in fields(Config)} - {"issuer"}
    assert make_config(unverified | {"rules": []}) == Config(
        apis=(Api(audience="https://api.example", name="My API", scopes={"read:things": "See your things"}),),
        clients=(
            Client(client_id="tv", name="My TV"),
            Client(
                client_id="gateway",
                grant_types=frozenset({"client_credentials"}),
                secret="another-public-test-secret",
                introspects=frozenset({"https://api.example"}),
            ),
            Client(
                client_id="web-app",
                application_type="web",
                secret="third-public-test-secret",
                grant_types=frozenset({"authorization_code", "refresh_token"}),
                redirect_uris=frozenset({"http://127.0.0.1:3000/callback"}),
            ),
        ),
        users=(User(username="carol", claims={"https://example.com/team": "blue"}),),
        default_audience="https://api.example",
        api_url="http://127.0.0.1:8000",
        verification_uri="http://192.168.1.5:9000/activate",
    )


def test_names_every_control_and_every_event() -> None:
    controls = {name for name in vars(Control) if not name.startswith("_")}
    assert {name for name in controls if f"`.{name}" not in README} == set()
    assert {code for code in EVENT_NAMES if f"`{code}`" not in README} == set()
