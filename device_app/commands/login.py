"""The commands `login`, `status`, `token` and `logout`."""

import os
from pathlib import Path

import click
from urllib3.util import parse_url

from device_app.commands.json_output import json_errors, login_as_json, print_json
from device_app.commands.options import (
    SecureUrl,
    ca_file_option,
    env_option,
    expected_issuer_option,
    json_option,
    open_store,
    pass_clock,
)
from device_app.commands.sign_in import sign_in
from device_app.login.credentials import Credentials
from device_app.model.errors import LoginNeededError
from device_app.model.step_up import AuthenticationRequirements
from device_app.model.times import Clock, format_duration, format_time, from_timestamp
from device_app.model.tokens import (
    DEFAULT_AUDIENCE,
    DEFAULT_CLIENT_ID,
    DEFAULT_ISSUER,
    DEFAULT_SCOPE,
    LoginRequest,
    Tokens,
)
from device_app.terminal.screen import login_screen

__all__ = ["login", "logout", "status", "token"]


@click.command()
@env_option("--issuer", type=SecureUrl(), help=f"The issuer to log in at; by default {DEFAULT_ISSUER}")
@env_option(
    "--device-authorization-endpoint",
    type=SecureUrl(),
    help="Where to request a code, if the issuer publishes no metadata.",
)
@env_option("--token-endpoint", type=SecureUrl(), help="Where to request tokens, if the issuer publishes no metadata.")
@env_option(
    "--revocation-endpoint", type=SecureUrl(), help="Where to revoke tokens, if the issuer publishes no metadata."
)
@env_option("--client-id", default=DEFAULT_CLIENT_ID, help="The client ID of this application at the issuer.")
@env_option(
    "--audience",
    # Click ignores an empty variable; here it means no audience.
    default=lambda: os.environ.get("DEVICE_AUDIENCE", DEFAULT_AUDIENCE),
    show_default=False,
    help=f"The API that the token is for (aud), by default {DEFAULT_AUDIENCE}; empty to request none.",
)
@env_option("--scope", default=DEFAULT_SCOPE, help="The scopes to request, separated by spaces.")
@click.option(
    "--max-age",
    type=click.IntRange(min=0),
    help="The maximum number of seconds since you last logged in at the issuer.",
)
@click.option(
    "--acr-values", default="", help="The authentication classes to request, such as mfa; the issuer defines them."
)
@env_option(
    "--dpop",
    is_flag=True,
    help="Bind the tokens to a key of this machine (RFC 9449): whoever steals them cannot use them.",
)
@click.option("--no-browser", is_flag=True, help="Do not offer to open a browser on this machine.")
@json_option
@ca_file_option
@pass_clock
def login(
    clock: Clock,
    *,
    issuer: str | None,
    device_authorization_endpoint: str | None,
    token_endpoint: str | None,
    revocation_endpoint: str | None,
    client_id: str,
    audience: str,
    scope: str,
    max_age: int | None,
    acr_values: str,
    dpop: bool,
    no_browser: bool,
    as_json: bool,
    ca_file: Path | None,
) -> None:
    """Log in by approving a code in a browser.

    The browser can be on another device.
    """
    if (device_authorization_endpoint is None) != (token_endpoint is None) or (
        revocation_endpoint and not token_endpoint
    ):
        raise click.UsageError(
            "--device-authorization-endpoint and --token-endpoint must be used together; --revocation-endpoint is "
            "optional and needs both."
        )
    request = LoginRequest(
        issuer=issuer or (_origin(token_endpoint) if token_endpoint else DEFAULT_ISSUER),
        client_id=client_id,
        audience=audience,
        scope=" ".join(scope.split()),
        device_authorization_endpoint=device_authorization_endpoint,
        token_endpoint=token_endpoint,
        revocation_endpoint=revocation_endpoint,
        dpop=dpop,
    )
    with json_errors(as_json):
        tokens = sign_in(
            request,
            AuthenticationRequirements(max_age=max_age, acr_values=" ".join(acr_values.split())),
            store=open_store(clock),
            # Standard output gets the JSON object only.
            screen=login_screen(clock, offer_browser=not no_browser, to_stderr=as_json),
            clock=clock,
            ca_file=ca_file,
        )
    if as_json:
        print_json(login_as_json(tokens))
        return
    granted = tokens.scope.split()
    not_granted = [scope for scope in request.scope.split() if scope not in granted]
    if not_granted:
        click.echo(f"Not granted: {' '.join(not_granted)}.")
    logged_in = "Logged in." if tokens.user is None else f"Logged in as {tokens.user}."
    # Without this scope, the command would fail.
    click.echo(f"{logged_in} Next: device devices" if "read:devices" in granted else logged_in)


@click.command()
@json_option
@expected_issuer_option
@pass_clock
def status(clock: Clock, *, as_json: bool, issuer: str | None) -> None:
    """Show the stored login.

    Makes no request: a login that was revoked elsewhere still shows.
    """
    store = open_store(clock)
    with json_errors(as_json):
        tokens = Credentials(store, clock=clock, ca_file=None, expected_issuer=issuer).stored_tokens()
        expires_at = tokens.expires_at
        if expires_at is not None and expires_at <= clock.now() and tokens.refresh_token is None:
            raise LoginNeededError(f"Your login has ended. Run: {tokens.request.command()}")
    if as_json:
        print_json(login_as_json(tokens) | {"stored_in": store.location})
        return
    key = tokens.proof_key
    for name, value in (
        ("Who", _who(tokens)),
        ("Scopes", tokens.scope or "none"),
        ("Time left", _time_left(tokens, clock.now())),
        ("Issuer", tokens.request.issuer),
        ("Client", tokens.request.client_id),
        ("Tokens in", store.location),
        *((("Bound to", f"the key {key.thumbprint}, stored with the tokens"),) if key else ()),
    ):
        click.echo(f"{name + ':':<10} {value}")


@click.command()
@expected_issuer_option
@ca_file_option
@pass_clock
def token(clock: Clock, *, issuer: str | None, ca_file: Path | None) -> None:
    """Print an access token, and nothing else.

    It is refreshed first if it expires within a minute.
    """
    credentials = Credentials(open_store(clock), clock=clock, ca_file=ca_file, expected_issuer=issuer)
    tokens = credentials.valid_tokens()
    if tokens.proof_key is not None:
        click.echo("This token is bound to a key: no API accepts it without a proof by that key.", err=True)
    click.echo(tokens.access_token)


@click.command()
@expected_issuer_option
@ca_file_option
@pass_clock
def logout(clock: Clock, *, issuer: str | None, ca_file: Path | None) -> None:
    """Revoke the login at its issuer and delete it here."""
    result = Credentials(open_store(clock), clock=clock, ca_file=ca_file, expected_issuer=issuer).log_out()
    click.echo(result.value)


def _origin(url: str) -> str:
    # Used as the issuer if the user gave only its endpoints.
    return parse_url(url)._replace(path=None, query=None, fragment=None).url


def _who(tokens: Tokens) -> str:
    if tokens.subject is None:
        return "unknown: the issuer sent no usable ID token"
    return tokens.subject if tokens.name is None else f"{tokens.name} ({tokens.subject})"


def _time_left(tokens: Tokens, now: float) -> str:
    if tokens.expires_at is None:
        return "unknown: the issuer sent no expires_in"
    if tokens.expires_at <= now:
        return "none; the next command renews the token"
    moment = from_timestamp(tokens.expires_at)
    until = "" if moment is None else f", until {format_time(moment)} UTC"
    then = "then the token is renewed" if tokens.refresh_token else "then a new login is needed"
    return f"{format_duration(tokens.expires_at - now)}{until}; {then}"
