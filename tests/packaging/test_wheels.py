"""Each wheel installs beside a stranger's packages, runs, and goes without touching anything else."""

import re
import signal
import subprocess
import sys
import tarfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from shutil import copy, copytree, ignore_patterns
from zipfile import ZipFile

import pytest
import requests

from tests.kit.processes import ROOT, free_port, wait_until_ready
from tests.packaging.environment import Environment, make_environment, write_wheel

# The first test of a worker builds the wheels.
pytestmark = [pytest.mark.slow, pytest.mark.needs("make"), pytest.mark.timeout(240)]
PACKAGES = {"device-api": "api", "mock-issuer": "mock_issuer", "device-app": "device_app"}
PROGRAMS = {"device-api": "device-api", "mock-issuer": "mock-issuer", "device-app": "device"}
MAX_DISTRIBUTIONS_OF_THE_MOCK_ISSUER = 20
STRANGERS = Path(__file__).with_name("strangers")
# In a package's folder for its metadata, not for its modules.
ABOUT = {"LICENSE", "MANIFEST.in", "pyproject.toml", "setup.cfg"}


def wheel_of(name: str, wheels: Path) -> Path:
    (wheel,) = wheels.glob(f"{name.replace('-', '_')}-*.whl")
    return wheel


def info_of(wheel: Path, file: str) -> bytes:
    with ZipFile(wheel) as archive:
        (path,) = [name for name in archive.namelist() if re.fullmatch(rf"[^/]+\.dist-info/{file}", name)]
        return archive.read(path)


def metadata_of(wheel: Path) -> Message:
    return message_from_bytes(info_of(wheel, "METADATA"))


def stranger(wheels: Path, *packages: str) -> Path:
    """Return a wheel of somebody else, with packages of these names."""
    info = "strangers_service-1.0.dist-info"
    contents = {f"{package}/__init__.py": b'OWNER = "stranger"\n' for package in packages}
    contents[f"{info}/METADATA"] = b"Metadata-Version: 2.1\nName: strangers-service\nVersion: 1.0\n"
    contents[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    file = wheels / "strangers_service-1.0-py3-none-any.whl"
    write_wheel(file, contents)
    return file


# What is in them


@pytest.mark.parametrize("name", PACKAGES)
def test_a_wheel_has_its_package_and_nothing_else(clone: Path, name: str) -> None:
    package = PACKAGES[name]
    with ZipFile(wheel_of(name, clone / "dist")) as archive:
        packed = {file for file in archive.namelist() if ".dist-info/" not in file}
    share = {file for file in packed if re.match(r"[^/]+\.data/data/share/device-api/", file)}
    beside = {
        "gunicorn.conf.py",
        "openapi.yaml",
        *(f"adapters/{file.name}" for file in (ROOT / "adapters").glob("[a-z]*.py")),
    }
    assert {file.split("/share/device-api/")[1] for file in share} == (beside if package == "api" else set())
    packed -= share
    folder = clone / package
    files = {path.relative_to(clone).as_posix() for path in folder.rglob("*") if path.is_file()}
    files -= {f"{package}/{about}" for about in ABOUT}
    files = {file for file in files if ".egg-info/" not in file}
    pages = {file for file in files if file.endswith(".md")}
    assert packed - pages == files - pages
    assert f"{package}/py.typed" in packed


@pytest.mark.parametrize("name", PACKAGES)
def test_a_wheel_has_no_module_of_an_earlier_build(clone: Path, tmp_path: Path, name: str) -> None:
    package, project, wheels = PACKAGES[name], tmp_path / "project", tmp_path / "wheels"
    copytree(clone, project, ignore=ignore_patterns("dist", "tests"))
    removed = project / package / "removed.py"
    removed.touch()
    # As for `pip install .`: pip builds in the folder itself.
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-index",
    ]
    command += ["--no-build-isolation", "--no-cache-dir", "--wheel-dir", str(wheels)]
    for is_there in (True, False):
        ended = subprocess.run(
            [*command, str(project if package == "api" else project / package)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        with ZipFile(wheel_of(name, wheels)) as archive:
            assert (f"{package}/removed.py" in archive.namelist()) is is_there
        removed.unlink(missing_ok=True)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_wheel_says_what_it_is(clone: Path, name: str) -> None:
    wheel = wheel_of(name, clone / "dist")
    metadata = metadata_of(wheel)
    assert metadata["Name"] == name
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_payload(decode=True) == (ROOT / PACKAGES[name] / "README.md").read_bytes()
    assert info_of(wheel, "licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    others = PACKAGES.keys() - {name}
    assert not [line for line in metadata.get_all("Requires-Dist", []) if line.startswith(tuple(others))]
    assert {str(metadata_of(wheel_of(other, clone / "dist"))["Version"]) for other in PACKAGES} == {metadata["Version"]}


@pytest.mark.parametrize("name", PACKAGES)
def test_an_sdist_builds_in_its_own_folder_and_has_no_tests(clone: Path, name: str) -> None:
    (sdist,) = (clone / "dist").glob(f"{name.replace('-', '_')}-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = [member.partition("/")[2] for member in archive.getnames()]
        setup = archive.extractfile(f"{sdist.name.removesuffix('.tar.gz')}/setup.cfg")
        assert setup is not None
        assert b"[build]" not in setup.read()
    assert [file for file in names if file.startswith("tests")] == []
    assert {"LICENSE", "pyproject.toml"} <= {*names}


# Installed


@pytest.mark.parametrize("name", PACKAGES)
def test_it_installs_beside_other_packages_and_goes_without_a_trace(wheels: Path, tmp_path: Path, name: str) -> None:
    package, program = PACKAGES[name], PROGRAMS[name]
    foreign = sorted({"mock_issuer", "device_app", "api"} - {package})
    project = tmp_path / "project"
    (project / "api").mkdir(parents=True)
    (project / "api" / "__init__.py").write_text('OWNER = "project"\n')
    (project / "main.py").write_text('import api\nprint(api.OWNER, "api.app" in __import__("sys").modules)\n')

    environment = make_environment(tmp_path / "environment", wheels)
    environment.install(stranger(wheels, *foreign))
    before, strangers = environment.files(), environment.distributions()
    environment.install(wheel_of(name, wheels))
    after = environment.files()

    assert before.items() <= after.items()
    parts = rf"{package}/|{name.replace('-', '_')}-[^/]*\.dist-info/"
    own = {path for path in after if re.search(f"/site-packages/({parts})", path)}
    assert f"bin/{program}" in after
    assert environment.run("python", "main.py", cwd=project).split() == ["project", "False"]
    for other in foreign:
        printed = environment.run("python", "-c", f"import {other}; print({other}.OWNER)", cwd=tmp_path)
        assert printed == "stranger\n"
    version = metadata_of(wheel_of(name, wheels))["Version"]
    # The installed program is the one that runs, in a project that has its own `api`.
    assert environment.run(program, "--version", cwd=project) == f"{program}, version {version}\n"
    assert environment.run(program, "--help", cwd=project).lower().startswith("usage: ")

    environment.pip("uninstall", "--yes", name)
    shared = {path for path in after if path.startswith(f"share/{name}/")}
    assert after.keys() - environment.files().keys() == own | shared | {f"bin/{program}"}
    environment.pip("uninstall", "--yes", *environment.distributions() - strangers)
    assert environment.files() == before
    assert environment.run("python", "main.py", cwd=project).split() == ["project", "False"]


@pytest.fixture(scope="module")
def issuer_alone(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = make_environment(tmp_path_factory.mktemp("issuer") / "environment", wheels)
    environment.install(wheel_of("mock-issuer", wheels))
    return environment


def test_the_mock_issuer_brings_few_packages(issuer_alone: Environment) -> None:
    installed = issuer_alone.distributions()
    assert len(installed) <= MAX_DISTRIBUTIONS_OF_THE_MOCK_ISSUER, installed
    assert {"device-api", "device-app", "sqlalchemy"} & installed == set()


def test_the_installed_mock_issuer_serves(issuer_alone: Environment, tmp_path: Path) -> None:
    port = free_port()
    command = [str(issuer_alone.folder / "bin" / "mock-issuer"), "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, cwd=tmp_path, env=issuer_alone.variables(), text=True) as process:
        try:
            wait_until_ready(process, f"{url}/readyz")
            # Templates, styles, scripts and the document of the controls are files of the wheel.
            paths = ("activate", "static/pages.css", "playground", "playground/static/main.js", "_mock/openapi.yaml")
            assert [requests.get(f"{url}/{path}", timeout=10).status_code for path in paths] == [200] * len(paths)
            assert requests.post(f"{url}/_mock/token", json={}, timeout=10).json()["access_token"]
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


# A stranger's project with all three


@pytest.fixture(scope="module")
def service(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Environment, Path]:
    """Return an environment with all three wheels and pytest, and a stranger's project."""
    folder = tmp_path_factory.mktemp("service")
    environment = make_environment(folder / "environment", wheels)
    environment.install("pytest", *(wheel_of(name, wheels) for name in PACKAGES))
    project = folder / "project"
    project.mkdir()
    copy(STRANGERS / "service.py", project)
    copy(STRANGERS / "server.py", project)
    tests = (STRANGERS / "fixture.py").read_text(encoding="utf-8").replace("tests.packaging.strangers.", "")
    (project / "test_service.py").write_text(tests)
    return environment, project


def test_the_installed_api_serves(service: tuple[Environment, Path], tmp_path: Path) -> None:
    environment, _ = service
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = environment.variables() | {
        "API_ISSUERS": "https://issuer.example/",
        "API_AUDIENCE": "https://api.example",
        "API_DATABASE_URL": f"sqlite:///{tmp_path}/devices.db",
        "PORT": str(port),
        "WEB_CONCURRENCY": "1",
    }
    program = str(environment.folder / "bin" / "device-api")
    subprocess.run([program, "db", "upgrade"], cwd=tmp_path, env=variables, timeout=60, check=True)
    with subprocess.Popen([program, "serve"], cwd=tmp_path, env=variables, text=True) as process:
        try:
            wait_until_ready(process, f"{url}/livez")
            paths = ("docs", "docs/docs.css", "problems", "openapi.json")
            assert [requests.get(f"{url}/{path}", timeout=10).status_code for path in paths] == [200] * len(paths)
            assert requests.get(f"{url}/v1/me", timeout=10).status_code == 401
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


def test_a_strangers_code_is_clean_under_mypy_strict(service: tuple[Environment, Path]) -> None:
    environment, project = service
    # As MYPYPATH, this project would hide what the wheels lack.
    variables = {name: value for name, value in environment.variables().items() if name != "MYPYPATH"}
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary", "--cache-dir=cache"]
    command += ["--python-executable", str(environment.folder / "bin" / "python"), "."]
    ended = subprocess.run(
        command, cwd=project, env=variables, capture_output=True, text=True, timeout=200, check=False
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("", "", 0)


def test_a_strangers_tests_use_the_fixture(service: tuple[Environment, Path]) -> None:
    environment, project = service
    assert "1 passed" in environment.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=project)
    assert "http://127.0.0.1:" in environment.run("python", "server.py", cwd=project)
