"""The option --auth-copy: run these tests against a copy of api/auth/ in another service.

    pytest tests/api/auth --auth-copy=/path/to/service/shield

Write it with "=", after the folder; pytest knows the option only if the folder is named.
"""

import importlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import api
from tests.api.auth.copied_folder import import_as_api_auth

_HERE = Path(__file__).parent
# The marker of tests that are left out.
_THIS_PROJECT = "this_project"
_LEFT_OUT = pytest.StashKey[Counter[str]]()
# What a copy may lack, with its tests.
_PARTS = {
    "dpop": ("dpop", "flask/test_dpop.py"),
    "introspection": ("introspection",),
    "mtls.py": ("test_mtls.py",),
}
# These start an API of their own with the copy, which needs all of it, or run all code of the guide.
_OF_WHOLE_COPIES = ("test_guide.py", "test_hostile_requests.py", "test_rejections.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--auth-copy",
        type=Path,
        metavar="DIR",
        help="test the copy of api/auth in DIR; leaves out the tests that need this project's API or files",
    )


def pytest_configure(config: pytest.Config) -> None:
    copy: Path | None = config.getoption("auth_copy")
    config.stash[_LEFT_OUT] = Counter()
    if copy is None:
        return
    if not (copy / "__init__.py").is_file():
        raise pytest.UsageError(f"--auth-copy: {copy} is not a copy of api/auth, it has no __init__.py")
    named = [config.invocation_params.dir / argument.partition("::")[0] for argument in config.args]
    if not all(path.resolve().is_relative_to(_HERE) for path in named):
        raise pytest.UsageError("--auth-copy is for the tests in tests/api/auth: name that folder, or files in it")
    # The API, which the kit of the tests has imported, keeps the folder of this checkout.
    api.auth = import_as_api_auth(copy.resolve())


def _tests_of_missing_parts(copy: Path) -> set[Path]:
    """Return the tests that cannot run against a copy, since it has been left without what they test."""
    missing = [tests for part, tests in _PARTS.items() if not (copy / part).exists()]
    names = {*(name for tests in missing for name in tests), *(_OF_WHOLE_COPIES if missing else ())}
    return {_HERE / name for name in names}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    copy: Path | None = config.getoption("auth_copy")
    return True if copy is not None and collection_path in _tests_of_missing_parts(copy) else None


def pytest_report_header(config: pytest.Config) -> str | None:
    copy = config.getoption("auth_copy")
    return copy and f"api.auth: {copy}; without tests marked {_THIS_PROJECT}, which need this project's API or files"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("auth_copy") is None:
        return
    left_out = [item for item in items if item.get_closest_marker(_THIS_PROJECT)]
    config.stash[_LEFT_OUT] = Counter(item.path.relative_to(config.rootpath).as_posix() for item in left_out)
    items[:] = [item for item in items if not item.get_closest_marker(_THIS_PROJECT)]
    config.hook.pytest_deselected(items=left_out)


def pytest_sessionfinish(session: pytest.Session) -> None:
    # In a worker of pytest-xdist; each one collects all tests. Only plain types can be sent.
    left_out = session.config.stash[_LEFT_OUT]
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output[_THIS_PROJECT] = dict(left_out)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker of pytest-xdist left out."""
    counts: dict[str, int] = getattr(node, "workeroutput", {}).get(_THIS_PROJECT, {})
    node.config.stash[_LEFT_OUT] = Counter(counts)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    copy = config.getoption("auth_copy")
    if copy is None:
        return
    terminalreporter.section("copy of api/auth")
    version = getattr(importlib.import_module("api.auth"), "__version__", "unknown")
    terminalreporter.line(f"These tests ran against {copy}, version {version}.")
    for tests in sorted(path.relative_to(config.rootpath).as_posix() for path in _tests_of_missing_parts(copy)):
        terminalreporter.line(f"Left out, because the copy lacks what they need: {tests}")
    for path, count in sorted(config.stash[_LEFT_OUT].items()):
        terminalreporter.line(f"Left out, because they need this project's API or files: {count} in {path}")
