"""Run a copy of compose.yaml with podman-compose, without a container engine's daemon."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.kit.processes import ROOT, environment

ISSUER = "http://127.0.0.1:9000/"
API = "http://127.0.0.1:8080"
PROMETHEUS = "http://127.0.0.1:9090"
# Grafana's image cannot be had without a registry.
SERVICES = ("postgresql", "redis", "api", "nginx", "mock-issuer", "prometheus")
# Those that need one are started first.
LAST_SERVICES = ("nginx", "mock-issuer", "prometheus")
_HERE = Path(__file__).parent
# podman asks for more than it may have. More than the largest `pids_limit`, because all processes of a user count.
_PROCESSES = 4096
# It takes 20 s here; a busy machine needs more.
_UP_SECONDS = 180
_SECONDS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """A folder with compose.yaml and what it mounts, and the variables with which podman finds its storage."""

    folder: Path
    variables: dict[str, str]

    @property
    def services(self) -> dict[str, dict[str, Any]]:
        text = (self.folder / "compose.yaml").read_text(encoding="utf-8")
        services: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
        return services

    def up(self) -> None:
        """Start all services in the order of `depends_on`, and wait until each is healthy."""
        self.compose("up", "--detach", "--wait", "--no-build", *LAST_SERVICES, seconds=_UP_SECONDS)

    def compose(self, *words: str, seconds: float = _SECONDS) -> str:
        """Run podman-compose; return what it prints."""
        program = [sys.executable, "-m", "podman_compose", "--podman-path", str(_HERE / "podman")]
        return self.run(*program, "--profile", "demo", "--profile", "watch", *words, seconds=seconds)

    def podman(self, *words: str) -> str:
        """Run podman; return what it prints."""
        return self.run("podman", *words, seconds=_SECONDS)

    def inside(self, service: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the container of a service, as its user."""
        return subprocess.run(
            ["podman", "exec", container(service), *command],
            env=environment(self.variables),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )

    def inspected(self, service: str) -> dict[str, Any]:
        """Return what `podman inspect` says of the container of a service."""
        (found,) = json.loads(self.podman("inspect", container(service)))
        return dict(found)

    def logs(self) -> str:
        """Return the last lines of each container."""
        names = self.podman("ps", "--all", "--format", "{{.Names}}").split()
        return "\n".join(f"== {name}\n{self.run('podman', 'logs', '--tail', '20', name)}" for name in names)

    def run(self, *command: str, seconds: float = _SECONDS) -> str:
        """Run a program in the project's folder; return what it prints."""
        # podman writes warnings about systemd to standard error.
        result = subprocess.run(
            command,
            cwd=self.folder,
            env=environment(self.variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            umask=0o022,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout + (result.stderr if "logs" in command else "")


def container(service: str) -> str:
    """Return the name of the container of a service."""
    return f"device-api_{service}_1"


@contextmanager
def running_project(images: Path, folder: Path) -> Iterator[Project]:
    """Run all services but Grafana on the ports of compose.yaml; `images` is the folder of tests/image/build.

    The files are copies in `folder`, the secret is made by the command that compose.yaml names.
    """
    subprocess.run([_HERE / "build", images], check=True)
    shutil.copy(ROOT / "compose.yaml", folder)
    shutil.copytree(ROOT / "deploy", folder / "deploy", ignore=lambda path, names: names if "secrets" in path else ())
    project = Project(folder=folder, variables=_variables(images, folder))
    text = (folder / "compose.yaml").read_text(encoding="utf-8")
    (make_secret,) = re.findall(r"^#   (printf .*?) +# once", text, re.MULTILINE)
    project.run("sh", "-c", make_secret)
    # As docs/operation.md says: only root gets to the file, the containers get the file itself.
    (folder / "deploy" / "secrets").chmod(0o700)
    try:
        project.up()
        yield project
    except BaseException as exc:
        exc.add_note(project.logs())
        raise
    finally:
        project.compose("down", "--volumes", "--timeout", "5")


def _variables(images: Path, folder: Path) -> dict[str, str]:
    """Return the environment of podman and podman-compose: all that podman keeps is in these two folders."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limits = [f"nofile={files}:{files}", f"nproc={_PROCESSES}:{_PROCESSES}"]
    (folder / "containers.conf").write_text(
        f"[containers]\ndefault_ulimits = {json.dumps(limits)}\n"
        # Neither systemd nor its journal is needed.
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        f'tmp_dir = "{images}/podman"\n[network]\nnetwork_config_dir = "{images}/networks"\n',
        encoding="utf-8",
    )
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{images}/storage"\nrunroot = "{images}/run"\n', encoding="utf-8"
    )
    return {
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "API_ISSUERS": ISSUER,
        "PATH": os.environ["PATH"],
    }
