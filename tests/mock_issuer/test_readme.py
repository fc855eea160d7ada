"""The README says what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import mock_issuer
from mock_issuer import Config, create_app

README = (Path(mock_issuer.__file__).parent / "README.md").read_text(encoding="utf-8")


def test_names_every_endpoint() -> None:
    rules = {rule.rule for rule in create_app().url_map.iter_rules()}
    # The steps under /activate are the pages' own business.
    public = {rule for rule in rules if not rule.startswith(("/activate/", "/static/"))}
    assert {rule for rule in public if f"{rule}`" not in README} == set()


def test_names_every_default() -> None:
    config = Config()
    for user in config.users:
        assert f"| `{user.username}` | `{user.password}` |" in README
    for client in config.clients:
        assert f"| `{client.client_id}` | {f'`{client.secret}`' if client.secret else 'none'}" in README
    for api in config.apis:
        assert {name for name in (api.audience, *api.scopes) if f"`{name}`" not in README} == set()


def test_its_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(snippet, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")
