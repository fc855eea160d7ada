"""Installs what a stack's service needs into an environment of its own, at the pinned versions."""

import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from .stacks import FOLDER, Stack

ROOT = FOLDER.parents[1]
ENVIRONMENTS = ROOT / "build" / "peers"
_INSTALL_SECONDS = 900
_INSTALLED = ".installed"


class CannotRun(Exception):
    """A stack cannot be installed or started; the text says why."""


def install(stack: Stack) -> Path:
    """Return the folder of a stack's environment, with its service; install only if the pins have changed.

    Stacks with the same folder share an environment. Raises CannotRun if a program is missing or an installation fails.
    """
    directory = ENVIRONMENTS / stack.path.name
    if stack.kind == "whole":
        directory.mkdir(parents=True, exist_ok=True)
        return directory
    digest = hashlib.sha256(stack.pins.read_bytes()).hexdigest() if stack.pins else ""
    stamp = directory / _INSTALLED
    if not stamp.exists() or stamp.read_text("utf-8") != digest:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        if stack.kind == "node":
            _install_node(stack, directory)
        elif stack.pins:
            _install_python(stack, directory)
        stamp.write_text(digest, "utf-8")
    for service in stack.path.glob("service.*"):
        shutil.copy(service, directory)
    if stack.kind == "copy":
        shutil.rmtree(directory / "auth", ignore_errors=True)
        shutil.copytree(ROOT / "api" / "auth", directory / "auth")
    return directory


def _install_node(stack: Stack, directory: Path) -> None:
    for name in (".npmrc", "package.json", "package-lock.json"):
        shutil.copy(stack.path / name, directory)
    # No scripts: what a package runs when it is installed is not needed to verify tokens.
    _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], directory)


def _install_python(stack: Stack, directory: Path) -> None:
    venv.create(directory / "venv", with_pip=True)
    python = str(directory / "venv" / "bin" / "python")
    options = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:"]
    _run([python, "-m", "pip", "install", *options, "-r", str(stack.pins)], directory)


def _run(command: list[str], directory: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
        )
    except FileNotFoundError as exc:
        raise CannotRun(f"{command[0]} is not installed.") from exc
    except subprocess.TimeoutExpired as exc:
        raise CannotRun(f"{Path(command[0]).name} did not finish within {_INSTALL_SECONDS} seconds.") from exc
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        raise CannotRun(f"{Path(command[0]).name} ended with status {done.returncode}.")
