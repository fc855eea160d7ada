"""compose.yaml: what each service may do, and that what it names exists. tests/compose starts the services."""

import re
from typing import Any

import pytest
import yaml

from tests.kit.processes import ROOT

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
# In compose, `$$` is a dollar sign, and `${NAME:?message}` a required variable.
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(:[-?])?([^}]*)\}")
each_service = pytest.mark.parametrize("name", SERVICES)


def texts(value: Any) -> list[str]:
    """Return all texts in a value, at any depth."""
    if isinstance(value, dict):
        return [text for member in value.values() for text in texts(member)]
    if isinstance(value, list):
        return [text for member in value for text in texts(member)]
    return [value] if isinstance(value, str) else []


def test_the_services_and_their_profiles() -> None:
    profiles = {name: service.get("profiles", []) for name, service in SERVICES.items()}
    assert profiles == {
        "nginx": [],
        "api": [],
        "migration": [],
        "postgresql": [],
        "redis": [],
        "mock-issuer": ["demo"],
        "prometheus": ["watch"],
        "grafana": ["watch"],
    }


@each_service
def test_a_service_is_not_root_writes_nowhere_and_has_limits(name: str) -> None:
    service = SERVICES[name]
    user, _, _ = service["user"].partition(":")
    assert int(user) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "ipc", "devices"} & set(service)
    assert {"mem_limit", "cpus", "pids_limit"} <= set(service)


@each_service
def test_a_service_has_a_health_check_or_ends(name: str) -> None:
    service = SERVICES[name]
    if service["restart"] == "no":
        assert service["healthcheck"] == {"disable": True}
        return
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD"
    assert {"interval", "timeout", "retries"} <= set(service["healthcheck"])


@each_service
def test_images_have_exact_versions_or_are_built_here(name: str) -> None:
    service = SERVICES[name]
    if "build" in service:
        assert service["build"]["context"] == "."
        target = service["build"].get("target")
        dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
        assert target is None or re.search(rf"^FROM .* AS {target}$", dockerfile, re.MULTILINE)
        return
    assert re.search(r":v?\d+\.\d+(\.\d+)?(-alpine)?$", service["image"])


@each_service
def test_ports_are_open_on_this_machine_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        address = "${PUBLISHED_ADDRESS:-127.0.0.1}:" if name == "nginx" else "127.0.0.1:"
        assert port.startswith(address), port


@each_service
def test_mounted_files_exist_and_cannot_be_changed(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        if isinstance(volume, dict):
            assert (volume["type"], volume["read_only"]) == ("tmpfs", True)
            continue
        source, mode = volume.split(":")[0], volume.rpartition(":")[2]
        if not source.startswith("./"):
            assert source in COMPOSE["volumes"]
            continue
        assert mode == "ro"
        # With the profile `watch`.
        if not source.startswith(("./deploy/prometheus", "./deploy/grafana")):
            assert (ROOT / source).exists(), source


@pytest.mark.parametrize("name", ["api", "migration"])
def test_no_container_gets_a_volume_that_nobody_named(name: str) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    targets = {volume["target"] for volume in SERVICES[name]["volumes"]}
    assert targets == set(re.findall(r"^VOLUME (\S+)$", dockerfile, re.MULTILINE))


def test_what_services_refer_to_is_defined() -> None:
    for service in SERVICES.values():
        for other, needed in service.get("depends_on", {}).items():
            condition = needed["condition"]
            ends = SERVICES[other]["restart"] == "no"
            assert condition == ("service_completed_successfully" if ends else "service_healthy")
            assert set(SERVICES[other].get("profiles", [])) <= set(service.get("profiles", []))
        assert set(service.get("networks", [])) <= set(COMPOSE["networks"])
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])


def test_the_database_and_redis_are_reached_by_the_api_alone() -> None:
    inner = {name for name, service in SERVICES.items() if "data" in service.get("networks", [])}
    assert COMPOSE["networks"]["data"] == {"internal": True}
    assert inner == {"api", "migration", "postgresql", "redis"}
    for name in ("postgresql", "redis", "migration"):
        assert SERVICES[name]["networks"] == ["data"]
        assert "ports" not in SERVICES[name]


def test_there_is_no_default_secret() -> None:
    for text in texts(SERVICES):
        for name, kind, default in VARIABLE.findall(text):
            if re.search("PASSWORD|SECRET|TOKEN|KEY", name):
                assert kind == ":?" or default == "", name
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name and not name.endswith("_FILE"):
                assert VARIABLE.fullmatch(value), name
    assert COMPOSE["secrets"] == {"postgresql_password": {"file": "./deploy/secrets/postgresql_password"}}
    assert (ROOT / "deploy" / "secrets" / ".gitignore").read_text(encoding="utf-8").splitlines()[1] == "*"


def test_redis_keeps_revocations() -> None:
    command = SERVICES["redis"]["command"]
    for option, value in (("--maxmemory-policy", "noeviction"), ("--appendonly", "yes")):
        assert command[command.index(option) + 1] == value


def mebibytes(limit: str) -> int:
    return int(limit[:-1]) * {"m": 1, "g": 1024}[limit[-1].lower()]


def test_redis_has_memory_to_rewrite_its_file() -> None:
    """Each page that changes meanwhile exists twice; at 256 MiB, the kernel killed Redis."""
    command = SERVICES["redis"]["command"]
    data = mebibytes(command[command.index("--maxmemory") + 1].removesuffix("b"))
    assert mebibytes(SERVICES["redis"]["mem_limit"]) >= 2.5 * data


def test_nginx_has_memory_for_slow_clients() -> None:
    """75 KiB for each connection of two processes, and the temporary files; at 384 MiB, the kernel killed processes."""
    text = (ROOT / "deploy" / "nginx.conf").read_text(encoding="utf-8")
    (connections,) = map(int, re.findall(r"worker_connections (\d+);", text))
    (files,) = re.findall(r"^/tmp:size=(\w+),", SERVICES["nginx"]["tmpfs"][0])
    assert mebibytes(SERVICES["nginx"]["mem_limit"]) >= 2 * connections * 75 / 1024 + mebibytes(files)


@each_service
def test_temporary_folders_have_options_that_podman_takes_too(name: str) -> None:
    for folder in SERVICES[name].get("tmpfs", []):
        assert re.fullmatch(r"/[a-z/]+:(size=\d+m,)?mode=1777", folder)


def test_browser_and_api_reach_the_demo_issuer_by_the_same_url() -> None:
    issuer = SERVICES["mock-issuer"]
    assert issuer["network_mode"] == "service:api"
    assert issuer["command"] == ["--issuer", "http://127.0.0.1:9000/"]
    assert "127.0.0.1:9000:9000" in SERVICES["api"]["ports"]


def test_the_server_has_time_to_stop() -> None:
    configuration = (ROOT / "gunicorn.conf.py").read_text(encoding="utf-8")
    graceful = int(re.findall(r"^graceful_timeout = (\d+)$", configuration, re.MULTILINE)[0])
    assert int(SERVICES["api"]["stop_grace_period"].removesuffix("s")) > graceful
    # Otherwise nginx would be gone while the API still answers its requests.
    assert int(SERVICES["nginx"]["stop_grace_period"].removesuffix("s")) > graceful
