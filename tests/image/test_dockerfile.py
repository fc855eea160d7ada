"""Each image contains what its program needs, and nothing else."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

import api.auth
import mock_issuer
from tests.kit.processes import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def stages() -> dict[str, list[str]]:
    """Return the instructions of each stage by its name, `` for the last one, which has none."""
    parts = re.split(r"^FROM \$\{PYTHON_IMAGE\}(?: AS (\S+))?$", DOCKERFILE.replace("\\\n", ""), flags=re.MULTILINE)[1:]
    return {name or "": text.splitlines() for name, text in zip(parts[::2], parts[1::2], strict=True)}


def installed(requirements: str, site: Path) -> None:
    """Link the distributions that a file pins into `site`; those for other platforms are left out."""
    site.mkdir()
    text = (ROOT / "requirements" / requirements).read_text(encoding="utf-8")
    for name in re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE):
        try:
            files = distribution(name).files or []
        except ModuleNotFoundError:
            continue
        for top in {file.parts[0] for file in files if file.parts[0] not in {"..", "__pycache__"}}:
            target = Path(str(distribution(name).locate_file(top)))
            if target.exists() and not (site / top).exists():
                (site / top).symlink_to(target)


def test_the_api_needs_no_more_than_is_pinned_for_it(tmp_path: Path) -> None:
    site, application = tmp_path / "site", tmp_path / "app"
    application.mkdir()
    installed("run.txt", site)
    # Copied, because the API finds openapi.yaml by the path of its module.
    shutil.copytree(ROOT / "api", application / "api", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "openapi.yaml", application)
    program = f"""
import sys
sys.path[:0] = [{str(application)!r}, {str(site)!r}]
import gunicorn.app.wsgiapp
from click.testing import CliRunner
import api.cli, api.operations.server.worker
from api.app import create_app
from api.auth import AuthConfig, TrustedIssuer
from api.database.engine import open_database
from api.database.schema import schema_is_current, upgrade
from api.settings import Settings
issuer = TrustedIssuer(identifier="https://issuer.example/", audiences=("a",))
url = "sqlite:///{tmp_path}/devices.db"
upgrade(url)
assert schema_is_current(open_database(url))
app = create_app(Settings(auth=AuthConfig(issuers=(issuer,)), database_url=url))
client = app.test_client()
paths = ("/v1/me", "/openapi.json", "/docs", "/docs/swagger-ui.css", "/problems")
assert CliRunner().invoke(api.cli.main, ["--version"]).exit_code == 0
print([client.get(path).status_code for path in paths])
"""
    # -I and -S: without this machine's packages and environment.
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.stdout.strip() == "[401, 200, 200, 200, 200]", ended.stderr


@pytest.mark.parametrize("command", ["--help", "--version", "check --help"])
def test_the_mock_issuer_needs_no_more_than_is_pinned_for_it(tmp_path: Path, command: str) -> None:
    site = tmp_path / "site"
    installed("mock-issuer.txt", site)
    shutil.copytree(ROOT / "mock_issuer", tmp_path / "mock_issuer", ignore=shutil.ignore_patterns("__pycache__"))
    program = f"""
import runpy, sys
sys.path[:0] = [{str(tmp_path)!r}, {str(site)!r}]
import mock_issuer.tls, trustme
with mock_issuer.Server() as server:
    assert server.token()
sys.argv = ["mock-issuer", *{command.split()!r}]
runpy.run_module("mock_issuer", run_name="__main__")
"""
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "mock-issuer" in ended.stdout


@pytest.mark.parametrize("requirements", ["run.txt", "run-tracing.txt", "mock-issuer.txt"])
def test_an_image_has_the_versions_that_the_tests_have(requirements: str) -> None:
    def pins(name: str) -> set[str]:
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        return set(re.findall(r"^([a-z0-9-]+==\S+)", text, re.MULTILINE))

    assert pins(requirements) <= pins("dev.txt")


def test_what_is_copied_is_one_program() -> None:
    copied = {
        name: [line for line in lines if re.match("(COPY|ADD) (?!--from)", line)] for name, lines in stages().items()
    }
    assert copied == {
        "build": ["COPY requirements/${REQUIREMENTS} /tmp/run.txt"],
        "mock-issuer-build": ["COPY requirements/mock-issuer.txt /tmp/mock-issuer.txt"],
        "mock-issuer": ["COPY mock_issuer mock_issuer"],
        "": ["COPY gunicorn.conf.py openapi.yaml ./", "COPY api api"],
    }
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in kept if line.startswith("!")} == {
        "api",
        "gunicorn.conf.py",
        "mock_issuer",
        "openapi.yaml",
        "requirements/mock-issuer.txt",
        "requirements/run.txt",
    }


def test_the_image_of_the_api_takes_nothing_of_the_mock_issuer() -> None:
    assert list(stages())[-1] == ""  # what `docker build` without a target makes
    taken = {name: [line for line in lines if "--from" in line] for name, lines in stages().items()}
    assert taken[""] == ["COPY --from=build /opt/api /opt/api"]
    assert taken["mock-issuer"] == ["COPY --from=mock-issuer-build /opt/mock-issuer /opt/mock-issuer"]


@pytest.mark.parametrize("stage", ["mock-issuer", ""])
def test_it_does_not_run_as_root(stage: str) -> None:
    assert "USER 10001" in stages()[stage]
    assert not any("gcc" in line or "build-essential" in line for line in stages()[stage])


@pytest.mark.parametrize(
    ("stage", "title", "version"),
    [("", "device-api", api.auth.__version__), ("mock-issuer", "mock-issuer", mock_issuer.__version__)],
)
def test_its_labels_say_what_it_is(stage: str, title: str, version: str) -> None:
    (label,) = [line for line in stages()[stage] if line.startswith("LABEL ")]
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]+)"', label))
    assert labels.pop("description")
    assert labels == {"title": title, "version": version, "licenses": "MIT"}


def test_all_stages_begin_with_one_base_image() -> None:
    assert len(re.findall(r"^FROM \$\{PYTHON_IMAGE\}", DOCKERFILE, re.MULTILINE)) == len(stages())
    assert DOCKERFILE.count("FROM ") == len(stages())
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.\d+-slim-\w+(@sha256:[0-9a-f]{64})?$", DOCKERFILE, re.MULTILINE)


def test_every_requirement_is_pinned_with_hashes() -> None:
    for name in ("run.txt", "mock-issuer.txt", "dev.txt"):
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        entries = re.findall(r"^[a-z0-9].*$", text, re.MULTILINE)
        assert len(entries) > 10
        assert all("==" in entry and entry.endswith("\\") for entry in entries)
        assert "://" not in text
