"""The configuration from a TOML file and from flags: both have the fields of Config, under the same names."""

import argparse
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args

from mock_issuer.config import Config, ConfigError, Dialect
from mock_issuer.typed import InvalidArguments, parse_arguments

# The fields that hold several values: each use of the flag adds a value; the values replace the default.
_REPEATABLE = {"apis": "api", "clients": "client", "users": "user", "rules": "rule"}
_HELP = {
    "issuer": "the issuer identifier",
    "apis": """an API, such as '{audience = "https://api.example", scopes = {"read:x" = "See x"}}'""",
    "clients": """an application, such as '{client_id = "tv", name = "My TV"}'""",
    "users": """a user, such as '{username = "carol"}'""",
    "default_audience": "the API of requests that name none",
    "profile": "the statuses of errors: auth0 or rfc",
    "dialect": f"the form of the tokens: {', '.join(get_args(Dialect))}",
    "access_token_format": "jwt or opaque",
    "access_token_seconds": "lifetime of access tokens",
    "id_token_seconds": "lifetime of ID tokens",
    "refresh_token_seconds": "lifetime of refresh tokens",
    "authorization_code_seconds": "lifetime of authorization codes",
    "device_code_seconds": "lifetime of device codes and user codes",
    "device_code_reuse_revokes": "whether reuse of a device code revokes its refresh tokens",
    "dpop_nonces": "whether DPoP proofs need a nonce from the issuer",
    "poll_interval_seconds": "the shortest time between two polls",
    "user_code_charset": "base20 or digits",
    "user_code_mask": "the form of user codes, * for each character",
    "wrong_code_limit": "wrong user codes from a session or an IP address in 15 minutes",
    "pick_user": "whether the log-in page has a button for each user",
    "rules": "a rule, as module:function",
    "api_url": "the URL of the API that the playground calls",
    "verification_uri": "where users enter codes, if not at /activate below the issuer",
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add `--config` and a flag for each field of Config."""
    group = parser.add_argument_group(
        "configuration",
        "Each flag is a field of Config. --config names a TOML file of these fields; flags override it.",
    )
    group.add_argument("--config", metavar="FILE", help="a TOML file")
    for field in fields(Config):
        repeatable = field.name in _REPEATABLE
        default = "http://HOST:PORT/" if field.name == "issuer" else str(field.default).lower() or "none"
        group.add_argument(
            f"--{_flag(field.name)}",
            dest=f"config_{field.name}",
            action="append" if repeatable else "store",
            metavar="TABLE" if repeatable and field.name != "rules" else "VALUE",
            help=f"{_HELP[field.name]} ({'may be repeated' if repeatable else default})",
        )


def read_config(options: argparse.Namespace) -> tuple[Config, str | None]:
    """Return the configuration from parsed flags, and the issuer identifier if the file or a flag has one.

    Raises ConfigError with every mistake in it.
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
        is_string = field.name == "rules" or isinstance(field.default, str)
        try:
            texts = [given] if isinstance(given, str) else given
            values = texts if is_string else [_parse_toml(text, _flag(field.name)) for text in texts]
            unverified[field.name] = values if field.name in _REPEATABLE else values[0]
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
    """Return the configuration from parsed TOML or JSON. Raises ConfigError with every mistake in it."""
    try:
        return Config(**parse_arguments(Config, dict(unverified)))
    except InvalidArguments as exc:
        mistakes = [*exc.mistakes]
        try:
            # A field of the right type can have a wrong value; report those as well.
            Config(**exc.valid)
        except ConfigError as more:
            mistakes += more.mistakes
        raise ConfigError(mistakes) from exc


def _flag(field_name: str) -> str:
    return _REPEATABLE.get(field_name, field_name).replace("_", "-")


def _read_file(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # the messages below show the path as it was given
            return tomllib.load(file)
    except OSError as exc:
        raise ConfigError([f"{path} cannot be read: {exc.strerror}."]) from exc
    except (ValueError, RecursionError) as exc:  # not TOML, not UTF-8, a number too long or nesting too deep
        raise ConfigError([f"{path} is not TOML: {exc}."]) from exc


def _parse_toml(text: str, flag: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError) as exc:
        raise ConfigError([f"--{flag} {text} is not a TOML value: {exc}."]) from exc
