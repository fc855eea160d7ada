"""What the kit promises to the tests, where a mistake in it would go unnoticed."""

import ast
import re
import signal
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from tests.kit import needs
from tests.kit.headers import header_of
from tests.kit.processes import ROOT, restore_sigint_in_children

SKIPS = {"SkipTest", "Skipped", "importorskip", "skip", "skipIf", "skipTest", "skipUnless", "skipif", "xfail"}


def test_children_take_sigint_even_if_this_process_ignores_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        restore_sigint_in_children()
        signal.raise_signal(signal.SIGINT)  # and it still ignores it
        command = [sys.executable, "-S", "-c", "import signal; signal.raise_signal(signal.SIGINT)"]
        ended = subprocess.run(command, stderr=subprocess.DEVNULL, timeout=30, check=False)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.returncode == -signal.SIGINT


def test_no_test_is_skipped_except_by_the_marker_needs() -> None:
    found = set()
    for file in (ROOT / "tests").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        # Parsing all files takes two seconds. Other characters than ASCII can spell the same names.
        if text.isascii() and not re.search("skip|xfail", text, re.IGNORECASE):
            continue
        for node in ast.walk(ast.parse(text)):
            names = {node.attr} if isinstance(node, ast.Attribute) else set()
            if isinstance(node, ast.ImportFrom | ast.Import):
                names = {alias.name for alias in node.names}
            if names & SKIPS:
                found.add(file.relative_to(ROOT).as_posix())
    assert found == {"tests/kit/needs.py", "tests/test_kit.py"}  # this file catches them, below


@pytest.mark.parametrize("service", ["make", "redis-server", "asgiref", "postgresql"])
@pytest.mark.parametrize("required", [False, True])
def test_what_a_machine_lacks_skips_a_test_or_fails_it(
    monkeypatch: pytest.MonkeyPatch, service: str, *, required: bool
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("REQUIRE_SERVICES", "1" if required else "")
    monkeypatch.setitem(sys.modules, "asgiref", None)
    monkeypatch.setitem(needs._PORTS, "postgresql", 1)
    needs.reason_against.cache_clear()
    item: Any = SimpleNamespace(iter_markers=lambda name: [pytest.mark.needs(service).mark])
    try:
        with pytest.raises(pytest.fail.Exception if required else pytest.skip.Exception, match=service):
            needs.pytest_runtest_setup(item)
    finally:
        needs.reason_against.cache_clear()


def test_a_missing_header_is_named_with_those_that_are_there() -> None:
    response = requests.Response()
    response.headers["Retry-After"] = "7"
    assert header_of(response, "retry-after") == "7"
    with pytest.raises(AssertionError, match=r"no ETag in the headers of .*\{'Retry-After': '7'\}"):
        header_of(response, "ETag")
