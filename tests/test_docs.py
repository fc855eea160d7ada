"""The documentation lists what exists, and nothing else."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from flask import Flask

import device_app
import mock_issuer
from api import auth
from api.auth import Access, access_of, requirements_of
from api.cli import main
from api.operations.metrics import METRICS
from api.problems.catalogue import PROBLEM_TYPES
from api.settings.names import SETTING_NAMES
from tests.kit.processes import BIN, ROOT

# A build copies pages without what they link to.
PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("[a-z]*/**/*.md")} - {*ROOT.glob("build/**/*.md")})
PROGRAMS = ("api", "mock_issuer", "device_app")
MAX_README_WORDS = 900
DISTRIBUTIONS = [
    tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for folder in (".", "mock_issuer", "device_app")
]


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def without_code_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def code(page: Path) -> str:
    """Return what a page has in backticks and in code blocks."""
    return "\n".join(re.findall(r"```.*?```|`[^`]+`", page.read_text(encoding="utf-8"), re.DOTALL))


def packages() -> Iterator[Path]:
    """Yield every folder with modules, except the one with the migrations."""
    for program in PROGRAMS:
        for init in (ROOT / program).rglob("__init__.py"):
            if init.parent.name != "versions":
                yield init.parent


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", without_code_blocks(page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# Every page


@pytest.mark.parametrize(
    ("page", "link"),
    [
        pytest.param(page, link, id=f"{name(page)}: {link}")
        for page in PAGES
        for link in re.findall(r"\]\(([^)\s]+)\)", without_code_blocks(page.read_text(encoding="utf-8")))
        if not link.startswith(("http:", "https:"))
    ],
)
def test_every_link_resolves(page: Path, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = (page.parent / path) if path else page
    assert target.exists()
    assert not anchor or anchor in anchors(target)


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name)
def test_every_module_that_a_page_names_exists(page: Path) -> None:
    known = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("[a-z]*/**/*.py")}
    known |= {path.name for path in ROOT.glob("*.py")}
    # A page may shorten a path from the left: `claims.py`, `login/device_flow.py`.
    short = {path.split("/", skipped)[-1] for path in known for skipped in range(path.count("/") + 1)}
    named = set(re.findall(r"`([\w./]+\.py)`", page.read_text(encoding="utf-8")))
    # Files of the reader's own.
    assert named - short == set()


def test_every_test_that_a_page_names_exists() -> None:
    named = {test for page in PAGES for test in re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8"))}
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert named - set(re.findall(r"\bdef (test_\w+)", sources)) == set()


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name not in PROGRAMS], ids=name)
def test_every_command_works_in_a_fresh_clone(page: Path) -> None:
    """Programs of the environment are called by their path; those that are called are installed."""
    lines = [
        line
        for block in re.findall(r"^```sh\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    scripts = {script for project in DISTRIBUTIONS for script in project["scripts"]}
    installed_here = {*scripts, "gunicorn", "pytest", "python", "ruff", "mypy"}
    assert [line for line in lines if line.split()[:1] and line.split()[0] in installed_here] == []
    called = {command for line in lines for command in re.findall(r"^\.venv/bin/([\w-]+)", line)}
    assert {command for command in called if not (BIN / command).exists()} == set()


def test_every_target_of_make_that_a_page_names_exists() -> None:
    named = {target for page in PAGES for target in re.findall(r"\bmake ([a-z-]+)", code(page))}
    assert named - set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE)) == set()


# README.md


def test_the_readme_is_short() -> None:
    assert len(read("README.md").split()) <= MAX_README_WORDS


def test_the_readme_has_a_line_for_each_package() -> None:
    block = read("README.md").split("## Where things are\n")[1].split("```")[1]
    listed, program = set(), ""
    for indent, name in re.findall(r"^( *)(\w+)/ ", block, re.MULTILINE):
        program = program if indent else name
        listed.add(f"{program}/{name}" if indent else name)
    found = {package.relative_to(ROOT).as_posix() for package in packages()}
    assert listed == {name for name in found if name.count("/") <= 1}


# docs/modules.md


def test_every_module_has_its_line() -> None:
    sections = re.findall(r"^##+ `([\w/]+)/`$(.*?)(?=^##|\Z)", read("docs/modules.md"), re.MULTILINE | re.DOTALL)
    listed = {name: set(re.findall(r"^\| `(\w+\.py)` \|", text, re.MULTILINE)) for name, text in sections}
    found = {
        package.relative_to(ROOT).as_posix(): {path.name for path in package.glob("*.py")} - {"__init__.py"}
        for package in packages()
    }
    assert listed == found


def test_every_path_in_the_diagram_exists() -> None:
    diagram = read("docs/modules.md").split("```")[1]
    paths = re.findall(r"\b[a-z_]+(?:/[a-z_]+)+\b", diagram)
    assert len(paths) > 1
    assert {path for path in paths if not (ROOT / "api" / f"{path}.py").exists()} == set()


@pytest.mark.parametrize(
    "path", re.findall(r"^\| `([\w./]+)` \|", read("docs/modules.md").split("## Elsewhere")[1], re.MULTILINE)
)
def test_every_other_path_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_every_module_of_api_auth_is_in_its_readme() -> None:
    folder = ROOT / "api" / "auth"
    modules = {path.relative_to(folder).as_posix() for path in folder.rglob("*.py") if path.name != "__init__.py"}
    assert modules == set(re.findall(r"`([\w/]+\.py)`", read("api/auth/README.md").split("## The modules")[1]))


# docs/settings.md


def test_every_setting_has_its_line() -> None:
    first_cells = "\n".join(re.findall(r"^\| (.*?) \|", read("docs/settings.md"), re.MULTILINE))
    listed = set(re.findall(r"`([A-Z_]{4,})`", first_cells))
    # `names.py` lists all of them, and reads none.
    readers = [path for path in (ROOT / "api" / "settings").glob("*.py") if path.name != "names.py"]
    sources = "".join(path.read_text(encoding="utf-8") for path in readers)
    used = set(re.findall(r'"(API_[A-Z_]+)"', sources))
    servers = sources + read("gunicorn.conf.py") + read("api/operations/server/granian.py")
    used |= set(re.findall(r'(?:os\.environ\.get|\bnumber)\("([A-Z_]+)"', servers))
    assert listed == used
    assert listed == {*SETTING_NAMES, "HOST", "PORT"}


# docs/api.md


def section(page: str, title: str) -> str:
    return read(page).split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_route_has_its_line_with_its_scope(app: Flask) -> None:
    listed: dict[str, str] = {}
    rows = re.findall(
        r"^\| ((?:`[A-Z]+ /[^`]*`(?:, )?)+) \| ([^|]+) \|", section("docs/api.md", "Routes"), re.MULTILINE
    )
    for routes, scope in rows:
        listed |= dict.fromkeys(re.findall(r"`([^`]+)`", routes), scope.strip())
    served = {}
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:device_)?(\w+)>", r"{\1}", rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            requirements: Any = requirements_of(app, rule.endpoint, method)
            scopes = [f"`{scope}`" for one in requirements for scope in (*one.scopes, *one.any_of)]
            served[f"{method} {path}"] = " or ".join(scopes) or ("any valid token" if requirements else "none")
    assert listed == served


def test_every_route_declares_who_may_call_it(app: Flask) -> None:
    found = {
        (access_of(app, rule.endpoint, method), "OPTIONS" if method == "OPTIONS" else rule.rule.startswith("/v1/"))
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }
    # Only what is below /v1/ has callers' data.
    assert found == {(Access.CLOSED, True), (Access.OPEN, False), (Access.OPEN, "OPTIONS")}


def test_every_error_code_has_its_line_with_its_statuses() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d, ]+) \|", section("docs/api.md", "Errors"), re.MULTILINE)
    listed = {error: tuple(map(int, statuses.split(","))) for error, statuses in rows}
    assert listed == {error: kind.statuses for error, kind in PROBLEM_TYPES.items()}


# docs/operation.md


def command_names(command: click.Command, path: str) -> Iterator[str]:
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from command_names(child, f"{path} {name}")
    else:
        yield path


def test_every_command_of_device_api_has_its_line() -> None:
    listed = re.findall(r"^\| `(device-api [a-z ]+)` \|", read("docs/operation.md"), re.MULTILINE)
    assert sorted(listed) == sorted(command_names(main, "device-api"))


def test_every_metric_has_its_line_with_its_labels() -> None:
    rows = re.findall(r"^\| `(api_\w+)` \| ([^|]*)\|", section("docs/operation.md", "Metrics"), re.MULTILINE)
    listed = {name: re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", labels)) for name, labels in rows}
    assert listed == {metric.name: list(metric.labelnames) for metric in METRICS}


def test_every_log_event_has_its_line() -> None:
    listed = set(re.findall(r"^\| `(\w+)` \|", section("docs/operation.md", "Logs"), re.MULTILINE))
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "api").rglob("*.py"))
    by_structlog = re.findall(r'\b_?log\.(?:debug|info|warning|error|exception)\(\s*"(\w+)"', sources)
    past_it = re.findall(r'\bjson_line\("(\w+)"|"event": "(\w+)"', sources)
    of_records = re.findall(r'^    event = "(\w+)"', sources, re.MULTILINE)
    assert listed == {*by_structlog, *map("".join, past_it), *of_records}


# docs/decisions/


def test_the_index_has_every_decision() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = set(re.findall(r"\]\((\S+\.md)\)", read("docs/decisions/README.md")))
    assert {path.name for path in folder.glob("*.md")} - {"README.md"} <= listed


# CHANGELOG.md


def test_the_changelog_keeps_its_form() -> None:
    versions = re.split(r"^## ", read("CHANGELOG.md"), flags=re.MULTILINE)[1:]
    unreleased, released = r"\S+ \(unreleased\)", r"\S+ - \d{4}-\d\d-\d\d"
    assert re.fullmatch(f"{unreleased}|{released}", versions[0].splitlines()[0])
    assert all(re.fullmatch(released, version.splitlines()[0]) for version in versions[1:])
    for version in versions:
        titles = re.findall(r"^### (.*)$", version, re.MULTILINE)
        order = ["Added", "Changed", "Fixed", "Security"]
        assert titles
        assert titles == [title for title in order if title in titles]


def test_the_changelog_of_the_folder_to_copy_has_the_same_versions() -> None:
    ours, theirs = (
        re.findall(r"^## .*$", read(page), re.MULTILINE) for page in ("CHANGELOG.md", "api/auth/CHANGELOG.md")
    )
    assert ours == theirs


@pytest.mark.parametrize("package", [auth, mock_issuer, device_app], ids=PROGRAMS)
def test_the_version_is_the_newest_one_of_the_changelog(package: ModuleType) -> None:
    version, state = re.findall(r"^## (\S+) (.*)$", read("CHANGELOG.md"), re.MULTILINE)[0]
    expected = f"{version}.dev0" if state == "(unreleased)" else version
    assert package.__version__ == expected
