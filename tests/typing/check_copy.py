"""Check that a copy of api/auth/ is clean in strange services: mypy --strict, pyright (basic), and ruff's defaults.

The copy has another name, and neither this project nor its settings are in sight. Two services use it: one with Flask,
and one in an environment without Flask, which tells the type checkers to leave out the folder for Flask.
"""

import os
import re
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path
from shutil import copytree, ignore_patterns
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
# What the folder needs without Flask, and the types of what has none.
WITHOUT_FLASK = ("cachetools", "cryptography", "pyjwt", "types-cachetools")
PYRIGHT = """{"typeCheckingMode": "basic", "ignore": %s}"""


def main() -> int:
    """Run the checkers; return 1 if one of them finds something. They print what they find."""
    # pyright leaves out folders with names such as node_modules and those that begin with a dot.
    with TemporaryDirectory(prefix="service-") as directory:
        here = Path(directory)
        passed = [
            is_clean_with_flask(here / "with-flask"),
            is_clean_without_flask(here / "without-flask", here / "environment"),
        ]
    return 0 if all(passed) else 1


def is_clean_with_flask(service: Path) -> bool:
    """Check the whole copy, and views that use it."""
    make_service(service, "views.py", "Copy it", 2)
    (service / "pyrightconfig.json").write_text(PYRIGHT % "[]")
    return all(
        [
            run(service, "mypy", "--strict", "--config-file=", "shield", "app.py", "guide.py"),
            run(service, "basedpyright", "--pythonpath", sys.executable),
            run(service, "ruff", "check", "--isolated", "--quiet", "shield"),
        ]
    )


def is_clean_without_flask(service: Path, environment: Path) -> bool:
    """Check a program that uses the core of the copy."""
    make_service(service, "core.py", "Without Flask", 1)
    python = make_environment(environment)
    (service / "pyrightconfig.json").write_text(PYRIGHT % '["shield/flask"]')
    skip_flask = "[mypy]\nstrict = true\n[mypy-shield.flask.*]\nignore_errors = true\n"
    (service / "mypy.ini").write_text(skip_flask)
    return all(
        [
            run(service, "mypy", f"--python-executable={python}", "app.py", "guide.py"),
            # Also the modules that no program imports.
            run(service, "mypy", f"--python-executable={python}", "."),
            run(service, "basedpyright", "--pythonpath", str(python)),
        ]
    )


def make_service(service: Path, program: str, section_of_guide: str, blocks_of_guide: int) -> None:
    """Make a service with a copy of the folder, and two programs that use it: one from here, one from the guide."""
    copytree(ROOT / "api" / "auth", service / "shield", ignore=ignore_patterns("__pycache__"))
    text = (ROOT / "tests" / "typing" / program).read_text(encoding="utf-8")
    (service / "app.py").write_text(text.replace("from api.auth import", "from shield import"), encoding="utf-8")
    guide = (ROOT / "api" / "auth" / "README.md").read_text(encoding="utf-8")
    section = guide.split(f"\n## {section_of_guide}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[:blocks_of_guide]
    (service / "guide.py").write_text("\n".join(blocks).replace("your_service.auth", "shield"), encoding="utf-8")


def make_environment(directory: Path) -> Path:
    """Make an environment without Flask, of what is installed here; return its interpreter."""
    venv.create(directory)
    (site,) = directory.glob("lib/python3*/site-packages")
    for name in WITHOUT_FLASK:
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or () if file.parts[0] not in {"..", "__pycache__"}}:
            (site / top).symlink_to(str(found.locate_file(top)))
    return directory / "bin" / "python"


def run(service: Path, program: str, *arguments: str) -> bool:
    """Run a checker in a service; return whether it found nothing."""
    command = [str(BIN / program), *arguments]
    if program == "mypy":
        command += ["--no-error-summary", f"--cache-dir={ROOT / '.mypy_cache' / service.name}"]
    environment = os.environ | {"PYTHONPATH": "", "MYPYPATH": ""}
    ended = subprocess.run(command, cwd=service, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.stdout.write(f"{program} found this in {service.name}:\n{ended.stdout}{ended.stderr}\n")
    return ended.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
