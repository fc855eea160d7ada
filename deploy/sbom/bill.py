"""Write the bills of materials of both images in CycloneDX's JSON: python -m deploy.sbom.bill FOLDER."""

import re
import sys
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from api.auth import __version__ as api_version
from deploy.sbom.licences import ROOT, licences_in_image
from deploy.sbom.pins import Pin
from mock_issuer import __version__ as mock_issuer_version

IMAGES = {"device-api": ("run.txt", api_version), "mock-issuer": ("mock-issuer.txt", mock_issuer_version)}


def python_version() -> str:
    """Return the version of Python in the images, such as 3.13. Raises ValueError if the Dockerfile has none."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    if found := re.search(r"^ARG PYTHON_IMAGE=python:(3\.\d+)-", dockerfile, re.MULTILINE):
        return found[1]
    raise ValueError("The Dockerfile names no Python image with a version.")


def bill_of(image: str) -> Bom:
    """Return the packages of an image, with version, licence and the digests of the files that pip accepts for it."""
    file, version = IMAGES[image]
    program = Component(
        name=image,
        version=version,
        type=ComponentType.APPLICATION,
        bom_ref=image,
        licenses=[LicenseFactory().make_from_string("MIT")],
    )
    bill = Bom()
    bill.metadata.component = program
    components = [component(pin, licence) for pin, licence in licences_in_image(file, python_version())]
    bill.components.update(components)
    bill.register_dependency(program, components)
    return bill


def component(pin: Pin, licence: str) -> Component:
    """Return a package as a part of a bill."""
    url = PackageURL("pypi", name=pin.name, version=pin.version)
    return Component(
        name=pin.name,
        version=pin.version,
        type=ComponentType.LIBRARY,
        bom_ref=str(url),
        purl=url,
        licenses=[LicenseFactory().make_from_string(licence)],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in pin.sha256_digests],
    )


def as_json(bill: Bom) -> str:
    """Return the document. Raises ValueError if it does not fit CycloneDX's schema, which is part of its library."""
    text = JsonV1Dot6(bill).output_as_string(indent=2)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ValueError(f"The bill of materials is not valid: {error!r}")
    return text


def main() -> None:
    """Write a file for each image."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for image in IMAGES:
        path = folder / f"{image}.cdx.json"
        path.write_text(as_json(bill_of(image)) + "\n", encoding="utf-8")
        print(path)  # noqa: T201  # a command


if __name__ == "__main__":
    main()
