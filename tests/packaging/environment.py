"""Empty virtual environments, and wheels to install into them without a network."""

import hashlib
import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.tags import parse_tag, sys_tags
from packaging.utils import canonicalize_name

# What installers add to a distribution, beside the list of its files, which is written anew.
ADDED_BY_INSTALLERS = {"INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_cache.json"}


@dataclass(frozen=True)
class Environment:
    """A virtual environment that has nothing of this one; pip of this one installs into it."""

    folder: Path
    wheels: Path

    def run(self, program: str, *arguments: str, cwd: Path) -> str:
        """Run a program of the environment and return what it prints; it must succeed."""
        command = [str(self.folder / "bin" / program), *arguments]
        ended = subprocess.run(
            command, cwd=cwd, env=self.variables(), capture_output=True, text=True, timeout=60, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def variables(self) -> dict[str, str]:
        """Return this process's environment variables without those that add modules or change pip."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_", "API_"))}
        return kept | {"PYTHONDONTWRITEBYTECODE": "1"}

    def pip(self, *arguments: str) -> str:
        """Run pip for this environment. It finds the wheels of `wheels` and no index."""
        command = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--no-input"]
        ended = subprocess.run(
            [*command, "--python", str(self.folder / "bin" / "python"), *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def install(self, *names: str | Path) -> None:
        """Install distributions, by name or as wheels, with what they require."""
        self.pip("install", "--no-compile", "--no-index", "--find-links", str(self.wheels), *map(str, names))

    def distributions(self) -> set[str]:
        """Return the names of what is installed."""
        listed = self.pip("list", "--format", "freeze").split()
        return {str(canonicalize_name(line.partition("==")[0])) for line in listed}

    def files(self) -> dict[str, str]:
        """Return the path of each file, with a hash of its content."""
        return {
            path.relative_to(self.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.folder.rglob("*")
            if path.is_file()
        }


def make_environment(folder: Path, wheels: Path) -> Environment:
    """Make an environment without packages, not even pip."""
    venv.create(folder, with_pip=False, symlinks=True)
    return Environment(folder, wheels)


def write_wheel(file: Path, contents: dict[str, bytes]) -> None:
    """Write a wheel of these files; the one in the folder `….dist-info` that lists them is added."""
    (info,) = {name.partition("/")[0] for name in contents if name.partition("/")[0].endswith(".dist-info")}
    record = "".join(f'"{name}",,\n' for name in [*contents, f"{info}/RECORD"])
    with ZipFile(file, "w") as archive:
        for name, content in {**contents, f"{info}/RECORD": record.encode()}.items():
            archive.writestr(name, content)


def repack(names: set[str], folder: Path) -> None:
    """Write installed distributions, and all that they require, as wheels again."""
    for installed in _closure(names):
        files = [
            file
            for file in installed.files or []
            # Programs and compiled modules are made at installation.
            if ".." not in file.parts and "__pycache__" not in file.parts and file.name not in ADDED_BY_INSTALLERS
        ]
        (info,) = {file.parts[0] for file in files if file.parts[0].endswith(".dist-info")}
        lines = (installed.read_text("WHEEL") or "").splitlines()
        tags = {tag for line in lines if line.startswith("Tag: ") for tag in parse_tag(line.removeprefix("Tag: "))}
        tag = next(tag for tag in sys_tags() if tag in tags)
        contents = {file.as_posix(): Path(str(installed.locate_file(file))).read_bytes() for file in files}
        write_wheel(folder / f"{info.removesuffix('.dist-info')}-{tag}.whl", contents)


def _closure(names: set[str]) -> list[Distribution]:
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    todo = [Requirement(name) for name in names]
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        for extra in ["", *requirement.extras]:
            if (name, extra) not in seen:
                seen.add((name, extra))
                found[name] = distribution(name)
                needed = map(Requirement, found[name].requires or [])
                todo += [one for one in needed if one.marker is None or one.marker.evaluate({"extra": extra})]
    return list(found.values())
