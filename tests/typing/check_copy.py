"""Check that a copy of api/auth/ and a service that uses it are clean under a stranger's `mypy --strict`.

The copy has another name, and neither this project nor its mypy settings are in sight.
"""

import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Return mypy's exit status; it prints what it finds."""
    views = (ROOT / "tests" / "typing" / "views.py").read_text(encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary"]
    command += [f"--cache-dir={ROOT / '.mypy_cache' / 'copy'}", "shield", "app.py"]
    with TemporaryDirectory() as service:
        copytree(ROOT / "api" / "auth", Path(service, "shield"), ignore=ignore_patterns("__pycache__"))
        Path(service, "app.py").write_text(views.replace("from api.auth import", "from shield import"))
        environment = os.environ | {"PYTHONPATH": "", "MYPYPATH": ""}
        return subprocess.run(command, cwd=service, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
