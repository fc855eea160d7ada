"""The wheels of the three distributions, built once by `make dist` from a copy of the project without its history."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.kit.processes import BIN, ROOT
from tests.packaging.environment import repack

FILES = ("*.cfg", "*.in", "*.md", "*.py", "*.toml", "*.yaml", "LICENSE", "Makefile")
FOLDERS = ("adapters", "api", "device_app", "mock_issuer", "tests")
LEFT_BY_TOOLS = shutil.ignore_patterns("__pycache__", "*.egg-info")


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project, as it is in a clean clone, in which `make dist` was run."""
    clone = tmp_path_factory.mktemp("clone")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, clone / folder, ignore=LEFT_BY_TOOLS)
    for pattern in FILES:
        for file in ROOT.glob(pattern):
            shutil.copy(file, clone)
    before = {*clone.rglob("*")}
    command = ["make", "--old-file", ".venv/.ready", "dist", f"BIN={BIN}"]
    ended = subprocess.run(command, cwd=clone, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    made = {path.parent for path in {*clone.rglob("*")} - before if path.is_file()}
    left = {folder for folder in made if folder.name != "dist" and folder.suffix != ".egg-info"}
    assert left == set(), "make dist leaves files that git does not ignore"
    return clone


@pytest.fixture(scope="session")
def wheels(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the three wheels and those of everything that they and the tests of a stranger require."""
    folder = tmp_path_factory.mktemp("wheels")
    needed = {"pytest"}
    for name in (".", "mock_issuer", "device_app"):
        project = tomllib.loads((clone / name / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        needed |= {*project["dependencies"]}
    repack(needed, folder)
    for wheel in (clone / "dist").glob("*.whl"):
        shutil.copy(wheel, folder)
    return folder
