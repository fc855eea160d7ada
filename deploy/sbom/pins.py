"""The packages that a requirements file pins."""

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker

# The images' platform: the Dockerfile's Python on Linux.
_IMAGE = {
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "sys_platform": "linux",
    "os_name": "posix",
    "platform_machine": "x86_64",
}
_PIN = re.compile(
    r"^([a-z0-9-]+)==([^\s;]+)(?: ; (.*?))? \\$((?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+)", re.MULTILINE
)


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Pin:
    """A package with its exact version; `marker` says where it is installed, and is empty for everywhere."""

    name: str
    version: str
    marker: str
    sha256_digests: tuple[str, ...]

    def is_in_image(self, python_version: str) -> bool:
        """Return whether an image with this Python, such as 3.13, has the package."""
        versions = {"python_version": python_version, "python_full_version": f"{python_version}.99"}
        return not self.marker or Marker(self.marker).evaluate({**_IMAGE, **versions})


def pins(requirements: Path) -> list[Pin]:
    """Return the packages of a file that `make lock` wrote, by name."""
    found = _PIN.findall(requirements.read_text(encoding="utf-8"))
    return sorted(
        Pin(name=name, version=version, marker=marker, sha256_digests=tuple(re.findall("[0-9a-f]{64}", digests)))
        for name, version, marker, digests in found
    )
