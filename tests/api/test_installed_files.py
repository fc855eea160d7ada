import sys
from pathlib import Path

import pytest

from api.installed_files import path_of
from tests.kit.processes import ROOT


@pytest.mark.parametrize("name", ["gunicorn.conf.py", "openapi.yaml"])
def test_a_file_next_to_the_folder_is_taken(name: str) -> None:
    assert path_of(name) == ROOT / name


def test_any_other_is_looked_for_in_the_environment() -> None:
    assert path_of("other.yaml") == Path(sys.prefix, "share", "device-api", "other.yaml")
