"""Where the files are that belong to the API but not to its package: openapi.yaml and gunicorn.conf.py."""

import sysconfig
from pathlib import Path

_BESIDE_THE_PACKAGE = Path(__file__).resolve().parents[1]


def path_of(name: str) -> Path:
    """Return the file's path: next to the folder `api`, or in `share/device-api` of the environment.

    The repository and the image have it next to the folder, an installed wheel in the environment. Does not check that
    it exists in either.
    """
    beside = _BESIDE_THE_PACKAGE / name
    return beside if beside.is_file() else Path(sysconfig.get_path("data"), "share", "device-api", name)
