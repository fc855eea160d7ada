"""The examples for other languages run, and docs/issuer-for-tests.md shows them as they are."""

import os
import re
import subprocess

import pytest

from mock_issuer.control.control import Control
from tests.kit.processes import ROOT, running_issuer

EXAMPLES = ROOT / "docs" / "examples"
PAGE = (ROOT / "docs" / "issuer-for-tests.md").read_text(encoding="utf-8")


def run(*command: str) -> str:
    with running_issuer() as issuer:
        variables = {**os.environ, "ISSUER": issuer.removesuffix("/")}
        ended = subprocess.run(
            command, cwd=EXAMPLES, env=variables, capture_output=True, text=True, timeout=50, check=False
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.needs("curl")
def test_the_shell_example_runs() -> None:
    lines = run("bash", "issuer.sh").splitlines()
    assert re.fullmatch(r"token of \d{3,} characters", lines[0])
    assert lines[1:] == ["first poll: authorization_pending", "second poll: Bearer", "1"]


@pytest.mark.needs("node")
def test_the_javascript_example_runs() -> None:
    printed = run("node", "--test", "--test-reporter=tap", "issuer.test.mjs")
    assert "\n# pass 5\n# fail 0\n" in printed


@pytest.mark.parametrize(("language", "file"), [("bash", "issuer.sh"), ("js", "issuer.test.mjs")])
def test_the_page_shows_the_example(language: str, file: str) -> None:
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert blocks == [(EXAMPLES / file).read_text(encoding="utf-8")]


def test_the_page_names_operations_that_exist() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert named - {name for name in vars(Control) if not name.startswith("_")} == {"advance_clock"}
