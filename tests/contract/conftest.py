from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def contract() -> Any:
    """Return openapi.yaml, references unresolved."""
    return yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))
