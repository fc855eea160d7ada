"""The import rules hold, and fail where they are broken."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.kit.processes import BIN, ROOT


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    # Ahead of the installed packages, so that the copy is what is judged.
    variables = {**os.environ, "PYTHONPATH": str(tree)}
    command = [str(BIN / "lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=tree, env=variables, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("api", "device_app", "mock_issuer"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_they_hold(tree: Path) -> None:
    ended = lint(tree)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
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
        ("api/operations/metrics.py", "from . import health"),
        ("mock_issuer/flow/state.py", "from mock_issuer.oauth import routes"),
        ("mock_issuer/oauth/grants.py", "from mock_issuer.pages import sessions"),
        ("mock_issuer/pages/logs.py", "from mock_issuer.control import control"),
        ("device_app/login/credentials.py", "from device_app.terminal import console"),
        ("device_app/model/errors.py", "from device_app.http import transport"),
    ],
)
def test_they_fail_where_they_are_broken(tree: Path, module: str, line: str) -> None:
    path = tree / module
    path.write_text(f"{line}\n{path.read_text(encoding='utf-8') if path.exists() else ''}", encoding="utf-8")
    ended = lint(tree)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "BROKEN" in ended.stdout or "exhaustive" in ended.stdout or "Missing" in ended.stdout
