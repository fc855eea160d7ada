"""Read openapi.yaml."""

import functools
import json

import yaml

from api.installed_files import path_of

_PATH = path_of("openapi.yaml")


class ContractMissingError(Exception):
    """openapi.yaml is not installed."""

    def __init__(self) -> None:
        super().__init__("openapi.yaml is not installed; copy it next to the folder api.")


@functools.cache
def contract_as_yaml() -> str:
    """Return the OpenAPI document in YAML. Raises ContractMissingError."""
    try:
        return _PATH.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise ContractMissingError from exc


@functools.cache
def contract_as_json() -> str:
    """Return the OpenAPI document in JSON. Raises ContractMissingError."""
    # In ASCII: the patterns of texts name invisible characters.
    return json.dumps(yaml.safe_load(contract_as_yaml()), indent=2) + "\n"
