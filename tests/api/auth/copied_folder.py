"""Imports a copy under the name `api.auth`, so that tests, log records and pickles find it by that name."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def import_as_api_auth(copy: Path) -> ModuleType:
    """Import the copy in place of the folder of this checkout.

    What has imported that folder before keeps it: an API only uses the copy if it is imported afterwards.
    """
    for name in [name for name in sys.modules if name == "api.auth" or name.startswith("api.auth.")]:
        del sys.modules[name]
    spec = importlib.util.spec_from_file_location(
        "api.auth", copy / "__init__.py", submodule_search_locations=[str(copy)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["api.auth"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
