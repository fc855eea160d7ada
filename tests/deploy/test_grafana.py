"""The dashboard: its form, its metrics, and its queries, run by a Prometheus that scrapes a real API."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import yaml

from tests.kit.key_server import KeyServer
from tests.kit.processes import ROOT, free_port, running_api
from tests.kit.running_api import KEY
from tests.kit.signing import claims, jwks

FOLDER = ROOT / "deploy" / "grafana"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "device-api.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
ROWS = ["Traffic and errors", "Latency", "Tokens and keys", "Database and Redis", "Saturation and processes"]

# Metrics that a healthy API without Redis does not export: their queries may return nothing.
ABSENT_WHEN_HEALTHY = {
    "api_rejected_requests_total": "no malformed request came",
    "api_stale_keys_used_total": "no issuer is down",
    "api_introspections_total": "no issuer is asked about tokens",
    "api_key_set_faults_total": "no key set has a fault",
    "api_redis_up": "there is no Redis",
    "api_redis_missed_total": "there is no Redis",
    "api_worker_deaths_total": "no worker died",
}


def metrics_of(query: str) -> set[str]:
    names = set(re.findall(r"\b(?:api|process)_[a-z_]+\b", re.sub(r'"[^"]*"', "", query)))
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in names}


def listed_metrics() -> set[str]:
    operation = (ROOT / "docs" / "operation.md").read_text(encoding="utf-8")
    return set(re.findall(r"`((?:api|process)_[a-z_]+)(?:\{[^`]*\})?`", operation))


def test_the_dashboard_has_the_form_that_grafana_reads() -> None:
    assert DASHBOARD["uid"] == "device-api"
    assert DASHBOARD["schemaVersion"] >= 39
    assert [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"] == ROWS
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    variables = {variable["name"]: variable["type"] for variable in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource": "datasource", "instance": "query"}
    for panel in PANELS:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["title"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(refs) == len(set(refs))
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"]
            assert target["legendFormat"]


def test_panels_fill_the_grid_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        cells = {
            (column, line)
            for column in range(grid["x"], grid["x"] + grid["w"])
            for line in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_each_metric_of_the_dashboard_exists() -> None:
    assert {name for query in QUERIES for name in metrics_of(query)} - listed_metrics() == set()


def test_each_metric_is_on_the_dashboard() -> None:
    assert listed_metrics() - {name for query in QUERIES for name in metrics_of(query)} == set()


def test_grafana_finds_the_data_source_and_the_dashboard() -> None:
    provisioning = FOLDER / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "device-api.yaml").read_text())["providers"]
    assert provider["type"] == "file"


class Prometheus:
    """A Prometheus of the test that scrapes one API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[Any]:
        """Return the result of a query now; it must be valid."""
        deadline = time.monotonic() + 20
        while True:
            response = requests.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=10)
            # It listens before it has read its storage.
            if response.status_code != 503 or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        assert response.status_code == 200, f"{expression}: {response.text}"
        result: list[Any] = response.json()["data"]["result"]
        return result


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Run an API with traffic, and a Prometheus with our rules that has scraped it several times."""
    directory, port = tmp_path_factory.mktemp("prometheus"), free_port()
    with KeyServer() as key_server:
        key_server.publish(jwks(KEY))
        with running_api(key_server.issuer, directory) as api:
            configuration = {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(ROOT / "deploy" / "prometheus" / "rules.yml")],
                "scrape_configs": [
                    {"job_name": "device-api", "static_configs": [{"targets": [api.removeprefix("http://")]}]}
                ],
            }
            file = directory / "prometheus.yml"
            file.write_text(json.dumps(configuration), encoding="utf-8")
            command = ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={directory / 'data'}"]
            command.append(f"--web.listen-address=127.0.0.1:{port}")
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                try:
                    server = Prometheus(f"http://127.0.0.1:{port}")
                    send_traffic_until_scraped(server, api, key_server.issuer)
                    yield server
                finally:
                    process.terminate()


def send_traffic_until_scraped(server: Prometheus, api: str, issuer: str) -> None:
    headers = {"Authorization": f"Bearer {KEY.sign(claims(iss=issuer))}"}
    deadline = time.monotonic() + 90
    with requests.Session() as session:
        while True:
            for path, sent in (("/v1/devices", headers), ("/v1/me", headers), ("/v1/me", {}), ("/v1/none", {})):
                session.get(f"{api}{path}", headers=sent, timeout=10)
            try:
                if server.query('count_over_time(up{job="device-api"}[1m]) > 8'):
                    return
            except requests.ConnectionError:
                pass
            assert time.monotonic() < deadline
            time.sleep(0.2)  # another process: the test cannot control its clock


@pytest.mark.slow
@pytest.mark.needs("prometheus")
@pytest.mark.timeout(150)
def test_the_queries_of_the_dashboard_return_data(prometheus: Prometheus) -> None:
    empty = set()
    for query in QUERIES:
        expression = query.replace("$__rate_interval", "1m").replace("$instance", ".*")
        if not prometheus.query(expression) and not metrics_of(query) & set(ABSENT_WHEN_HEALTHY):
            empty.add(query)
    assert empty == set()


@pytest.mark.slow
@pytest.mark.needs("prometheus")
@pytest.mark.timeout(150)
def test_a_healthy_api_raises_no_alert_and_the_rules_are_evaluated(prometheus: Prometheus) -> None:
    groups = requests.get(f"{prometheus.url}/api/v1/rules", timeout=10).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 30
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] == "err"} == {}
    assert prometheus.query('ALERTS{alertstate="firing"}') == []
    for share in ("error", "slow"):
        assert prometheus.query(f"device_api:{share}_share:5m")
