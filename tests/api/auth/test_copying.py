"""The folder is made to be copied: under another name, into an empty directory, with nothing but what it names."""

import ast
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from shutil import copy, copytree, ignore_patterns, rmtree

import pytest
import requests
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import api.auth
from mock_issuer import Server
from tests.kit.headers import header_of

ROOT = Path(__file__).parents[3]
# With the option --auth-copy, this is that copy.
FOLDER = Path(api.auth.__file__).parent
AUDIENCE = "https://device-api.example"
# DESIGN §2: what the folder to copy may import, beside the standard library.
NEEDS = ("flask", "pyjwt", "cryptography", "cachetools")
APP = """\
from flask import Flask
from shield import Auth, AuthConfig, TokenVerifier, TrustedIssuer, current_token, open_to_all, require_auth


def create_app(issuer: str, audience: str) -> Flask:
    app = Flask(__name__)
    trusted = TrustedIssuer(identifier=issuer, audiences=(audience,))
    Auth(TokenVerifier(AuthConfig(issuers=(trusted,)))).init_app(app)

    @app.get("/devices")
    @require_auth("read:devices")
    def devices() -> dict[str, str | None]:
        return {"client": current_token.client_id}

    @app.post("/devices")
    @require_auth("write:devices")
    def add_device() -> str:
        return "added"

    @app.get("/health")
    @open_to_all
    def health() -> str:
        return "ok"

    @app.get("/forgotten")
    def forgotten() -> str:
        return "open by accident"

    return app
"""
SERVE = """\
import sys
sys.path[:0] = sys.argv[1:3]
from werkzeug.serving import make_server
from app import create_app
server = make_server("127.0.0.1", 0, create_app(*sys.argv[3:5]), threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
"""
IMPORT = """\
import sys
sys.path[:0] = sys.argv[2:]
__import__(sys.argv[1])
"""


def needed(name: str) -> Iterator[Distribution]:
    """Yield a distribution and all that it depends on here."""
    pending, seen = [name], set()
    while pending:
        found = distribution(pending.pop())
        if canonicalize_name(found.name) in seen:
            continue
        seen.add(canonicalize_name(found.name))
        yield found
        wanted = map(Requirement, found.requires or ())
        pending += [need.name for need in wanted if need.marker is None or need.marker.evaluate({"extra": ""})]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with what the folder needs to run, and nothing else that is installed here."""
    site = tmp_path_factory.mktemp("site")
    for found in (found for name in NEEDS for found in needed(name)):
        tops = {file.parts[0] for file in found.files or () if file.parts[0] not in {"..", "__pycache__"}}
        for top in tops:
            link = site / top
            if not link.is_symlink():
                link.symlink_to(str(found.locate_file(top)))
    return site


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return somebody else's service: an empty directory, a copy of the folder under a name of their own, an app."""
    service = tmp_path_factory.mktemp("service")
    copytree(FOLDER, service / "shield", ignore=ignore_patterns("__pycache__"))
    (service / "app.py").write_text(APP)
    return service


def fresh(program: str, *arguments: str | Path) -> list[str]:
    """Return the command of an interpreter that knows no directory but those that the program adds."""
    return [sys.executable, "-I", "-S", "-B", "-W", "error", "-c", program, *map(str, arguments)]


@pytest.mark.parametrize(("module", "is_there"), [("shield", True), ("authlib", False), ("api", False)])
def test_it_imports_with_what_it_names_and_no_more(site: Path, service: Path, module: str, *, is_there: bool) -> None:
    command = fresh(IMPORT, module, service, site)
    imported = subprocess.run(command, capture_output=True, text=True, check=False, cwd=service)
    assert (imported.returncode == 0) is is_there, imported.stderr


def test_it_imports_relatively_or_what_it_names() -> None:
    # Relatively, so that the files of a copy under another name stay the same as these.
    # Werkzeug is Flask's other half, and comes with it.
    allowed = {"flask", "werkzeug", "jwt", "cryptography", "cachetools", *sys.stdlib_module_names}
    for module in FOLDER.glob("**/*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            match node:
                case ast.Import():
                    names = [alias.name for alias in node.names]
                case ast.ImportFrom(level=0, module=str(name)):
                    names = [name]
                case _:
                    continue
            assert {name.partition(".")[0] for name in names} <= allowed, module


@pytest.fixture
def issuer() -> Iterator[Server]:
    with Server() as issuer:
        yield issuer


@pytest.fixture
def url(site: Path, service: Path, issuer: Server) -> Iterator[str]:
    command = fresh(SERVE, service, site, issuer.config.issuer, AUDIENCE)
    with (
        (service / "log").open("w+") as log,
        subprocess.Popen(command, cwd=service, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            log.seek(0)
            assert port, log.read()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def gateway_token(issuer: Server, scope: str) -> str:
    """Return a token that a machine got for itself (RFC 6749 §4.4)."""
    form = {"grant_type": "client_credentials", "audience": AUDIENCE, "scope": scope}
    client = ("device-gateway", "public-test-secret")
    answer = requests.post(f"{issuer.url}oauth/token", data=form, auth=client, timeout=10)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def test_the_copy_protects_an_app_before_a_live_issuer(url: str, issuer: Server, service: Path) -> None:
    token = gateway_token(issuer, "read:devices")
    with requests.Session() as client:
        nothing = client.get(f"{url}/devices", timeout=10)
        good = client.get(f"{url}/devices", headers={"Authorization": f"Bearer {token}"}, timeout=10)
        again = client.get(f"{url}/devices", headers={"Authorization": f"Bearer {token}"}, timeout=10)
        missing = client.post(f"{url}/devices", headers={"Authorization": f"Bearer {token}"}, timeout=10)
        broken = client.get(f"{url}/devices", headers={"Authorization": f"Bearer {token[:-2]}"}, timeout=10)
        malformed = client.get(f"{url}/devices", headers={"Authorization": f"Bearer {token} x"}, timeout=10)
        health = client.get(f"{url}/health", timeout=10)
        forgotten = client.get(f"{url}/forgotten", timeout=10)
    answers = (nothing, good, again, missing, broken, malformed, health, forgotten)
    assert [answer.status_code for answer in answers] == [401, 200, 200, 403, 401, 400, 200, 500]
    # Without any logging set up, the log says what is wrong, under the copy's name for the package.
    assert "GET forgotten does not declare who may call it" in (service / "log").read_text()
    assert good.json() == again.json() == {"client": "device-gateway"}
    assert "error=" not in header_of(nothing, "WWW-Authenticate")
    assert 'error="insufficient_scope"' in header_of(missing, "WWW-Authenticate")
    assert 'scope="write:devices"' in header_of(missing, "WWW-Authenticate")
    assert 'error="invalid_token"' in header_of(broken, "WWW-Authenticate")


# The tests that travel: --auth-copy


def run_tests_against(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run tests of this folder against a copy, without workers and in their order."""
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:randomly", *arguments, f"--auth-copy={copy}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def shield(tmp_path: Path) -> Path:
    """Return a copy that a test may change."""
    return copytree(FOLDER, tmp_path / "shield", ignore=ignore_patterns("__pycache__"))


@pytest.mark.slow
@pytest.mark.this_project
@pytest.mark.parametrize(
    "tests",
    [
        ["tests/api/auth/test_claims.py"],
        # Before an API of its own process, which imports the copy too.
        ["tests/api/auth/test_rejections.py", "-k", "ago or what_a_good_token_says"],
    ],
)
def test_the_tests_pass_against_a_copy_and_fail_if_a_check_is_removed(shield: Path, tests: list[str]) -> None:
    ended = run_tests_against(shield, *tests)
    assert ended.returncode == 0, ended.stdout
    assert f"These tests ran against {shield}, version {api.auth.__version__}." in ended.stdout
    with (shield / "claims.py").open("a") as claims:
        claims.write("AccessToken.check_times = lambda *_arguments: None\n")
    ended = run_tests_against(shield, *tests)
    assert ended.returncode == 1, ended.stdout
    assert "AssertionError" in ended.stdout


@pytest.mark.slow
@pytest.mark.this_project
def test_the_tests_pass_against_a_copy_without_the_parts_that_may_be_left_out(shield: Path) -> None:
    for part in ("dpop", "introspection"):
        rmtree(shield / part)
    (shield / "mtls.py").unlink()
    files = [f"tests/api/auth/test_{name}.py" for name in ("claims", "errors", "requirement")]
    ended = run_tests_against(
        shield, "-k", "not test_declarations and not test_extension", "tests/api/auth/flask", *files
    )
    assert ended.returncode == 0, ended.stdout
    for part in ("dpop", "flask/test_dpop.py", "introspection", "test_mtls.py", "test_rejections.py"):
        assert f"Left out, because the copy lacks what they need: tests/api/auth/{part}\n" in ended.stdout


@pytest.mark.slow
@pytest.mark.this_project
@pytest.mark.parametrize("workers", ["0", "1"])
def test_tests_that_need_this_project_are_left_out_and_named(shield: Path, workers: str) -> None:
    tests = ("tests/api/auth/flask/test_metadata.py", "tests/api/auth/test_hostile_requests.py")
    ended = run_tests_against(shield, *tests, "-n", workers)
    assert ended.returncode == 0, ended.stdout
    reason = "Left out, because they need this project's API or files"
    for test in tests:
        assert re.search(rf"^{reason}: [1-9]\d* in {test}$", ended.stdout, re.MULTILINE), ended.stdout


@pytest.mark.slow
@pytest.mark.this_project
@pytest.mark.parametrize(
    ("test", "copy", "message"),
    [
        ("tests/api/auth/test_claims.py", "tests", "tests is not a copy of api/auth, it has no __init__.py"),
        ("tests/api", "api/auth", "--auth-copy is for the tests in tests/api/auth"),
    ],
)
def test_the_option_refuses_what_it_cannot_do(test: str, copy: str, message: str) -> None:
    ended = run_tests_against(Path(copy), "tests/api/auth/test_claims.py", test)
    assert ended.returncode == pytest.ExitCode.USAGE_ERROR
    assert message in ended.stderr


# The installed package


@pytest.mark.slow
@pytest.mark.this_project
def test_the_commands_work_from_a_wheel(tmp_path: Path) -> None:
    source, wheels, venv, service = (tmp_path / name for name in ("source", "wheels", "venv", "service"))
    for name in ("adapters", "api"):
        copytree(ROOT / name, source / name, ignore=ignore_patterns("__pycache__"))
    for name in ("LICENSE", "gunicorn.conf.py", "openapi.yaml", "pyproject.toml", "setup.cfg"):
        copy(ROOT / name, source)
    service.mkdir()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    offline = ["--no-deps", "--no-index"]
    build = [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(wheels), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (wheel,) = wheels.iterdir()
    python = venv / "bin" / "python"
    install = [*pip, "--python", str(python), "install", *offline, str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    # What the command depends on, from here; the wheel's own packages come first.
    (site,) = venv.glob("lib/python3*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))

    def device_api(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(venv / "bin" / "device-api"), *arguments]
        return subprocess.run(command, cwd=service, capture_output=True, text=True, check=False)

    ended = device_api("auth", "copy", "shield")
    assert (ended.returncode, ended.stderr) == (0, "")
    copied = {path.relative_to(service / "shield") for path in (service / "shield").rglob("*") if path.is_file()}
    ours = {
        path.relative_to(FOLDER)
        for path in FOLDER.rglob("*")
        if path.suffix in {".md", ".py"} or path.name == "LICENSE"
    }
    assert copied == {*ours, Path("copied_from.json")}
    assert {Path("README.md"), Path("CHANGELOG.md")} < ours
    ended = device_api("auth", "diff", "shield")
    assert (ended.returncode, ended.stdout) == (0, f"shield is the same as version {api.auth.__version__}.\n")
    (service / "shield" / "claims.py").write_text("")
    assert device_api("auth", "diff", "shield").returncode == 1
