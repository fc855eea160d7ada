"""The image contains what the API needs, and nothing else."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

from tests.kit.processes import ROOT

PINNED = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / "run.txt").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_api_needs_no_more_than_is_pinned_for_it(tmp_path: Path) -> None:
    site, application = tmp_path / "site", tmp_path / "app"
    site.mkdir()
    application.mkdir()
    # Only the distributions that the image installs; some pins are for other platforms.
    for name in PINNED:
        try:
            files = distribution(name).files or []
        except ModuleNotFoundError:
            continue
        for top in {file.parts[0] for file in files if file.parts[0] not in {"..", "__pycache__"}}:
            target = Path(str(distribution(name).locate_file(top)))
            if target.exists() and not (site / top).exists():
                (site / top).symlink_to(target)
    # Copied, because the API finds openapi.yaml by the path of its module.
    shutil.copytree(ROOT / "api", application / "api", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "openapi.yaml", application)
    program = f"""
import sys
sys.path[:0] = [{str(application)!r}, {str(site)!r}]
import gunicorn.app.wsgiapp
import api.cli, api.operations.worker
from api.app import create_app
from api.auth import AuthConfig, TrustedIssuer
from api.database.engine import open_engine
from api.database.schema import schema_is_current, upgrade
from api.settings import Settings
issuer = TrustedIssuer(identifier="https://issuer.example/", audiences=("a",))
url = "sqlite:///{tmp_path}/devices.db"
upgrade(url)
assert schema_is_current(open_engine(url))
app = create_app(Settings(auth=AuthConfig(issuers=(issuer,)), database_url=url))
client = app.test_client()
paths = ("/v1/me", "/openapi.json", "/docs", "/docs/swagger-ui.css", "/problems")
print([client.get(path).status_code for path in paths])
"""
    # -I and -S: without this machine's packages and environment.
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.stdout.strip() == "[401, 200, 200, 200, 200]", ended.stderr


def test_what_is_copied_is_the_api_alone() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert copied == ["requirements/run.txt", "gunicorn.conf.py openapi.yaml", "api"]
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in kept if line.startswith("!")} == {
        "api",
        "gunicorn.conf.py",
        "openapi.yaml",
        "requirements/run.txt",
    }


def test_it_does_not_run_as_root() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    final = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM ")) :]
    assert "USER 10001" in final
    assert not any("gcc" in line or "build-essential" in line for line in final)


def test_every_requirement_is_pinned_with_hashes() -> None:
    for name in ("run.txt", "dev.txt"):
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        entries = re.findall(r"^[a-z0-9].*$", text, re.MULTILINE)
        assert len(entries) > 20
        assert all("==" in entry and entry.endswith("\\") for entry in entries)
        assert "http" not in text
