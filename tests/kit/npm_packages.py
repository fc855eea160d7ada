"""Install the npm packages of a folder with a lock file, once for all workers of a test run."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest


def installed(source: Path, name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of `source`, called `name`, with the packages of its lock file in `node_modules/`.

    May download: give the test a timeout of at least 180 s.
    """
    base = tmp_path_factory.getbasetemp()
    # xdist's workers have a folder each, in one of the run.
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with (folder.with_suffix(".lock")).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(source, partial, ignore=shutil.ignore_patterns("node_modules"))
            options = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
            ended = subprocess.run(
                ["npm", "ci", *options], cwd=partial, capture_output=True, text=True, timeout=150, check=False
            )
            assert ended.returncode == 0, ended.stdout + ended.stderr
            partial.rename(folder)
    return folder
