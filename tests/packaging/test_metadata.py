"""What the metadata of the three distributions says, without building them."""

import tomllib
from typing import Any

import pytest

import tests.conftest
from tests.kit.processes import ROOT

FOLDERS = {"api": ".", "mock_issuer": "mock_issuer", "device_app": "device_app"}


def metadata(package: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / FOLDERS[package] / "pyproject.toml").read_text(encoding="utf-8"))


def test_each_package_has_a_distribution_of_its_own() -> None:
    names = {FOLDERS[package]: metadata(package)["project"]["name"] for package in FOLDERS}
    assert {name: folder for folder, name in names.items()} == tests.conftest.DISTRIBUTIONS


@pytest.mark.parametrize("package", ["mock_issuer", "device_app"])
def test_every_folder_with_modules_is_listed(package: str) -> None:
    folders = {path.parent for path in (ROOT / package).rglob("__init__.py")}
    found = {folder.relative_to(ROOT).as_posix().replace("/", ".") for folder in folders}
    assert set(metadata(package)["tool"]["setuptools"]["packages"]) == found


# What is installed or copied alone: the license wants its text in each copy.
@pytest.mark.parametrize("folder", ["mock_issuer", "device_app", "api/auth"])
def test_each_has_the_license(folder: str) -> None:
    assert (ROOT / folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("key", ["requires-python", "license"])
def test_the_three_agree(key: str) -> None:
    assert len({metadata(package)["project"][key] for package in FOLDERS}) == 1


def test_shared_dependencies_have_the_same_lower_bound() -> None:
    every = {line for package in FOLDERS for line in metadata(package)["project"]["dependencies"]}
    assert len(every) == len({line.partition(">=")[0] for line in every})
