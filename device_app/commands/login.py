"""The commands about the login itself."""

import os
from pathlib import Path

import click
from urllib3.util import parse_url

from device_app.commands.json_output import login_document, print_document, told_as_document
from device_app.commands.options import Address, as_json, ca_file, logged_in_at, open_store, option, with_clock
from device_app.commands.sign_in import sign_in
from device_app.login.credentials import Credentials
from device_app.model.errors import LoginNeededError
from device_app.model.step_up import AuthenticationRequirements
from device_app.model.times import Clock, in_words, time_at, time_text
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
@option("--issuer", type=Address(), show_default=DEFAULT_ISSUER, help="Who logs you in; announces its endpoints.")
@option("--device-authorization-endpoint", type=Address(), help="Where to get a code, if the issuer announces nothing.")
@option("--token-endpoint", type=Address(), help="Where to get tokens, if the issuer announces nothing.")
@option("--revocation-endpoint", type=Address(), help="Where to revoke tokens, if the issuer announces nothing.")
@option("--client-id", default=DEFAULT_CLIENT_ID, help="This application's name at the issuer.")
@option(
    "--audience",
    # An empty variable counts, which click takes for none.
    default=lambda: os.environ.get("DEVICE_AUDIENCE", DEFAULT_AUDIENCE),
    show_default=DEFAULT_AUDIENCE,
    help="The API that the token is for; empty for none.",
)
@option("--scope", default=DEFAULT_SCOPE, help="What to ask for, separated by spaces.")
@click.option("--max-age", type=click.IntRange(min=0), help="How many seconds ago you may have logged in, at most.")
@click.option("--acr-values", default="", help="How strongly to log in, in the issuer's own names.")
@click.option("--no-browser", is_flag=True, help="Do not offer to open a browser on this machine.")
@as_json
@ca_file
@with_clock
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
    no_browser: bool,
    as_json: bool,
    ca_file: Path | None,
) -> None:
    """Log in by approving a code in a browser, on this or another machine."""
    if (device_authorization_endpoint is None) != (token_endpoint is None) or (
        revocation_endpoint and not token_endpoint
    ):
        raise click.UsageError(
            "Where the issuer announces no endpoints, --device-authorization-endpoint and --token-endpoint are needed "
            "together; --revocation-endpoint may be added."
        )
    request = LoginRequest(
        issuer=issuer or (_origin(token_endpoint) if token_endpoint else DEFAULT_ISSUER),
        client_id=client_id,
        audience=audience,
        scope=" ".join(scope.split()),
        device_authorization_endpoint=device_authorization_endpoint,
        token_endpoint=token_endpoint,
        revocation_endpoint=revocation_endpoint,
    )
    with told_as_document(as_json):
        tokens = sign_in(
            request,
            AuthenticationRequirements(max_age=max_age, acr_values=" ".join(acr_values.split())),
            store=open_store(clock),
            # Standard output is the document's alone.
            screen=login_screen(clock, offer_browser=not no_browser, to_stderr=as_json),
            clock=clock,
            ca_file=ca_file,
        )
    if as_json:
        print_document(login_document(tokens))
        return
    click.echo("Logged in." if tokens.subject is None else f"Logged in as {tokens.subject}.")
    refused = [word for word in request.scope.split() if word not in tokens.scope.split()]
    if refused:
        click.echo(f"Not granted: {' '.join(refused)}.")


@click.command()
@as_json
@logged_in_at
@with_clock
def status(clock: Clock, *, as_json: bool, issuer: str | None) -> None:
    """Tell who is logged in, and for how long. Asks nobody: a login that was revoked elsewhere still shows."""
    store = open_store(clock)
    with told_as_document(as_json):
        tokens = Credentials(store, clock=clock, ca_file=None, expected_issuer=issuer).stored()
        ends_at = tokens.expires_at
        if ends_at is not None and ends_at <= clock.now() and tokens.refresh_token is None:
            raise LoginNeededError(f"Your login has ended. Run: {tokens.request.command()}")
    if as_json:
        print_document(login_document(tokens) | {"stored_in": store.place})
        return
    for name, value in (
        ("Who", tokens.subject or "unknown: the issuer did not say"),
        ("Scopes", tokens.scope or "none"),
        ("Time left", _time_left(tokens, clock.now())),
        ("Issuer", tokens.request.issuer),
        ("Client", tokens.request.client_id),
        ("Tokens in", store.place),
    ):
        click.echo(f"{name + ':':<10} {value}")


@click.command()
@logged_in_at
@ca_file
@with_clock
def token(clock: Clock, *, issuer: str | None, ca_file: Path | None) -> None:
    """Print an access token that is good for at least a minute, where the issuer gives such, and nothing else."""
    credentials = Credentials(open_store(clock), clock=clock, ca_file=ca_file, expected_issuer=issuer)
    click.echo(credentials.current().access_token)


@click.command()
@logged_in_at
@ca_file
@with_clock
def logout(clock: Clock, *, issuer: str | None, ca_file: Path | None) -> None:
    """Revoke the login at its issuer and forget it here."""
    outcome = Credentials(open_store(clock), clock=clock, ca_file=ca_file, expected_issuer=issuer).log_out()
    click.echo(outcome.value)


def _origin(address: str) -> str:
    # The best name for an issuer that has told none.
    return parse_url(address)._replace(path=None, query=None, fragment=None).url


def _time_left(tokens: Tokens, now: float) -> str:
    if tokens.expires_at is None:
        return "unknown: the issuer did not say"
    if tokens.expires_at <= now:
        return "none; the next command renews the token"
    ends_at = time_at(tokens.expires_at)
    until = "" if ends_at is None else f", until {time_text(ends_at)} UTC"
    then = "then the token is renewed" if tokens.refresh_token else "then a new login is needed"
    return f"{in_words(tokens.expires_at - now)}{until}; {then}"
