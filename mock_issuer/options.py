"""The configuration from a TOML file and from flags: the fields of Config under the same names."""

import argparse
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from mock_issuer.config import Config, ConfigError
from mock_issuer.typed import Mistyped, arguments

# Fields that hold several: each flag gives one, and together they replace the defaults as the field itself does.
_SINGULAR = {"apis": "api", "clients": "client", "users": "user", "rules": "rule"}
_DOCUMENTS = {
    "apis": """an API, e.g. '{audience = "https://api.example", scopes = {"read:x" = "See x"}}'""",
    "clients": """an application, e.g. '{client_id = "tv", name = "My TV"}'""",
    "users": """a person, e.g. '{username = "carol"}'""",
    "rules": "a rule, as module:function",
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each field of Config, and `--config` for a file of them."""
    group = parser.add_argument_group(
        "what it serves", "Each flag is a field of Config; --config names a TOML file of them, which flags overrule."
    )
    group.add_argument("--config", metavar="FILE", help="a TOML file")
    for field in fields(Config):
        flag = f"--{_SINGULAR.get(field.name, field.name).replace('_', '-')}"
        several = field.name in _SINGULAR
        group.add_argument(
            flag,
            dest=f"config_{field.name}",
            action="append" if several else "store",
            metavar="TABLE" if several else "VALUE",
            help=f"{_DOCUMENTS[field.name]}; may be repeated" if several else f"({field.default})".lower(),
        )


def read_config(options: argparse.Namespace) -> tuple[Config, str | None]:
    """Make the configuration that the flags of `add_flags` say; beside it, the issuer where file or flag names one.

    Raises ConfigError, which tells all mistakes together.
    """
    mistakes: list[str] = []
    unverified: dict[str, Any] = {}
    if options.config is not None:
        try:
            unverified = _read_file(options.config)
        except ConfigError as exc:
            mistakes += exc.mistakes
    for field in fields(Config):
        given = getattr(options, f"config_{field.name}")
        if given is None:
            continue
        flag = _SINGULAR.get(field.name, field.name).replace("_", "-")
        bare = field.name == "rules" or isinstance(field.default, str)
        try:
            values = [_parse(text, flag, bare=bare) for text in ([given] if isinstance(given, str) else given)]
            unverified[field.name] = values if field.name in _SINGULAR else values[0]
        except ConfigError as exc:
            mistakes += exc.mistakes
    try:
        config = make_config(unverified)
    except ConfigError as exc:
        mistakes += exc.mistakes
    else:
        if not mistakes:
            return config, config.issuer if "issuer" in unverified else None
    raise ConfigError(mistakes)


def make_config(unverified: Mapping[str, Any]) -> Config:
    """Make a configuration of parsed TOML or JSON. Raises ConfigError, which tells all mistakes together."""
    try:
        return Config(**arguments(Config, dict(unverified)))
    except Mistyped as exc:
        mistakes = [*exc.mistakes]
        try:
            # What does fit its type can be wrong otherwise.
            Config(**exc.fitting)
        except ConfigError as more:
            mistakes += more.mistakes
        raise ConfigError(mistakes) from exc


def _read_file(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # a name as it was typed, for the sentence below
            return tomllib.load(file)
    except OSError as exc:
        raise ConfigError([f"{path} cannot be read: {exc.strerror}."]) from exc
    except (ValueError, RecursionError) as exc:  # not TOML, not UTF-8, a number or a nesting without end
        raise ConfigError([f"{path} is not TOML: {exc}."]) from exc


def _parse(text: str, flag: str, *, bare: bool) -> object:
    if bare:
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError) as exc:
        raise ConfigError([f"--{flag} {text} is not a TOML value: {exc}."]) from exc
