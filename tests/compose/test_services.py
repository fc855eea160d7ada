"""compose.yaml, run by podman-compose: a device gets in, the restrictions hold, the data outlive the containers.

Debian's packages stand in for the images of nginx, PostgreSQL, Redis and Prometheus, in older versions than the images
have. Not shown: those images themselves, Grafana, `--build`, and what Docker does otherwise than podman.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.compose.project import API, ISSUER, PROMETHEUS, SERVICES, Project, container
from tests.kit.person import Person
from tests.kit.processes import BIN, ROOT, environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("buildah"),
    pytest.mark.needs("debootstrap"),
    pytest.mark.needs("podman"),
    pytest.mark.needs("podman_compose"),
    pytest.mark.needs("root"),
    pytest.mark.needs("runc"),
    # The first test builds the images and starts the services.
    pytest.mark.timeout(600),
]

USERS = {
    "postgresql": (70, 70),
    "redis": (999, 1000),
    "api": (10001, 10001),
    "nginx": (101, 101),
    "mock-issuer": (10001, 10001),
    "prometheus": (65534, 65534),
}
BYTES = {"m": 2**20, "g": 2**30}
SCRAPE_SECONDS = 60


class Device:
    """The device app, logged in once a person has approved it."""

    def __init__(self, folder: Path) -> None:
        self._variables = {"DEVICE_ISSUER": ISSUER, "DEVICE_API": API, "DEVICE_TOKEN_FILE": str(folder / "tokens.json")}

    @contextmanager
    def _started(self, *words: str) -> Iterator["subprocess.Popen[str]"]:
        with subprocess.Popen(
            [str(BIN / "device"), *words],
            env=environment(self._variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            yield process

    def run(self, *words: str) -> str:
        with self._started(*words) as process:
            output, _ = process.communicate(timeout=30)
        assert process.returncode == 0, output
        return output

    def log_in(self) -> None:
        scope = "openid offline_access read:devices write:devices"
        with self._started("login", "--no-browser", "--scope", scope) as process:
            assert process.stdout is not None
            shown = ""
            while (found := re.search(r"\b([B-Z]{4}-[B-Z]{4})\b", shown)) is None:
                line = process.stdout.readline()
                assert line, shown
                shown += line
            with Person(ISSUER) as person:
                person.approve(found[1])
            rest, _ = process.communicate(timeout=30)
        assert process.returncode == 0, rest


def status(url: str, token: str | None = None) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return requests.get(url, headers=headers, timeout=10).status_code


def test_nginx_passes_on_what_is_for_clients(project: Project) -> None:
    assert status(f"{API}/livez") == 200
    assert status(f"{API}/v1/devices") == 401
    assert status(f"{API}/v1/devices", "wrong") == 401
    for path in ("/metrics", "/readyz", "//metrics", "/%72eadyz"):
        assert status(f"{API}{path}") == 404, path
    inside = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/readyz', timeout=5).read().decode())"
    ready = json.loads(project.inside("api", "python", "-c", inside).stdout)
    assert set(ready["checks"].values()) == {"ok"}, ready


def test_the_data_outlive_the_containers(project: Project, tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.log_in()
    device.run("add", "Lamp", "--kind", "sensor", "--model", "H1")
    token = device.run("token").strip()
    assert status(f"{API}/v1/devices", token) == 200
    revoked = project.inside("api", "python", "-m", "api", "revoke", "--jti", "4f1c2a")
    assert revoked.returncode == 0, revoked.stderr

    project.compose("stop")
    ends = {name: project.inspected(name)["State"] for name in (*SERVICES, "migration")}
    statuses = {name: (end["Status"], end["ExitCode"], end["OOMKilled"]) for name, end in ends.items()}
    assert statuses == dict.fromkeys(ends, ("exited", 0, False))
    project.compose("down")
    assert project.podman("ps", "--all", "--quiet") == ""
    # No others, which nobody would remove.
    volumes = {f"device-api_{name}" for name in ("postgresql", "redis", "prometheus")}
    assert set(project.podman("volume", "ls", "--format", "{{.Name}}").split()) == volumes
    project.up()

    device.log_in()
    assert "Lamp" in device.run("devices")
    assert project.inside("redis", "redis-cli", "zcard", "device-api:revocations").stdout == "1\n"


def memory_limit(process: int) -> int:
    """Return what the control group of a process may use, in bytes; of version 1 or 2."""
    groups = dict(
        line.split(":", 2)[1:] for line in Path(f"/proc/{process}/cgroup").read_text(encoding="ascii").splitlines()
    )
    if "memory" in groups:
        path = Path(f"/sys/fs/cgroup/memory{groups['memory']}/memory.limit_in_bytes")
    else:
        path = Path(f"/sys/fs/cgroup{groups['']}/memory.max")
    return int(path.read_text(encoding="ascii"))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_rights(project: Project, name: str) -> None:
    process = project.inspected(name)["State"]["Pid"]
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    state = {key: value.split() for key, value in (line.split(":", 1) for line in lines)}
    assert (state["Uid"], state["Gid"]) == tuple([str(number)] * 4 for number in USERS[name])
    assert {state[key][0].strip("0") for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {""}
    assert (state["NoNewPrivs"], state["Seccomp"]) == (["1"], ["2"])
    limit = project.services[name]["mem_limit"]
    assert memory_limit(process) == int(limit[:-1]) * BYTES[limit[-1]]
    for path in ("/new", "/etc/new", "/usr/new"):
        tried = project.inside(name, "sh", "-c", f"echo > {path}")
        assert (tried.returncode, "Read-only file system" in tried.stderr) == (2, True), tried.stderr


def test_the_api_cannot_write_where_its_image_has_a_volume(project: Project) -> None:
    """podman-compose does not pass on that the folder is read-only, but it belongs to root."""
    tried = project.inside("api", "sh", "-c", "echo > /var/lib/device-api/new")
    assert tried.returncode == 2
    assert re.search("Read-only file system|Permission denied", tried.stderr), tried.stderr


def test_the_network_of_the_database_has_no_way_out(project: Project) -> None:
    for name in ("postgresql", "redis"):
        # An address of the documentation block: nobody has it.
        tried = project.inside(name, "bash", "-c", "echo > /dev/tcp/192.0.2.1/80")
        assert "Network is unreachable" in tried.stderr, tried.stderr
    for name, known in (("nginx", False), ("api", True)):
        for other in ("postgresql", "redis"):
            assert (project.inside(name, "getent", "hosts", other).returncode == 0) is known, (name, other)


def answer_of_prometheus(path: str) -> dict[str, Any]:
    return dict(requests.get(f"{PROMETHEUS}/api/v1/{path}", timeout=10).json()["data"])


def test_prometheus_has_the_rules_and_reaches_the_api(project: Project) -> None:
    groups = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text(encoding="utf-8"))["groups"]
    loaded = answer_of_prometheus("rules")["groups"]
    assert {group["name"]: len(group["rules"]) for group in loaded} == {
        group["name"]: len(group["rules"]) for group in groups
    }
    deadline = time.monotonic() + SCRAPE_SECONDS
    while True:
        targets = answer_of_prometheus("targets")["activeTargets"]
        if [target["health"] for target in targets] == ["up"]:
            break
        assert time.monotonic() < deadline, targets
        time.sleep(0.5)  # another process: the test cannot control its clock
    assert targets[0]["labels"]["job"] == "device-api"


def test_a_migration_that_has_run_changes_nothing(project: Project) -> None:
    before = project.inside("postgresql", "psql", "-U", "device_api", "-c", "SELECT * FROM alembic_version").stdout
    project.podman("start", "--attach", container("migration"))
    after = project.inside("postgresql", "psql", "-U", "device_api", "-c", "SELECT * FROM alembic_version").stdout
    assert "1 row" in before
    assert after == before
