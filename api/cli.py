"""`device-api`: serves the API and looks after it. What it needs to know comes from the environment, as in service."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import click
from redis import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from api.auth import AuthEvents, TokenVerifier
from api.database.engine import open_engine
from api.database.schema import schema_is_current, upgrade
from api.docs.contract import ContractMissingError, contract_as_json, contract_as_yaml
from api.settings import Settings, SettingsError, load_settings
from api.shared.redis import SharedRedis
from api.shared.revocations import DEFAULT_KEPT_SECONDS, Revocation, SharedRevocations

_GUNICORN_CONFIG = Path(__file__).resolve().parents[1] / "gunicorn.conf.py"
# Ten years: beyond any token's life, and within what a clock can tell.
_MAX_KEPT_SECONDS = 10 * 366 * 86_400
_FAILED = 1
_MISUSED = 2


class _Group(click.Group):
    """Commands whose wrong settings end the process with status 2, all told together."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SettingsError as exc:
            click.echo(str(exc), err=True)
            ctx.exit(_MISUSED)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="device-api", prog_name="device-api")
def main() -> None:
    """Serve the device API, and look after it.

    All settings come from the environment; the README lists them. The exit status is 0 where all went well, 1 where
    something failed, and 2 for wrong settings or a wrong command line.
    """


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("gunicorn_options", nargs=-1, type=click.UNPROCESSED)
def serve(gunicorn_options: tuple[str, ...]) -> None:
    """Serve the API with gunicorn, set up by gunicorn.conf.py; further options go to gunicorn."""
    if not _GUNICORN_CONFIG.is_file():
        raise click.ClickException("This installation has no gunicorn.conf.py: it belongs beside the folder api.")
    load_settings()
    command = [sys.executable, "-m", "gunicorn", "-c", str(_GUNICORN_CONFIG), *gunicorn_options, "api:create_app()"]
    # In its place, so that a signal to this process reaches the server.
    os.execv(sys.executable, command)  # noqa: S606  # our own program, without a shell


@main.command()
def check() -> None:
    """Look at the settings, the issuers' keys, the database, its schema and Redis, and tell what is wrong."""
    settings = load_settings()
    click.echo("settings: ok")
    found = [*_check_keys(settings), *_check_database(settings), *_check_redis(settings)]
    for name, mistake in found:
        click.echo(f"{name}: {mistake or 'ok'}")
    if any(mistake for _, mistake in found):
        sys.exit(_FAILED)


@main.group()
def db() -> None:
    """Look after the database."""


@db.command("upgrade")
def db_upgrade() -> None:
    """Bring the database's schema up to date; safe to repeat, and while the API runs."""
    settings = load_settings()
    try:
        upgrade(settings.database_url)
    except SQLAlchemyError as exc:
        raise click.ClickException(f"The database cannot be upgraded: {_kind(exc)}.") from exc
    click.echo("The schema is up to date.")


@main.command()
@click.option("--jti", "token_id", metavar="JTI", help="Revoke the token with this jti.")
@click.option("--sub", "subject", metavar="SUB", help="Revoke all tokens that this subject was given until now.")
@click.option("--issuer", metavar="ISSUER", help="Whose token or subject it is; needed where several are trusted.")
@click.option(
    "--for",
    "kept_seconds",
    metavar="SECONDS",
    type=click.IntRange(1, _MAX_KEPT_SECONDS),
    default=DEFAULT_KEPT_SECONDS,
    show_default=True,
    help="How long to remember it: as long as the longest-lived token is good for.",
)
def revoke(token_id: str | None, subject: str | None, issuer: str | None, kept_seconds: int) -> None:
    """Have every process refuse a token, or all tokens of a subject, within 5 seconds. Needs API_REDIS_URL.

    With --sub, tokens of the next API_LEEWAY_SECONDS are refused as well: the issuer's clock may be that far ahead.
    """
    if (token_id is None) == (subject is None) or "" in (token_id, subject):
        raise click.UsageError("Give either --jti or --sub.")
    settings = load_settings()
    if settings.redis_url is None:
        raise click.UsageError("API_REDIS_URL is not set: without Redis the running processes cannot be told.")
    leeway_seconds = settings.auth.leeway_seconds
    revoked_at = time.time() + leeway_seconds
    revocation = Revocation(
        issuer=_trusted(issuer, settings),
        by="sub" if token_id is None else "jti",
        value=str(subject if token_id is None else token_id),
        revoked_at=revoked_at,
        # A token is good for the leeway longer than it says.
        kept_until=revoked_at + kept_seconds + leeway_seconds,
    )
    revocations = SharedRevocations(SharedRedis(settings.redis_url))
    try:
        revocations.add(revocation)
    except RedisError as exc:
        raise click.ClickException(f"Redis cannot be reached, and nothing was revoked: {_kind(exc)}.") from exc
    finally:
        revocations.close()
    click.echo("Revoked: every process refuses it within 5 seconds.")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="In JSON instead of YAML.")
def openapi(*, as_json: bool) -> None:
    """Print the contract."""
    try:
        click.echo(contract_as_json() if as_json else contract_as_yaml(), nl=False)
    except ContractMissingError as exc:
        raise click.ClickException(str(exc)) from exc


class _FetchFailures(AuthEvents):
    """Keeps why an issuer's keys could not be had."""

    def __init__(self) -> None:
        self.causes: dict[str, str] = {}

    def keys_fetch_failed(self, issuer: str, cause: str) -> None:
        """Keep it."""
        self.causes[issuer] = cause


def _check_keys(settings: Settings) -> list[tuple[str, str | None]]:
    failures = _FetchFailures()
    verifier = TokenVerifier(settings.auth, events=failures)
    return [
        (f"keys of {issuer}", None if ready else failures.causes.get(issuer, "no answer in time"))
        for issuer, ready in verifier.readiness().items()
    ]


def _check_database(settings: Settings) -> list[tuple[str, str | None]]:
    engine = open_engine(settings.database_url)
    try:
        engine.connect().close()
    except SQLAlchemyError as exc:
        return [("database", f"cannot be reached ({_kind(exc)})")]
    else:
        return [("database", None), ("schema", _schema_mistake(engine))]
    finally:
        engine.dispose()


def _schema_mistake(engine: Engine) -> str | None:
    try:
        return None if schema_is_current(engine) else "is behind; run device-api db upgrade"
    except SQLAlchemyError as exc:
        return f"cannot be read ({_kind(exc)})"


def _check_redis(settings: Settings) -> list[tuple[str, str | None]]:
    if settings.redis_url is None:
        return []
    redis = SharedRedis(settings.redis_url)
    try:
        redis.client.ping()
    except RedisError as exc:
        return [("redis", f"cannot be reached ({_kind(exc)})")]
    else:
        return [("redis", None)]
    finally:
        redis.close()


def _trusted(issuer: str | None, settings: Settings) -> str:
    trusted = [one.identifier for one in settings.auth.issuers]
    if issuer is None and len(trusted) > 1:
        raise click.UsageError(f"Give --issuer, one of {', '.join(trusted)}.")
    if issuer is not None and issuer not in trusted:
        raise click.UsageError(f"{issuer} is not a trusted issuer; these are: {', '.join(trusted)}.")
    return issuer or trusted[0]


def _kind(error: Exception) -> str:
    """Return what kind of error it was: its text can hold an address with a password."""
    return type(error).__name__
