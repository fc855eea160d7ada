"""The import rules hold, and each import that breaks one is reported."""

import ast
import os
import re
import shutil
import subprocess
from importlib.util import resolve_name
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.kit.processes import BIN, ROOT

# Put on top of a module; an empty line makes a module that no rule lists.
BREACHES = [
    ("api/auth/verifier.py", "from api.settings import Settings"),
    ("api/auth/flask.py", "from ..problems.problem import Problem"),
    ("api/auth/claims.py", "import flask"),
    ("api/auth/keys.py", "import structlog"),
    ("api/auth/keys.py", "from .verifier import TokenVerifier"),
    ("api/app.py", "import mock_issuer"),
    ("api/devices/storage/store.py", "from mock_issuer.config import Config"),
    ("mock_issuer/app.py", "import api"),
    ("device_app/cli.py", "from api.devices.models import KINDS"),
    ("api/problems/responses.py", "from api.devices import routes"),
    ("api/devices/models.py", "from .storage.store import DeviceStore"),
    ("api/operations/health.py", "import environs"),
    ("api/helpers.py", ""),
    ("api/web/helpers.py", ""),
    ("api/settings/values.py", "from api.settings.proofs import DPoPSettings"),
    ("api/operations/metrics/catalogue.py", "from api.operations import health"),
    ("mock_issuer/flow/state.py", "from mock_issuer.oauth import routes"),
    ("mock_issuer/oauth/grants.py", "from mock_issuer.pages import sessions"),
    ("mock_issuer/pages/logs.py", "from mock_issuer.control import control"),
    ("device_app/login/credentials.py", "from device_app.terminal import console"),
    ("device_app/model/errors.py", "from device_app.http import transport"),
]
# In a report: an import that is forbidden by itself, and a module that no layer lists. Longer chains are left out:
# they can begin with an import that is allowed.
DIRECT_IMPORT = re.compile(r"^-\s+(\S+ -> \S+) \(l\.[^)]*\)\n\n", re.MULTILINE)
UNLISTED = re.compile(r"^- (\S+)$", re.MULTILINE)


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    # Ahead of the installed packages, so that the copy is what is judged.
    variables = {**os.environ, "PYTHONPATH": str(tree)}
    command = [str(BIN / "lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=tree, env=variables, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def reported() -> set[str]:
    """Return what the linter reports when all the breaches are there at once: one run takes a second."""
    with TemporaryDirectory() as directory:
        tree = Path(directory)
        for name in ("api", "device_app", "mock_issuer"):
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", tree)
        for module, line in BREACHES:
            path = tree / module
            path.write_text(f"{line}\n{path.read_text(encoding='utf-8') if path.exists() else ''}", encoding="utf-8")
        ended = lint(tree)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    return {*DIRECT_IMPORT.findall(ended.stdout), *UNLISTED.findall(ended.stdout)}


def test_they_hold() -> None:
    ended = lint(ROOT)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize(("module", "line"), BREACHES)
def test_a_breach_is_reported(reported: set[str], module: str, line: str) -> None:
    name = module.removesuffix(".py").replace("/", ".")
    match ast.parse(line).body:
        case [ast.ImportFrom(module=source, names=[alias], level=level)]:
            package = name.rpartition(".")[0]
            imported = resolve_name("." * level + (source or alias.name), package)
            expected = {f"{name} -> {imported}", f"{name} -> {imported}.{alias.name}"}
        case [ast.Import(names=[alias])]:
            expected = {f"{name} -> {alias.name}"}
        case _:
            expected = {name}
    assert expected & reported, reported
