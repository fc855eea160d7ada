"""make's own words: the targets it lists, and what it says where there is no Python."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.kit.processes import ROOT

MAKE = shutil.which("make")
# The virtual environment is the one that these tests run in: leave it alone.
NO_SETUP = ("--old-file", ".venv/.ready")
pytestmark = pytest.mark.needs("make")


def make(*arguments: str, cwd: Path = ROOT, path: str | None = None) -> subprocess.CompletedProcess[str]:
    assert MAKE is not None
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PYTHON"))}
    variables["PATH"] = path or variables["PATH"]
    return subprocess.run(
        [MAKE, *arguments], cwd=cwd, env=variables, capture_output=True, text=True, timeout=60, check=False
    )


def test_help_lists_every_target() -> None:
    listed = {line.split()[1] for line in make("help").stdout.splitlines()}
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert listed == set(re.findall(r"^([a-z-]+):(?!=)", text, re.MULTILINE))
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert listed == set(phony.split())


def test_ci_runs_the_slow_tests_and_the_others() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("make ")] == ["make test", "make test-all", "make lint"]
    assert 'pytest -m "not slow"' in make("--dry-run", *NO_SETUP, "test").stdout
    assert "pytest -m slow" in make("--dry-run", *NO_SETUP, "test-all").stdout


@pytest.mark.parametrize(("status", "passes"), [(0, True), (1, False), (5, True)])
def test_no_slow_test_is_no_failure(tmp_path: Path, status: int, *, passes: bool) -> None:
    stand_in = tmp_path / "pytest"
    stand_in.write_text(f"#!/bin/sh\nexit {status}\n")  # 5: no test was selected
    stand_in.chmod(0o755)
    assert (make(*NO_SETUP, "test-all", f"BIN={tmp_path}").returncode == 0) is passes


def test_without_python_it_says_so(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "mock_issuer/pyproject.toml", "device_app/pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "bash"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    ended = make("run", cwd=tmp_path, path=str(tools))
    assert ended.returncode != 0
    assert ended.stderr.startswith("Python 3.11 or newer with its venv module is needed")
    assert not (tmp_path / ".venv").exists()
