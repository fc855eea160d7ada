"""The options that several commands share, and the token store that the environment selects."""

import functools
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import click

from device_app.http.transport import is_secure_url
from device_app.model.times import Clock, parse_duration
from device_app.storage.keyring import KeyringStore, find_keyring
from device_app.storage.token_file import TokenStore, default_token_file

__all__ = [
    "Duration",
    "SecureUrl",
    "ca_file_option",
    "env_option",
    "expected_issuer_option",
    "json_option",
    "open_store",
    "pass_clock",
]

_P = ParamSpec("_P")

# The API has no older readings, and subtracting it from now stays within the years that datetime supports.
_MAX_DURATION_SECONDS = 10 * 365 * 86_400


class SecureUrl(click.ParamType[str]):
    """A URL to which credentials may be sent."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return `value` if it is an https URL, or http to this machine; fail otherwise."""
        url = str(value)
        if not is_secure_url(url):
            self.fail(f"“{url}” is neither an https URL nor http on this machine.", param, ctx)
        return url


class Duration(click.ParamType[int]):
    """A duration such as 24h, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the seconds of `value`; fail if it is not a duration of up to ten years."""
        seconds = parse_duration(str(value))
        if seconds is None or not 0 < seconds <= _MAX_DURATION_SECONDS:
            self.fail(f"“{value}” is not a duration of up to ten years, such as 90m, 24h, 7d or 2w.", param, ctx)
        return seconds


class _CaFile(click.Path):
    """A file of certificate authorities in PEM."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, readable=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path `value` if the file holds certificates; fail otherwise."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except OSError:  # the base class of ssl.SSLError
            self.fail(f"“{path}” holds no certificates in PEM.", param, ctx)
        return path


def env_option(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a click option that the variable DEVICE_<NAME> also sets; `attributes` are those of click.option."""
    suffix = name.removeprefix("--").removeprefix("device-").replace("-", "_").upper()
    return click.option(name, envvar="DEVICE_" + suffix, show_envvar=True, **({"show_default": True} | attributes))


ca_file_option = env_option(
    "--ca-file",
    type=_CaFile(),
    help="Certificate authorities to trust instead of the built-in ones (PEM).",
)
expected_issuer_option = env_option("--issuer", type=SecureUrl(), help="Fail unless you are logged in at this issuer.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for scripts.")


def pass_clock(command: Callable[Concatenate[Clock, _P], None]) -> Callable[_P, None]:
    """Pass the clock to a command as its first argument: the context object (set by tests), or else the real clock."""

    @functools.wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        command(click.get_current_context().find_object(Clock) or Clock(), *args, **kwargs)

    return run


def open_store(clock: Clock) -> TokenStore:
    """Return the token store: the file DEVICE_TOKEN_FILE if set, else the system's keyring, else the default file.

    Raises click.UsageError if there is no place for a file.
    """
    named = os.environ.get("DEVICE_TOKEN_FILE")
    if named:
        # Fails before the user approves a login that could not be stored.
        if Path(named).is_dir():
            raise click.UsageError(f"DEVICE_TOKEN_FILE names a directory, {named}, and not a file.")
        return TokenStore(Path(named), clock)
    try:
        path = default_token_file(os.environ)
    except RuntimeError as exc:
        raise click.UsageError(
            "There is no home directory to store the login in: name a file with DEVICE_TOKEN_FILE."
        ) from exc
    keyring = find_keyring()
    return TokenStore(path, clock) if keyring is None else KeyringStore(keyring, path, clock)
