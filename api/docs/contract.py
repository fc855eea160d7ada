"""openapi.yaml as this installation has it: beside the package, where the project and the image keep it."""

import functools
import json
from pathlib import Path

import yaml

_PATH = Path(__file__).resolve().parents[2] / "openapi.yaml"


class ContractMissingError(Exception):
    """The package was installed without the contract."""

    def __init__(self) -> None:
        super().__init__("This installation has no openapi.yaml: it belongs beside the folder api.")


@functools.cache
def contract_as_yaml() -> str:
    """Return the contract as it was written. Raises ContractMissingError."""
    try:
        return _PATH.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise ContractMissingError from exc


@functools.cache
def contract_as_json() -> str:
    """Return the contract in JSON. Raises ContractMissingError."""
    return json.dumps(yaml.safe_load(contract_as_yaml()), ensure_ascii=False, indent=2) + "\n"
