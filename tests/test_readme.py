"""What the README says is there, is there; and the other way round."""

import re
from typing import Any

import pytest
from flask import Flask

from api.auth import requirements_of
from tests.kit.processes import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
SETTINGS_SOURCE = (ROOT / "api" / "settings.py").read_text(encoding="utf-8")
GUNICORN_SOURCE = (ROOT / "gunicorn.conf.py").read_text(encoding="utf-8")


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_setting_has_its_line() -> None:
    listed = set(
        re.findall(r"`([A-Z_]{4,})`", "\n".join(re.findall(r"^\| (.*?) \|", section("Settings"), re.MULTILINE)))
    )
    read = set(re.findall(r'"(API_[A-Z_]+)"', SETTINGS_SOURCE))
    read |= set(re.findall(r'(?:environ\.get|_number)\("([A-Z_]+)"', GUNICORN_SOURCE))
    assert listed == read


@pytest.mark.parametrize(
    "path",
    re.findall(r"\]\((?!http)([^)#]+)\)", README) + re.findall(r"`((?:tests|benchmarks|requirements)/)`", README),
)
def test_every_path_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_every_module_of_the_api_is_on_the_map() -> None:
    modules = {path.name for path in (ROOT / "api").glob("*.py")} - {"__init__.py"}
    assert modules <= set(re.findall(r"`(\w+\.py)`", README))


def test_every_module_of_the_folder_to_copy_is_on_its_map() -> None:
    guide = (ROOT / "api" / "auth" / "README.md").read_text(encoding="utf-8")
    modules = {path.name for path in (ROOT / "api" / "auth").glob("*.py")} - {"__init__.py"}
    assert modules == set(re.findall(r"`(\w+\.py)`", guide.split("## The modules")[1]))


def test_every_route_has_its_line_with_its_scope(app: Flask) -> None:
    listed: dict[str, str] = {}
    for routes, scope in re.findall(
        r"^\| ((?:`[A-Z]+ /[^`]+`(?:, )?)+) \| ([^|]+) \|", section("The API"), re.MULTILINE
    ):
        listed |= dict.fromkeys(re.findall(r"`([^`]+)`", routes), scope.strip())
    served = {}
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:device_)?(\w+)>", r"{\1}", rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            requirements: Any = requirements_of(app, rule.endpoint, method)
            scopes = [f"`{scope}`" for one in requirements for scope in (*one.scopes, *one.any_of)]
            served[f"{method} {path}"] = " or ".join(scopes) or ("any valid token" if requirements else "none")
    assert listed == served


def test_the_changelog_has_a_line_for_the_unreleased() -> None:
    assert re.search(r"## Unreleased\n\n- ", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
