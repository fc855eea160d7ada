"""Change one decision of the code at a time, and report every change that no test notices: `make mutants`.

Works on copies of the tree, in a temporary directory. targets.toml names what is changed and the tests for it,
accepted.txt the changes that no test can or should notice.
"""

import argparse
import contextlib
import gc
import importlib
import os
import random
import resource
import shutil
import signal
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.mutants.mutations import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent

_NOT_COPIED = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "mutants")
# Plain assertions: nobody reads their messages, and rewriting them takes longer than most tests.
_OPTIONS = ["-n", "0", "-x", "-q", "-p", "no:randomly", "--assert=plain", "--failed-first", "--timeout=30"]
# A mutant may loop or wait for ever: it counts as noticed after this many times what the tests take. A busy machine
# makes everything slow, but needs no more CPU time.
_PATIENCE = 10
_PATIENCE_OF_CPU = 2
_MARGIN_SECONDS = 10.0
_MODULES = "imported-modules.txt"
_UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Tests:
    """Tests that run together, and how long a run of them takes without any change, in seconds."""

    arguments: tuple[str, ...]
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    """A mutant, and the tests that should notice it: the later ones run only if the earlier ones do not."""

    mutant: Mutant
    tests: tuple[Tests, ...]


def main() -> int:
    """Run the command; return 1 if a change went unnoticed and is not accepted."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", help="files or folders to change; all targets by default")
    parser.add_argument("--sample", type=int, metavar="N", help="try N of the mutants, chosen at random")
    arguments = parser.parse_args()
    paths = arguments.paths
    targets: dict[str, dict[str, Any]] = tomllib.loads((HERE / "targets.toml").read_text(encoding="utf-8"))
    accepted = _read_accepted((HERE / "accepted.txt").read_text(encoding="utf-8"))
    with TemporaryDirectory(prefix="mutants-") as directory:
        base = Path(directory) / "base"
        shutil.copytree(ROOT, base, ignore=_NOT_COPIED)
        work = _collect(base, targets, paths, accepted)
        if not work:
            parser.error("no target has these paths; see tests/mutants/targets.toml")
        if arguments.sample is not None and arguments.sample < len(work):
            chosen = set(random.sample(range(len(work)), arguments.sample))
            work = [one for index, one in enumerate(work) if index in chosen or one.mutant.name == _UNCHANGED]
        for name in (base / _MODULES).read_text(encoding="utf-8").split():
            with contextlib.suppress(Exception):  # imported once here, and not once for each mutant
                importlib.import_module(name)
        gc.freeze()  # what is shared with the forks is not looked through again in each
        jobs = int(os.environ.get("JOBS", "2"))
        with get_context("fork").Pool(jobs, _start_worker, (base,)) as pool:
            return _report(pool.imap(_is_noticed, work), work, accepted)


def _collect(
    base: Path, targets: dict[str, dict[str, Any]], paths: list[str], accepted: dict[str, set[str]]
) -> list[Work]:
    """Return the mutants of the targets among `paths`. Exits if the tests fail without any change."""
    work: list[Work] = []
    measured: dict[tuple[str, ...], Tests] = {}
    files = sorted({file for target in targets for file in [base / target, *(base / target).rglob("*.py")]})
    for file in files:
        path = file.relative_to(base).as_posix()
        if not file.is_file() or not any(path.startswith(one) for one in paths or [path]):
            continue
        source = file.read_text(encoding="utf-8")
        found = list(mutants(path, source))
        if not found:
            continue
        tests = []
        for arguments in _arguments(targets, path):
            if arguments not in measured:
                measured[arguments] = _measured(base, arguments)
                # Without any change in a worker's tree too: otherwise everything would look noticed.
                unchanged = Mutant(path=path, line=0, name=_UNCHANGED, source=source)
                work.append(Work(unchanged, (measured[arguments],)))
            tests.append(measured[arguments])
        for one in found:
            # Without the slow tests, which would take most of the time: an accepted change counts as accepted anyway.
            is_accepted = one.name in accepted.get(path, ())
            work.append(Work(one, tuple(tests[:1] if is_accepted else tests)))
    return work


def _arguments(targets: dict[str, dict[str, Any]], path: str) -> Iterator[tuple[str, ...]]:
    """Yield what pytest is called with for a file: the tests of its target, then of those that the target names."""
    name: str | None = max((one for one in targets if path.startswith(one)), key=len)
    while name is not None:
        target = targets[name]
        yield (*target["tests"], *target.get("options", []))
        name = target.get("then")


def _measured(base: Path, arguments: tuple[str, ...]) -> Tests:
    started, used = time.monotonic(), os.times()
    if not _passes(base, Tests(arguments, 60, 600), list_modules=True):
        sys.exit(f"These tests fail without any change: {' '.join(arguments)}")
    now = os.times()
    cpu_seconds = now.children_user + now.children_system - used.children_user - used.children_system
    return Tests(arguments, time.monotonic() - started, cpu_seconds)


_tree = Path()


def _start_worker(base: Path) -> None:
    global _tree  # noqa: PLW0603  # each worker process has a tree of its own
    _tree = base.with_name(f"tree-{os.getpid()}")
    shutil.copytree(base, _tree)


def _is_noticed(work: Work) -> bool:
    file = _tree / work.mutant.path
    original = file.read_text(encoding="utf-8")
    # A compiled module counts as current if the source has the same size and second.
    for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
        compiled.unlink()
    file.write_text(work.mutant.source, encoding="utf-8")
    try:
        return not all(_passes(_tree, tests) for tests in work.tests)
    finally:
        file.write_text(original, encoding="utf-8")


def _passes(tree: Path, tests: Tests, *, list_modules: bool = False) -> bool:
    """Return whether the tests pass in a tree; a fork of this process runs them."""
    child = os.fork()
    if child == 0:
        cpu_seconds = int(tests.cpu_seconds * _PATIENCE_OF_CPU + _MARGIN_SECONDS)
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 5))
        _run_tests(tree, tests.arguments, list_modules=list_modules)
    deadline = time.monotonic() + tests.seconds * _PATIENCE + _MARGIN_SECONDS
    ended, status = 0, 1
    while not ended and time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    if not ended:
        os.kill(child, signal.SIGINT)  # pytest cleans up: servers, databases
        time.sleep(1)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not ended:
        os.waitpid(child, 0)
    return bool(ended) and status == 0


def _run_tests(tree: Path, tests: tuple[str, ...], *, list_modules: bool) -> None:
    """Run the tests, and end this process with their status."""
    status = 1
    try:
        os.setsid()
        os.chdir(tree)
        # The tree precedes the installed packages, in this process and in those that the tests start.
        sys.path[:] = [str(tree), *(path for path in sys.path if path != str(ROOT))]
        for name in [name for name in sys.modules if name.split(".")[0] == "tests"]:
            del sys.modules[name]
        os.environ.update(PYTHONPATH=str(tree), PYTHONDONTWRITEBYTECODE="" if list_modules else "1")
        sys.dont_write_bytecode = not list_modules
        with Path(os.devnull).open("w", encoding="utf-8") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        status = int(pytest.main([*_OPTIONS, *tests]))
        if list_modules:
            foreign = [
                name for name, one in sys.modules.items() if str(tree) not in str(getattr(one, "__file__", tree))
            ]
            Path(_MODULES).write_text("\n".join(foreign), encoding="utf-8")
    finally:
        os._exit(status)


def _read_accepted(text: str) -> dict[str, set[str]]:
    """Return the names of the accepted mutants of each file. Raises ValueError for those without a reason."""
    accepted: dict[str, set[str]] = {}
    path, without_reason = "", False
    for line in text.splitlines():
        if line.startswith("["):
            path = line.strip("[]")
        elif line.startswith("    "):
            without_reason = False
        elif line and not line.startswith("#"):
            accepted.setdefault(path, set()).add(line)
            without_reason = True
        if without_reason and (not line or line.startswith("[")):
            raise ValueError(f"accepted.txt: no reason above {line!r} in {path}")
    return accepted


def _report(noticed: Iterable[bool], work: list[Work], accepted: dict[str, set[str]]) -> int:
    made, killed, excused, holes = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    unused = {(path, name) for path in {one.mutant.path for one in work} for name in accepted.get(path, ())}
    for one, is_noticed in zip(work, noticed, strict=True):
        path, name = one.mutant.path, one.mutant.name
        if name == _UNCHANGED:
            if is_noticed:
                sys.exit(f"These tests fail without any change: {' '.join(one.tests[0].arguments)}")
            continue
        made[path] += 1
        if is_noticed:
            killed[path] += 1
        elif name in accepted.get(path, ()):
            excused[path] += 1
            unused.discard((path, name))
        else:
            holes[path] += 1
            print(f"{path}:{one.mutant.line}: {name}", flush=True)
    for path, name in sorted(unused):
        print(f"accepted.txt: noticed by a test, or no mutant any more: {path}: {name}")
    print(f"{'':40}{'mutants':>9}{'killed':>9}{'accepted':>10}{'survived':>10}")
    for path in [*made, "all"]:
        figures = [sum(one.values()) if path == "all" else one[path] for one in (made, killed, excused, holes)]
        print(f"{path:40}{figures[0]:9}{figures[1]:9}{figures[2]:10}{figures[3]:10}")
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(main())
