"""A plugin that makes the collection of tests, and what follows it, cost less CPU time. It changes no test."""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.assertion import rewrite


def pytest_sessionstart(session: pytest.Session) -> None:
    """Rewrite this worker's share of the test files that changed.

    Otherwise, in a clean checkout, each worker of pytest-xdist rewrites all of them at the same time: 11 s of CPU time
    in each.
    """
    worker = getattr(session.config, "workerinput", None)
    if worker is None or sys.dont_write_bytecode:
        return
    number, count = int(worker["workerid"].removeprefix("gw")), int(worker["workercount"])
    for file in _files_to_collect(session.config)[number::count]:
        _rewrite(file, session.config)


def _files_to_collect(config: pytest.Config) -> list[Path]:
    named = [Path(config.invocation_params.dir, argument.partition("::")[0]) for argument in config.args]
    found = {file for path in named for file in ([path] if path.is_file() else path.rglob("test_*.py"))}
    return sorted(found)


def _rewrite(file: Path, config: pytest.Config) -> None:
    # pytest has no public name for these. A file that is not rewritten here is rewritten when it is imported.
    folder = rewrite.get_cache_dir(file)
    cached = folder / (file.name.removesuffix(".py") + rewrite.PYC_TAIL)
    if rewrite._read_pyc(file, cached) is None and rewrite.try_makedirs(folder):
        try:
            source_hash, code = rewrite._rewrite_test(file, config)
        except SyntaxError:
            return  # pytest reports it
        rewrite._write_pyc(config.stash[rewrite.assertstate_key], code, source_hash, cached)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect no garbage during collection, which makes half a million objects that stay until the end.

    Nor look through them again in each full collection of garbage during the tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()
