"""What the validator of make lint cannot see: that the manifests fit the image, the server and the API."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import Flask

from tests.kit.processes import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
KUSTOMIZATIONS = sorted(FOLDER.rglob("kustomization.yaml"))
SERVICE_MONITOR = FOLDER / "overlays" / "monitoring" / "service-monitor.yaml"
NAME, COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/component"
MEBIBYTES_PER_PROCESS = 200


def manifest(name: str) -> Any:
    return yaml.safe_load((FOLDER / "base" / name).read_text(encoding="utf-8"))


DEPLOYMENT, JOB = manifest("deployment.yaml"), manifest("migration.yaml")
POD = DEPLOYMENT["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
BOTH_PODS = pytest.mark.parametrize("pod", [POD["spec"], JOB["spec"]["template"]["spec"]], ids=["server", "migration"])


def gunicorn(setting: str) -> Any:
    """Return a literal of gunicorn.conf.py, which is not imported: it makes files."""
    tree = ast.parse((ROOT / "gunicorn.conf.py").read_text(encoding="utf-8"))
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == setting:
            return ast.literal_eval(statement.value)
    raise AssertionError(setting)


def env_files() -> Iterator[tuple[Path, dict[str, str]]]:
    for path in sorted(FOLDER.rglob("*.env")):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
        yield path, dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=lambda path: path.parent.name)
def test_what_a_kustomization_names_exists(path: Path) -> None:
    kustomization = yaml.safe_load(path.read_text(encoding="utf-8"))
    known = {
        "apiVersion", "kind", "labels", "resources", "configMapGenerator", "namespace", "images",
    }  # fmt: skip
    assert set(kustomization) <= known, "this test must check the new member too"
    named = [path.parent / name for name in kustomization["resources"]]
    named += [path.parent / name for one in kustomization.get("configMapGenerator", []) for name in one["envs"]]
    for target in named:
        assert (target / "kustomization.yaml" if target.is_dir() else target).is_file(), target
    # And no file is forgotten.
    present = {file for file in path.parent.iterdir() if file.is_file()} - {path}
    assert present == {target for target in named if target.is_file()}


def test_no_file_has_a_secret() -> None:
    for path in FOLDER.rglob("*.*"):
        assert "kind: Secret" not in path.read_text(encoding="utf-8")
    for _, settings in env_files():
        assert settings.keys().isdisjoint({"API_DATABASE_URL", "API_REDIS_URL"})


def test_settings_are_settings_of_the_api() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    known = set(re.findall(r"`([A-Z_]{4,})`", "\n".join(re.findall(r"^\| (.*?) \|", page, re.MULTILINE))))
    used = {name for _, settings in env_files() for name in settings}
    used |= {variable["name"] for variable in CONTAINER["env"]}
    assert used <= known
    # Without these, the API does not start or keeps its data in the pod.
    assert used >= {"API_ISSUERS", "API_AUDIENCE", "API_DATABASE_URL", "API_REDIS_URL", "WEB_CONCURRENCY"}


def test_a_pod_has_time_to_finish_its_requests() -> None:
    command = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "sleep"
    pre_stop_seconds = int(command[1])
    assert pre_stop_seconds >= 5
    # Some seconds remain to write the last lines of the log.
    assert POD["spec"]["terminationGracePeriodSeconds"] >= pre_stop_seconds + gunicorn("graceful_timeout") + 5


def test_probes_ask_routes_of_the_api(app: Flask) -> None:
    (port,) = CONTAINER["ports"]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"PORT={port['containerPort']} " in dockerfile
    assert re.findall(r"^EXPOSE (\d+)$", dockerfile, re.MULTILINE)[-1] == str(port["containerPort"])
    routes = {rule.rule for rule in app.url_map.iter_rules()}
    paths = {}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert CONTAINER[probe]["httpGet"]["port"] == port["name"]
        paths[probe] = CONTAINER[probe]["httpGet"]["path"]
    assert paths == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    assert set(paths.values()) <= routes
    (service_port,) = manifest("service.yaml")["spec"]["ports"]
    assert service_port["targetPort"] == port["name"]
    (rule,) = manifest("network-policy.yaml")["spec"]["ingress"]
    assert [one["port"] for one in rule["ports"]] == [port["name"]]


@BOTH_PODS
def test_a_pod_has_no_rights_that_it_does_not_need(pod: dict[str, Any]) -> None:
    uid = int(re.findall(r"^USER (\d+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)[-1])
    assert pod["securityContext"]["runAsUser"] == uid
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert "volumes" not in pod
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert "memory" in container["resources"]["limits"]


def test_the_memory_limit_fits_the_processes() -> None:
    (count,) = {settings["WEB_CONCURRENCY"] for _, settings in env_files() if "WEB_CONCURRENCY" in settings}
    limit = CONTAINER["resources"]["limits"]["memory"]
    assert limit.endswith("Mi")
    assert int(limit.removesuffix("Mi")) >= int(count) * MEBIBYTES_PER_PROCESS


def test_selectors_choose_the_server_and_not_the_migration() -> None:
    server, migration = POD["metadata"]["labels"], JOB["spec"]["template"]["metadata"]["labels"]
    assert server[NAME] == migration[NAME]
    assert server[COMPONENT] != migration[COMPONENT]
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"] == server
    assert manifest("service.yaml")["spec"]["selector"] == server
    assert manifest("pod-disruption-budget.yaml")["spec"]["selector"]["matchLabels"] == server
    for constraint in POD["spec"]["topologySpreadConstraints"]:
        assert constraint["labelSelector"]["matchLabels"] == server
    # The migration needs the database too.
    policy = manifest("network-policy.yaml")["spec"]["podSelector"]["matchLabels"]
    assert policy.items() <= server.items()
    assert policy.items() <= migration.items()


def test_an_update_and_the_autoscaler_keep_the_pods_that_serve() -> None:
    assert DEPLOYMENT["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert "replicas" not in DEPLOYMENT["spec"]
    scaler = manifest("horizontal-pod-autoscaler.yaml")["spec"]
    assert scaler["scaleTargetRef"]["name"] == DEPLOYMENT["metadata"]["name"]
    assert scaler["scaleTargetRef"]["kind"] == DEPLOYMENT["kind"]
    assert 2 <= scaler["minReplicas"] < scaler["maxReplicas"]


def test_the_job_runs_a_command_of_the_image() -> None:
    (container,) = JOB["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "api", "db", "upgrade"]
    assert container["image"] == CONTAINER["image"]
    assert container["envFrom"] == CONTAINER["envFrom"]


def test_the_service_monitor_finds_the_service(app: Flask) -> None:
    # Its schema is not among the validator's: the Prometheus Operator defines it.
    monitor = yaml.safe_load(SERVICE_MONITOR.read_text(encoding="utf-8"))
    assert (monitor["apiVersion"], monitor["kind"]) == ("monitoring.coreos.com/v1", "ServiceMonitor")
    assert set(monitor["spec"]) == {"selector", "endpoints"}
    service = manifest("service.yaml")
    name = yaml.safe_load((FOLDER / "base" / "kustomization.yaml").read_text(encoding="utf-8"))["labels"][0]["pairs"]
    assert monitor["spec"]["selector"]["matchLabels"] == service["metadata"]["labels"] | name
    (endpoint,) = monitor["spec"]["endpoints"]
    assert set(endpoint) == {"port", "path", "interval", "scrapeTimeout"}
    assert endpoint["port"] == service["spec"]["ports"][0]["name"]
    assert endpoint["path"] in {rule.rule for rule in app.url_map.iter_rules()}
