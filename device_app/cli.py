"""The commands."""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import click
import requests
from authlib.integrations.requests_client import OAuth2Session

from device_app.api_client import ApiClient
from device_app.clock import Clock
from device_app.credentials import Credentials
from device_app.errors import CodeExpiredError, DeviceAppError
from device_app.issuer import discover
from device_app.login import DeviceFlow
from device_app.screen import login_screen, make_console
from device_app.tables import print_devices, print_readings
from device_app.token_store import TokenStore, default_token_file
from device_app.tokens import DEFAULT_AUDIENCE, DEFAULT_CLIENT_ID, DEFAULT_ISSUER, LoginRequest, Tokens
from device_app.transport import harden, is_safe_address

__all__ = ["cli", "main"]

# Shells count 128 and the signal's number; SIGINT is 2.
_INTERRUPTED = 130
_DEFAULT_READINGS = 20
# A person reads no more, and it is ten pages of the API's.
_MOST_READINGS = 10_000

_P = ParamSpec("_P")


class _DeviceGroup(click.Group):
    """Commands whose errors are one sentence on standard error and the exit status that README.md lists."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DeviceAppError as exc:
            click.echo(str(exc), err=True)
            ctx.exit(exc.exit_status)
        except (KeyboardInterrupt, click.Abort):
            click.echo("Interrupted.", err=True)
            ctx.exit(_INTERRUPTED)


class _Address(click.ParamType[str]):
    """An address to which credentials may go."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        address = str(value)
        if not is_safe_address(address):
            self.fail(f"“{address}” is neither an https address nor http on this machine.", param, ctx)
        return address


def _option(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a click option that an environment variable can set, named DEVICE_ and the option's name."""
    variable = "DEVICE_" + name.removeprefix("--").replace("-", "_").upper()
    return click.option(name, envvar=variable, show_envvar=True, show_default=True, **attributes)


_ca_file = _option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Certificate authorities to trust instead of the built-in ones (PEM).",
)
_api = _option("--api", type=_Address(), default="http://127.0.0.1:8000", help="Where the API is.")
_logged_in_at = _option("--issuer", type=_Address(), help="Go on only if this is the issuer that you are logged in at.")


def _with_clock(
    command: Callable[Concatenate[Clock, _P], None],
) -> Callable[_P, None]:
    """Pass the clock that the caller of the whole program gave, or the real one."""

    @functools.wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        command(click.get_current_context().find_object(Clock) or Clock(), *args, **kwargs)

    return run


@click.group(cls=_DeviceGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="device-api", prog_name="device")
def cli() -> None:
    """A device that reads its data from the Device API."""


@cli.command()
@_option("--issuer", type=_Address(), default=DEFAULT_ISSUER, help="Who logs you in.")
@_option("--client-id", default=DEFAULT_CLIENT_ID, help="This application's name at the issuer.")
@_option("--audience", default=DEFAULT_AUDIENCE, help="The API that the token is for.")
@_option(
    "--scope",
    default="openid offline_access read:devices read:readings",
    help="What to ask for, separated by spaces.",
)
@click.option("--no-browser", is_flag=True, help="Do not offer to open a browser on this machine.")
@_ca_file
@_with_clock
def login(
    clock: Clock,
    *,
    issuer: str,
    client_id: str,
    audience: str,
    scope: str,
    no_browser: bool,
    ca_file: Path | None,
) -> None:
    """Log in by approving a code in a browser, on this or another machine."""
    request = LoginRequest(issuer=issuer, client_id=client_id, audience=audience, scope=" ".join(scope.split()))
    store = _store(clock)
    # Found out now rather than after somebody has approved: whether the tokens can be kept.
    with store.locked():
        pass
    with harden(requests.Session(), ca_file) as http:
        flow = DeviceFlow(issuer=discover(issuer, http), request=request, http=http, clock=clock)
        tokens = _approved_tokens(flow, clock, offer_browser=not no_browser)
    with store.locked():
        store.save(tokens)
    click.echo("Logged in.")
    refused = [word for word in request.scope.split() if word not in tokens.scope.split()]
    if refused:
        click.echo(f"Not granted: {' '.join(refused)}.")


@cli.command()
@_api
@_logged_in_at
@_ca_file
@_with_clock
def devices(clock: Clock, *, api: str, issuer: str | None, ca_file: Path | None) -> None:
    """List your devices."""
    with harden(OAuth2Session(), ca_file) as http:
        found = _api_client(api, http, clock, issuer=issuer, ca_file=ca_file).devices()
    if found:
        print_devices(make_console(), found, now=clock.now())
    else:
        click.echo("You have no devices.")


@cli.command()
@click.argument("device_id", metavar="ID")
@click.option(
    "--limit",
    type=click.IntRange(1, _MOST_READINGS),
    default=_DEFAULT_READINGS,
    show_default=True,
    help="How many, at most.",
)
@_api
@_logged_in_at
@_ca_file
@_with_clock
def readings(clock: Clock, *, device_id: str, limit: int, api: str, issuer: str | None, ca_file: Path | None) -> None:
    """Show the newest readings of the device ID (see `device devices`)."""
    # As a part of a path these three would name another resource, however they are quoted.
    if device_id in {"", ".", ".."}:
        raise click.BadParameter(f"“{device_id}” is no device.", param_hint="ID")
    with harden(OAuth2Session(), ca_file) as http:
        client = _api_client(api, http, clock, issuer=issuer, ca_file=ca_file)
        found = client.readings(device_id, at_most=limit)
    if found:
        print_readings(make_console(), found)
    else:
        click.echo("This device has no readings.")


@cli.command()
@_logged_in_at
@_ca_file
@_with_clock
def logout(clock: Clock, *, issuer: str | None, ca_file: Path | None) -> None:
    """Revoke the login at its issuer and forget it here."""
    outcome = Credentials(_store(clock), clock=clock, ca_file=ca_file, expected_issuer=issuer).log_out()
    click.echo(outcome.value)


def main() -> None:
    """Run the command line that the process was started with."""
    for stream in (sys.stdout, sys.stderr):
        # A name that this terminal's encoding cannot show must not end the program.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # both are text files here
    try:
        cli()
    except OSError as exc:
        # Standard output itself, say on a full disk: every other file is dealt with where it is used. What is left in
        # its buffer must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        click.echo(f"Cannot write the output: {exc.strerror}.", err=True)
        sys.exit(DeviceAppError.exit_status)


def _approved_tokens(flow: DeviceFlow, clock: Clock, *, offer_browser: bool) -> Tokens:
    screen = login_screen(clock, offer_browser=offer_browser)
    while True:
        code = flow.request_code()
        try:
            with screen.waiting(code):
                return flow.wait(code, report=screen.report, sleep=screen.sleep)
        except CodeExpiredError:
            if not screen.wants_new_code():
                raise


def _api_client(
    address: str, http: OAuth2Session, clock: Clock, *, issuer: str | None, ca_file: Path | None
) -> ApiClient:
    return ApiClient(
        address,
        credentials=Credentials(_store(clock), clock=clock, ca_file=ca_file, expected_issuer=issuer),
        http=http,
        clock=clock,
        notify=functools.partial(click.echo, err=True),
    )


def _store(clock: Clock) -> TokenStore:
    named = os.environ.get("DEVICE_TOKEN_FILE")
    return TokenStore(Path(named) if named else default_token_file(os.environ), clock)
