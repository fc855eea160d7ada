"""The commands that call the API: `devices`, `readings` and `add`."""

import functools
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import requests

from device_app.commands.api_client import ApiClient
from device_app.commands.json_output import json_errors, print_json
from device_app.commands.options import (
    Duration,
    SecureUrl,
    ca_file_option,
    env_option,
    expected_issuer_option,
    json_option,
    open_store,
    pass_clock,
)
from device_app.commands.sign_in import sign_in
from device_app.http.transport import secure_session
from device_app.login.credentials import Credentials
from device_app.model.errors import AuthenticationNeededError
from device_app.model.times import Clock, from_timestamp
from device_app.terminal.console import make_console, supports_cursor
from device_app.terminal.plot import print_plots
from device_app.terminal.screen import login_screen
from device_app.terminal.tables import print_devices, print_readings, print_readings_by_time

__all__ = ["add", "devices", "readings"]

_DEFAULT_READINGS = 20
# Ten pages of the API.
_MAX_READINGS = 10_000

# The kinds and the form of the IDs are those in openapi.yaml.
_KINDS = ("television", "set_top_box", "thermostat", "hub", "sensor", "speaker")
_ID_PREFIX = "dev_"

_T = TypeVar("_T")

_api_option = env_option("--api", type=SecureUrl(), default="http://127.0.0.1:8000", help="The URL of the API.")


@click.command()
@json_option
@_api_option
@expected_issuer_option
@ca_file_option
@pass_clock
def devices(clock: Clock, *, as_json: bool, api: str, issuer: str | None, ca_file: Path | None) -> None:
    """List your devices."""
    with json_errors(as_json):
        items = _call_api(ApiClient.devices, clock=clock, api=api, issuer=issuer, ca_file=ca_file, as_json=as_json)
        if as_json:
            print_json({"items": items})
            return
    if items:
        print_devices(make_console(), items, now=clock.now())
    else:
        click.echo("You have no devices.")


@click.command()
@click.argument("device", metavar="DEVICE")
@click.option("--since", type=Duration(), help="Only readings of the last 90m, 24h, 7d or 2w, for example.")
@click.option(
    "--limit",
    type=click.IntRange(1, _MAX_READINGS),
    show_default=f"{_DEFAULT_READINGS}; with --since {_MAX_READINGS}",
    help="The maximum number of readings.",
)
@json_option
@_api_option
@expected_issuer_option
@ca_file_option
@pass_clock
def readings(
    clock: Clock,
    *,
    device: str,
    since: int | None,
    limit: int | None,
    as_json: bool,
    api: str,
    issuer: str | None,
    ca_file: Path | None,
) -> None:
    """Show the newest readings of a device.

    DEVICE is its ID or its name. On a terminal, prints a plot of each metric and then a table; in a pipe, a line for
    each time.
    """
    if not device.strip():
        raise click.BadParameter("the name is empty.", param_hint="DEVICE")
    device.encode()  # raises UnicodeEncodeError before any request, which the command group explains
    start = None if since is None else from_timestamp(clock.now() - since)
    max_count = limit or (_DEFAULT_READINGS if since is None else _MAX_READINGS)

    def fetch(client: ApiClient) -> list[dict[str, Any]]:
        device_id = device if device.startswith(_ID_PREFIX) else client.find_device_id(device)
        return client.readings(device_id, start=start, max_count=max_count)

    with json_errors(as_json):
        items = _call_api(
            fetch,
            clock=clock,
            api=api,
            issuer=issuer,
            ca_file=ca_file,
            as_json=as_json,
        )
        if as_json:
            print_json({"items": items})
            return
    if items:
        console = make_console()
        if sys.stdout.isatty():
            print_plots(console, items)
            print_readings(console, items)
        else:
            print_readings_by_time(console, items)
    else:
        click.echo("This device has no readings." if since is None else "This device has no readings from that time.")


@click.command()
@click.argument("name")
@click.option("--kind", required=True, type=click.Choice(_KINDS), help="The kind of device.")
@click.option("--model", required=True, help="The model name.")
@click.option("--location", help="The place where it is installed.")
@json_option
@_api_option
@expected_issuer_option
@ca_file_option
@pass_clock
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
    """Register a device.

    Needs the scope write:devices, which `device login` does not request by default.
    """
    device = {"name": name, "kind": kind, "model": model} | ({} if location is None else {"location": location})
    # One key for all attempts of this command, so that the API registers one device even if responses are lost.
    key = str(uuid.uuid4())
    with json_errors(as_json):
        added = _call_api(
            lambda client: client.create_device(device, idempotency_key=key),
            clock=clock,
            api=api,
            issuer=issuer,
            ca_file=ca_file,
            as_json=as_json,
        )
        if as_json:
            print_json(added)
            return
    print_devices(make_console(), [added], now=clock.now())


def _call_api(
    method: Callable[[ApiClient], _T],
    *,
    clock: Clock,
    api: str,
    issuer: str | None,
    ca_file: Path | None,
    as_json: bool,
) -> _T:
    """Call `method` with a client for `api`, and return its result.

    If the API requires a newer or stronger login (RFC 9470) and standard output is a terminal, logs in and calls again,
    once. `issuer` is the expected issuer of the login; None for any.
    """
    store = open_store(clock)
    with secure_session(requests.Session(), ca_file) as http:
        client = ApiClient(
            api,
            credentials=Credentials(store, clock=clock, ca_file=ca_file, expected_issuer=issuer),
            http=http,
            clock=clock,
            notify=functools.partial(click.echo, err=True),
        )
        try:
            return method(client)
        except AuthenticationNeededError as exc:
            if as_json or not supports_cursor(sys.stdout):
                raise
            click.echo("The API requires a newer or stronger login.", err=True)
            sign_in(
                store.load().request,
                exc.requirements,
                store=store,
                screen=login_screen(clock, offer_browser=True, to_stderr=False),
                clock=clock,
                ca_file=ca_file,
            )
            return method(client)
