"""The commands that call the API."""

import functools
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click
from authlib.integrations.requests_client import OAuth2Session

from device_app.commands.api_client import ApiClient
from device_app.commands.json_output import print_document, told_as_document
from device_app.commands.options import (
    Address,
    Duration,
    as_json,
    ca_file,
    logged_in_at,
    open_store,
    option,
    with_clock,
)
from device_app.commands.sign_in import sign_in
from device_app.http.transport import harden
from device_app.login.credentials import Credentials
from device_app.model.errors import AuthenticationNeededError
from device_app.model.times import Clock, time_at
from device_app.terminal.console import is_terminal, make_console, shows_screen
from device_app.terminal.plot import print_plots
from device_app.terminal.screen import login_screen
from device_app.terminal.tables import print_devices, print_readings

__all__ = ["add", "devices", "readings"]

_DEFAULT_READINGS = 20
# A person reads no more, and it is ten pages of the API's.
_MOST_READINGS = 10_000

_T = TypeVar("_T")

_api = option("--api", type=Address(), default="http://127.0.0.1:8000", help="Where the API is.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Caller:
    """How to call the API: where, with whose tokens, and whether a person is there to log in anew."""

    clock: Clock
    api: str
    issuer: str | None
    ca_file: Path | None
    as_json: bool

    def call(self, method: Callable[[ApiClient], _T]) -> _T:
        """Call the API. Where it asks for a newer or stronger login and a person is there, have it made, once."""
        store = open_store(self.clock)
        with harden(OAuth2Session(), self.ca_file) as http:
            client = ApiClient(
                self.api,
                credentials=Credentials(store, clock=self.clock, ca_file=self.ca_file, expected_issuer=self.issuer),
                http=http,
                clock=self.clock,
                notify=functools.partial(click.echo, err=True),
            )
            try:
                return method(client)
            except AuthenticationNeededError as exc:
                if self.as_json or not shows_screen(sys.stdout):
                    raise
                click.echo("The API asks for a newer or stronger login.", err=True)
                sign_in(
                    store.load().request,
                    exc.requirements,
                    store=store,
                    screen=login_screen(self.clock, offer_browser=True, to_stderr=False),
                    clock=self.clock,
                    ca_file=self.ca_file,
                )
                return method(client)


@click.command()
@as_json
@_api
@logged_in_at
@ca_file
@with_clock
def devices(clock: Clock, *, as_json: bool, api: str, issuer: str | None, ca_file: Path | None) -> None:
    """List your devices."""
    caller = _Caller(clock=clock, api=api, issuer=issuer, ca_file=ca_file, as_json=as_json)
    with told_as_document(as_json):
        found = caller.call(ApiClient.devices)
        if as_json:
            print_document({"items": found})
            return
    if found:
        print_devices(make_console(), found, now=clock.now())
    else:
        click.echo("You have no devices.")


@click.command()
@click.argument("device_id", metavar="ID")
@click.option("--since", type=Duration(), help="How far back: 90m, 24h, 7d or 2w, for example.")
@click.option(
    "--limit",
    type=click.IntRange(1, _MOST_READINGS),
    show_default=f"{_DEFAULT_READINGS}; with --since {_MOST_READINGS}",
    help="How many, at most.",
)
@as_json
@_api
@logged_in_at
@ca_file
@with_clock
def readings(
    clock: Clock,
    *,
    device_id: str,
    since: int | None,
    limit: int | None,
    as_json: bool,
    api: str,
    issuer: str | None,
    ca_file: Path | None,
) -> None:
    """Show the newest readings of the device ID (see `device devices`): a table, and on a terminal a plot."""
    # As a part of a path these three would name another resource, however they are quoted.
    if device_id in {"", ".", ".."}:
        raise click.BadParameter(f"“{device_id}” is no device.", param_hint="ID")
    start = None if since is None else time_at(clock.now() - since)
    at_most = limit or (_DEFAULT_READINGS if since is None else _MOST_READINGS)
    caller = _Caller(clock=clock, api=api, issuer=issuer, ca_file=ca_file, as_json=as_json)
    with told_as_document(as_json):
        found = caller.call(lambda client: client.readings(device_id, start=start, at_most=at_most))
        if as_json:
            print_document({"items": found})
            return
    if found:
        print_readings(make_console(), found)
        if is_terminal(sys.stdout):
            print_plots(make_console(), found)
    else:
        click.echo("This device has no readings." if since is None else "This device has no readings of that time.")


@click.command()
@click.argument("name")
@click.option("--kind", required=True, help="television, set_top_box, thermostat, hub, sensor or speaker.")
@click.option("--model", required=True, help="Its maker's name for it.")
@click.option("--location", help="Where it stands.")
@as_json
@_api
@logged_in_at
@ca_file
@with_clock
def add(
    clock: Clock,
    *,
    name: str,
    kind: str,
    model: str,
    location: str | None,
    as_json: bool,
    api: str,
    issuer: str | None,
    ca_file: Path | None,
) -> None:
    """Register a device called NAME. Needs the scope write:devices."""
    device = {"name": name, "kind": kind, "model": model} | ({} if location is None else {"location": location})
    # One key for all attempts of this command: whatever becomes of their answers, one device is registered.
    key = str(uuid.uuid4())
    caller = _Caller(clock=clock, api=api, issuer=issuer, ca_file=ca_file, as_json=as_json)
    with told_as_document(as_json):
        added = caller.call(lambda client: client.create_device(device, idempotency_key=key))
        if as_json:
            print_document(added)
            return
    print_devices(make_console(), [added], now=clock.now())
