"""mock_issuer/README.md names the client libraries with the versions that the tests use."""

import json
import re
from pathlib import Path

import pytest

from tests.kit.processes import ROOT

CLIENTS = ROOT / "tests" / "integration" / "clients"


def documented(registry: str) -> dict[str, str]:
    readme = (ROOT / "mock_issuer" / "README.md").read_text(encoding="utf-8")
    section = readme.partition("\n## Client libraries\n")[2]
    rows = re.findall(rf"^\| (`.*) \({registry}\b.*?\) \| ([\d., ]+) \|", section, re.MULTILINE)
    found: dict[str, str] = {}
    for names, versions in rows:
        found |= dict(zip(re.findall("`(.+?)`", names), versions.split(", "), strict=True))
    return found


def test_the_readme_has_every_npm_package_in_its_locked_version() -> None:
    package = json.loads((CLIENTS / "package.json").read_text(encoding="utf-8"))
    lock = json.loads((CLIENTS / "package-lock.json").read_text(encoding="utf-8"))
    locked = {name: lock["packages"][f"node_modules/{name}"]["version"] for name in package["dependencies"]}
    assert documented("npm") == package["dependencies"] == locked


def test_the_readme_has_every_python_client_in_its_pinned_version() -> None:
    pinned = dict(
        re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8"), re.MULTILINE)
    )
    clients = {"auth0-python", "authlib", "msal", "oauthlib", "requests-oauth2client", "requests-oauthlib"}
    assert documented("PyPI") == {name: pinned[name] for name in clients}


def test_every_npm_package_has_its_script() -> None:
    package = json.loads((CLIENTS / "package.json").read_text(encoding="utf-8"))
    imports = {
        name
        for file in CLIENTS.glob("*.mjs")
        for name in re.findall(r'^import .* from "(?!node:)(.+)";$', file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert imports == set(package["dependencies"])


@pytest.mark.parametrize("folder", [CLIENTS, ROOT / "tests" / "browser" / "axe"], ids=["clients", "axe"])
def test_the_lock_file_has_hashes_and_no_addresses(folder: Path) -> None:
    lock = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert {name for name, package in packages.items() if "integrity" not in package} == set()
    assert {name for name, package in packages.items() if "resolved" in package} == set()
