"""docs/licences.md: the licence of each package that the API or the mock issuer needs.

`make licences` writes it from the metadata of the packages installed here.
"""

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from license_expression import ExpressionError, get_spdx_licensing  # type: ignore[import-untyped]  # no stubs exist

from deploy.sbom.pins import Pin, pins

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "licences.md"
REQUIREMENTS = {"API": "run.txt", "mock issuer": "mock-issuer.txt"}
_ROW = re.compile(r"^\| ([a-z0-9-]+) \| (\d\S*) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
_MIT = "License :: OSI Approved :: MIT License"
# Their metadata says "BSD License" only; the files with their licences have three clauses.
_READ_FROM_THEIR_FILES = {"itsdangerous": "BSD-3-Clause", "jinja2": "BSD-3-Clause", "segno": "BSD-3-Clause"}


class UnknownLicenceError(Exception):
    """A package whose licence its metadata does not tell."""


def licence_of(name: str) -> str:
    """Return the licence of an installed package as an SPDX expression.

    Raises UnknownLicenceError, and PackageNotFoundError if it is not installed.
    """
    told = metadata(name)
    # get_all: a replacement of `metadata`, which OpenTelemetry brings, raises KeyError for a missing name.
    named = [*(told.get_all("License-Expression") or []), *(told.get_all("License") or [])]
    for text in (*named, _READ_FROM_THEIR_FILES.get(name)):
        if text and _is_spdx(text):
            return str(text)
    if _MIT in (told.get_all("Classifier") or []):
        return "MIT"
    raise UnknownLicenceError(f"{name}: read its licence, and add it to {Path(__file__).name}.")


def _is_spdx(text: str) -> bool:
    try:
        return not get_spdx_licensing().validate(text).errors
    except ExpressionError:
        return False


def listed_licences() -> dict[tuple[str, str], str]:
    """Return the licences on the page, by name and version."""
    rows = _ROW.findall(PAGE.read_text(encoding="utf-8"))
    return {(name, version): licence for name, version, licence, _ in rows}


def table() -> list[str]:
    """Return the rows that the page must have; an installed package's licence comes from its metadata.

    A version that this Python does not install keeps the licence that the page has. Raises UnknownLicenceError if the
    page has none.
    """
    used_by: dict[tuple[str, str], list[str]] = {}
    for program, file in REQUIREMENTS.items():
        for pin in pins(ROOT / "requirements" / file):
            used_by.setdefault((pin.name, pin.version), []).append(program)
    listed = listed_licences()
    rows = []
    for (name, version), programs in sorted(used_by.items()):
        licence = _installed_licence(name, version) or _listed(listed, name, version)
        rows.append(f"| {name} | {version} | {licence} | {', '.join(programs)} |")
    return rows


def _installed_licence(name: str, version: str) -> str | None:
    try:
        return licence_of(name) if metadata(name)["Version"] == version else None
    except PackageNotFoundError:
        return None


def _listed(listed: dict[tuple[str, str], str], name: str, version: str) -> str:
    if (name, version) not in listed:
        raise UnknownLicenceError(
            f"{name} {version} is not installed here: read its licence, and add its row to {PAGE.name}."
        )
    return listed[name, version]


def with_table(page: str, rows: Iterable[str]) -> str:
    """Return the page with these rows in place of its own."""
    head, _, rest = page.partition("|---|---|---|---|\n")
    after = _ROW.sub("", rest).lstrip("\n")
    return f"{head}|---|---|---|---|\n" + "\n".join(rows) + "\n" + (f"\n{after}" if after else "")


def licences_in_image(file: str, python_version: str) -> list[tuple[Pin, str]]:
    """Return the packages of an image with this Python, with their licences from the page."""
    listed = listed_licences()
    return [
        (pin, _listed(listed, pin.name, pin.version))
        for pin in pins(ROOT / "requirements" / file)
        if pin.is_in_image(python_version)
    ]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), table()), encoding="utf-8")
