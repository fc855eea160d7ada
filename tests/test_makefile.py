"""make's own words: the targets it lists, and what it says where there is no Python."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.kit.processes import ROOT

MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")


def make(*arguments: str, cwd: Path = ROOT, path: str | None = None) -> subprocess.CompletedProcess[str]:
    assert MAKE is not None
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PYTHON"))}
    variables["PATH"] = path or variables["PATH"]
    return subprocess.run(
        [MAKE, *arguments], cwd=cwd, env=variables, capture_output=True, text=True, timeout=60, check=False
    )


def test_help_lists_every_target() -> None:
    listed = {line.split()[1] for line in make("help").stdout.splitlines()}
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    phony = next(line for line in lines if line.startswith(".PHONY"))
    assert listed == set(phony.split()[1:])


def test_without_python_it_says_so(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
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
