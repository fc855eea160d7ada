"""docs/licences.md and the bills of materials name what the images hold."""

import json
import re
from pathlib import Path

import pytest

from deploy.sbom import bill, licences
from deploy.sbom.pins import Pin, pins
from tests.kit.processes import ROOT


def test_the_page_of_licences_is_what_the_command_writes() -> None:
    page = licences.PAGE.read_text(encoding="utf-8")
    assert licences.with_table(page, licences.table()) == page, "run make licences"


def test_the_page_lists_each_pinned_package() -> None:
    pinned = set()
    for name in ("run.txt", "mock-issuer.txt"):
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        pinned |= set(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", text, re.MULTILINE))
    assert licences.listed_licences().keys() == pinned


def test_a_version_without_a_known_licence_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = licences.PAGE.read_text(encoding="utf-8")
    # No Python installs both versions of this package.
    without = re.sub(r"^\| deprecated .*\n", "", page, flags=re.MULTILINE)
    monkeypatch.setattr(licences, "PAGE", tmp_path / "licences.md")
    licences.PAGE.write_text(without, encoding="utf-8")
    with pytest.raises(licences.UnknownLicenceError, match="deprecated"):
        licences.table()


@pytest.mark.parametrize("image", bill.IMAGES)
def test_a_bill_of_materials_has_each_package_with_its_licence(image: str) -> None:
    document = json.loads(bill.as_json(bill.bill_of(image)))  # as_json checks it against the schema
    program = document["metadata"]["component"]
    assert (program["name"], document["specVersion"]) == (image, "1.6")
    listed = {component["name"]: component for component in document["components"]}
    expected = {pin.name: pin for pin in pins(ROOT / "requirements" / bill.IMAGES[image][0]) if pin.is_in_image("3.13")}
    assert listed.keys() == expected.keys()
    for name, component in listed.items():
        assert component["version"] == expected[name].version
        assert component["licenses"], name
        assert len(component["hashes"]) == len(expected[name].sha256_digests) >= 1


def test_a_bill_has_what_the_images_python_installs() -> None:
    document = json.loads(bill.as_json(bill.bill_of("device-api")))
    versions = {component["name"]: component["version"] for component in document["components"]}
    assert versions["deprecated"] == "3.0.1"  # 1.3.1 is for older versions of Python
    assert {"async-timeout", "tzdata"}.isdisjoint(versions)  # for older versions, and for Windows


def test_an_invalid_bill_is_refused() -> None:
    made = bill.bill_of("mock-issuer")
    wrong = Pin(name="some-package", version="1.0", marker="", sha256_digests=("not a digest",))
    made.components.add(bill.component(wrong, "MIT"))
    with pytest.raises(ValueError, match="not valid"):
        bill.as_json(made)
