"""What the commands share on their command lines, and what they are handed."""

import functools
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import click

from device_app.http.transport import is_safe_address
from device_app.model.times import Clock, duration_seconds
from device_app.storage.keyring import KeyringStore, find_keyring
from device_app.storage.token_file import TokenStore, default_token_file

__all__ = ["Address", "Duration", "as_json", "ca_file", "logged_in_at", "open_store", "option", "with_clock"]

_P = ParamSpec("_P")

# Nothing that this program talks to is older, and every calendar has these years.
_LONGEST_SECONDS = 10 * 365 * 86_400


class Address(click.ParamType[str]):
    """An address to which credentials may go."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return `value` where it is such an address, and fail otherwise."""
        address = str(value)
        if not is_safe_address(address):
            self.fail(f"“{address}” is neither an https address nor http on this machine.", param, ctx)
        return address


class Duration(click.ParamType[int]):
    """A length of time, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the seconds that `value` says, and fail where it says none."""
        seconds = duration_seconds(str(value))
        if seconds is None or not 0 < seconds <= _LONGEST_SECONDS:
            self.fail(f"“{value}” is no length of time up to ten years, such as 90m, 24h, 7d or 2w.", param, ctx)
        return seconds


class _Authorities(click.Path):
    """A file of certificate authorities."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, readable=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path of `value` where the file holds certificates, and fail otherwise."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except OSError:  # ssl.SSLError is one
            self.fail(f"“{path}” holds no certificates in PEM.", param, ctx)
        return path


def option(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a click option that an environment variable can set, named DEVICE_ and the option's name."""
    words = name.removeprefix("--").removeprefix("device-").replace("-", "_").upper()
    return click.option(name, envvar="DEVICE_" + words, show_envvar=True, **({"show_default": True} | attributes))


ca_file = option(
    "--ca-file",
    type=_Authorities(),
    help="Certificate authorities to trust instead of the built-in ones (PEM).",
)
logged_in_at = option("--issuer", type=Address(), help="Go on only if this is the issuer that you are logged in at.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for scripts.")


def with_clock(command: Callable[Concatenate[Clock, _P], None]) -> Callable[_P, None]:
    """Pass the clock that the caller of the whole program gave, or the real one."""

    @functools.wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        command(click.get_current_context().find_object(Clock) or Clock(), *args, **kwargs)

    return run


def open_store(clock: Clock) -> TokenStore:
    """Return where the tokens are: the file that DEVICE_TOKEN_FILE names, or the system's keyring, or else a file.

    Raises click.UsageError where there is no place for a file.
    """
    named = os.environ.get("DEVICE_TOKEN_FILE")
    if named:
        # Found out before somebody has approved a login that could not be kept.
        if Path(named).is_dir():
            raise click.UsageError(f"DEVICE_TOKEN_FILE names a directory, {named}, and not a file.")
        return TokenStore(Path(named), clock)
    try:
        path = default_token_file(os.environ)
    except RuntimeError as exc:
        raise click.UsageError(
            "There is no home directory to keep a login in: name a file by DEVICE_TOKEN_FILE."
        ) from exc
    keyring = find_keyring()
    return TokenStore(path, clock) if keyring is None else KeyringStore(keyring, path, clock)
