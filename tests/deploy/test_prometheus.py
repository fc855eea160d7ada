"""The alerts: they fire and do not fire as their tests say, and each has its section in the runbook."""

import functools
import re
import subprocess
from typing import Any

import pytest
import yaml

from tests.kit.processes import ROOT

FOLDER = ROOT / "deploy" / "prometheus"
TESTS = ("rules_test.yml", "rules_long_test.yml")
# Metrics that Prometheus makes itself.
PROMETHEUS_METRICS = {"up"}


def load(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


RULES: list[dict[str, Any]] = [rule for group in load("rules.yml")["groups"] for rule in group["rules"]]
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for rule in RULES if "alert" in rule}


def promtool(*arguments: str) -> None:
    result = subprocess.run(
        ["promtool", *arguments], cwd=FOLDER, check=False, capture_output=True, text=True, timeout=180
    )
    assert result.returncode == 0, f"{result.stdout}{result.stderr}"


@pytest.mark.needs("promtool")
def test_rules_and_configuration_are_valid() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", "rules.yml")
    promtool("check", "config", "prometheus.yml")


@pytest.mark.needs("promtool")
@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("file", TESTS)
def test_alerts_fire_when_they_should(file: str) -> None:
    promtool("test", "rules", file)


def test_each_alert_has_a_test_that_it_fires_and_one_that_it_does_not() -> None:
    names = [test["name"] for file in TESTS for test in load(file)["tests"]]
    expected = {f"{name} {outcome}" for name in ALERTS for outcome in ("fires", "does not fire")}
    assert expected == {name for name in names if name != "what an alert says"}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_to_do(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["annotations"]["summary"].endswith(".")
    assert alert["annotations"]["description"].endswith(".")
    assert alert["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"


def test_each_alert_has_its_section_in_the_runbook_and_each_section_its_alert() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    sections = re.split(r"^### ", runbook.split("\n## Faults\n")[0], flags=re.MULTILINE)[1:]
    assert [section.splitlines()[0] for section in sections] == list(ALERTS)
    for section in sections:
        assert re.findall(r"^- \*\*(.*?):\*\*", section, re.MULTILINE) == ["Means", "Look at", "Do"], section


@functools.cache
def listed_metrics() -> frozenset[str]:
    operation = (ROOT / "docs" / "operation.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`((?:api|process)_[a-z_]+)(?:\{[^`]*\})?`", operation))
    return frozenset(names | {f"{name}_{suffix}" for name in names for suffix in ("bucket", "count", "sum")})


@pytest.mark.parametrize("file", ["deploy/prometheus/rules.yml", "deploy/prometheus/rules_test.yml", "docs/runbook.md"])
def test_each_metric_that_is_named_exists(file: str) -> None:
    # Tests compare the list in docs/operation.md with the code.
    text = (ROOT / file).read_text(encoding="utf-8")
    text = re.sub(r'"[^"]*"', "", text) if file.endswith("rules.yml") else text
    assert set(re.findall(r"\b(?:api|process)_[a-z_]+\b", text)) - listed_metrics() - PROMETHEUS_METRICS == set()
