"""The command `device-api`. Its settings come from the environment, like those of the server."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import click
from redis import RedisError
from sqlalchemy.exc import SQLAlchemyError

from api import auth_copy
from api.app import create_app
from api.auth import AuthEvents, TokenVerifier, __version__
from api.database.connections import Database
from api.database.engine import open_database
from api.database.failure import described
from api.database.schema import SchemaLockedError, schema_is_current, upgrade
from api.docs.contract import ContractMissingError, contract_as_json, contract_as_yaml
from api.installed_files import path_of
from api.settings import Settings, SettingsError, load_all_settings, load_settings
from api.shared.redis import SharedRedis
from api.shared.revocations import DEFAULT_KEPT_SECONDS, Revocation, SharedRevocations

_GUNICORN_CONFIG = path_of("gunicorn.conf.py")
# Ten years: longer than any token's lifetime.
_MAX_KEPT_SECONDS = 10 * 366 * 86_400
_FAILED = 1
_USAGE_ERROR = 2


class _Group(click.Group):
    """A group that reports invalid settings, all at once, and exits with status 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SettingsError as exc:
            click.echo(str(exc), err=True)
            ctx.exit(_USAGE_ERROR)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="device-api")
def main() -> None:
    """Run and administer the device API.

    All settings come from environment variables; see docs/settings.md. Exit status: 0 for success, 1 for a failure,
    2 for invalid settings or a usage error.
    """


@main.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--server",
    type=click.Choice(["gunicorn", "granian"]),
    default="gunicorn",
    show_default=True,
    help="granian is faster, but needs a proxy in front that buffers requests; see docs/operation.md.",
)
@click.argument("gunicorn_options", nargs=-1, type=click.UNPROCESSED)
def serve(server: str, gunicorn_options: tuple[str, ...]) -> None:
    """Run the API.

    With gunicorn, the configuration is gunicorn.conf.py, and further options are passed to gunicorn.
    """
    if server == "granian":
        if gunicorn_options:
            raise click.UsageError("granian takes no further options.")
        _serve_with_granian()
        return
    if not _GUNICORN_CONFIG.is_file():
        raise click.ClickException("gunicorn.conf.py is not installed; copy it next to the folder api.")
    load_all_settings()
    # gunicorn reads it before our configuration, and fails with a traceback unless it is a number.
    if os.environ.get("WEB_CONCURRENCY") == "":
        del os.environ["WEB_CONCURRENCY"]
    command = [sys.executable, "-m", "gunicorn", "-c", str(_GUNICORN_CONFIG), *gunicorn_options, "api:create_app()"]
    # exec replaces this process, so that signals to its id reach gunicorn.
    os.execv(sys.executable, command)  # noqa: S606  # a fixed program, without a shell


def _serve_with_granian() -> None:
    try:
        # Here, because granian is an extra.
        from api.operations.server import granian  # noqa: PLC0415
    except ImportError as exc:
        raise click.ClickException("granian is not installed: install device-api[granian].") from exc
    try:
        granian.serve(create_app)
    except granian.AddressError as exc:
        raise click.ClickException(f"The API cannot listen on {exc}.") from exc
    except SettingsError as exc:
        # As gunicorn.conf.py.
        click.echo(f"The device API cannot start. {exc}", err=True)
        sys.exit(_USAGE_ERROR)


@main.command()
def check() -> None:
    """Check settings, keys, database and Redis."""
    settings, _ = load_all_settings()
    click.echo("settings: ok")
    results = [*_check_keys(settings), *_check_database(settings), *_check_redis(settings)]
    for name, failure in results:
        click.echo(f"{name}: {failure or 'ok'}")
    if any(failure for _, failure in results):
        sys.exit(_FAILED)


@main.group()
def db() -> None:
    """Administer the database."""


@db.command("upgrade")
def db_upgrade() -> None:
    """Migrate the database to the current schema.

    Safe to repeat, and while the API runs. If another transaction holds a lock that is needed, tries again for about
    two minutes.
    """
    settings = load_settings()
    try:
        upgrade(settings.database_url, on_wait=lambda sentence: click.echo(sentence, err=True))
    except SchemaLockedError as exc:
        raise click.ClickException(f"The database was not upgraded: {exc}. Nothing was changed; run it again.") from exc
    except SQLAlchemyError as exc:
        raise click.ClickException(f"The database was not upgraded: {described(settings.database_url, exc)}.") from exc
    click.echo("The schema is up to date.")


@main.command()
@click.option("--jti", "token_id", metavar="JTI", help="Revoke the token with this jti.")
@click.option("--sub", "subject", metavar="SUB", help="Revoke all tokens that this subject was issued until now.")
@click.option("--issuer", metavar="ISSUER", help="The issuer of the token or subject; required if several are trusted.")
@click.option(
    "--for",
    "kept_seconds",
    metavar="SECONDS",
    type=click.IntRange(1, _MAX_KEPT_SECONDS),
    default=DEFAULT_KEPT_SECONDS,
    show_default=True,
    help="How long to keep the revocation: the lifetime of the longest-lived token.",
)
def revoke(token_id: str | None, subject: str | None, issuer: str | None, kept_seconds: int) -> None:
    """Revoke a token, or all tokens of a subject.

    All processes refuse them within 5 seconds. Requires API_REDIS_URL.

    With --sub, tokens issued within the next API_LEEWAY_SECONDS are revoked too: the issuer's clock may be that far
    ahead.
    """
    if (token_id is None) == (subject is None) or "" in (token_id, subject):
        raise click.UsageError("Give either --jti or --sub.")
    settings = load_settings()
    if settings.redis_url is None:
        raise click.UsageError("API_REDIS_URL is not set: the running processes receive revocations through Redis.")
    leeway_seconds = settings.auth.leeway_seconds
    revoked_at = time.time() + leeway_seconds
    revocation = Revocation(
        issuer=_trusted_issuer(issuer, settings),
        by="sub" if token_id is None else "jti",
        value=str(subject if token_id is None else token_id),
        revoked_at=revoked_at,
        # A token is accepted for the leeway after its `exp`.
        kept_until=revoked_at + kept_seconds + leeway_seconds,
    )
    revocations = SharedRevocations(SharedRedis(settings.redis_url))
    try:
        revocations.add(revocation)
    except RedisError as exc:
        raise click.ClickException(f"Redis cannot be reached, so nothing was revoked: {_type_name(exc)}.") from exc
    finally:
        revocations.close()
    click.echo("Revoked. All processes refuse it within 5 seconds.")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of YAML.")
def openapi(*, as_json: bool) -> None:
    """Print the OpenAPI document."""
    try:
        click.echo(contract_as_json() if as_json else contract_as_yaml(), nl=False)
    except ContractMissingError as exc:
        raise click.ClickException(str(exc)) from exc


@main.group()
def auth() -> None:
    """Copy the folder api/auth into a service, and compare a copy with it."""


@auth.command("copy")
@click.argument("directory", type=click.Path(path_type=Path))
def auth_copy_to(directory: Path) -> None:
    """Copy the folder api/auth to DIRECTORY, which must be new or empty, in a directory that exists.

    The last part of DIRECTORY is the name of your package, such as your_service/auth. The copy's copied_from.json holds
    the version and the SHA-256 digest of each file, for `device-api auth diff`.
    """
    try:
        auth_copy.copy_to(directory)
    except auth_copy.CopyError as exc:
        raise click.UsageError(str(exc)) from exc
    except OSError as exc:
        raise click.ClickException(f"Nothing was copied: {exc.strerror}.") from exc
    click.echo(f"Copied version {__version__} to {auth_copy.shown(directory)}. Its README.md says how to use it.")


@auth.command("diff")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--text", "with_text", is_flag=True, help="Also print a unified diff, from the folder here to the copy.")
def auth_diff(directory: Path, *, with_text: bool) -> None:
    """Compare the copy of api/auth in DIRECTORY with the folder of this installation.

    Says whether the copy is the same, older (with the changes since its version), from another state of the same
    development version, newer, or edited (with the names of the files). Runs none of the copy's code.

    Exit status: 0 if the files are the same, 1 if they differ, 2 if they cannot be compared or for a usage error.
    """
    try:
        comparison = auth_copy.compare(directory)
        lines = _described(comparison, auth_copy.shown(directory))
        if with_text:
            lines += ["", *auth_copy.unified_diff(directory)]
    except auth_copy.CopyError as exc:
        raise click.UsageError(str(exc)) from exc
    except OSError as exc:
        raise click.UsageError(f"The copy cannot be read: {exc.strerror}.") from exc
    for line in lines:
        click.echo(line)
    if not comparison.is_same:
        sys.exit(_FAILED)


def _described(comparison: auth_copy.Comparison, directory: str) -> list[str]:
    """Return what `device-api auth diff` says."""
    if comparison.is_same:
        return [f"{directory} is the same as version {__version__}."]
    lines = []
    if comparison.is_newer:
        lines.append(f"{directory} is newer: version {comparison.version}; here is {__version__}. Update device-api.")
    elif comparison.is_of_another_state:
        if comparison.version == __version__:
            # Which of the two is older cannot be told.
            lines += [f"{directory} was made from another state of {__version__}. Changes of this version:", ""]
        else:
            version = f"version {comparison.version or 'unknown'}"
            lines += [f"{directory} is older: {version}; here is {__version__}. Changes since then:", ""]
        lines += comparison.changes.splitlines()
        lines.append("")
    changes = {"changed": comparison.changed, "added": comparison.added, "removed": comparison.removed}
    files = [f"  {kind:8} {auth_copy.printable(name)}" for kind, names in changes.items() for name in names]
    if not comparison.tells_edits:
        lines += [
            f"{directory} has no {auth_copy.MANIFEST}, so edits cannot be told from changes between versions.",
            "It differs from the folder here in:",
            *files,
        ]
    elif files:
        lines += [f"{directory} was edited:", *files]
    else:
        lines.append(f"{directory} was not edited.")
    return lines


class _FetchFailures(AuthEvents):
    """Record why the fetch of an issuer's keys failed."""

    def __init__(self) -> None:
        self.causes: dict[str, str] = {}

    def keys_fetch_failed(self, issuer: str, cause: str) -> None:
        """Record the cause."""
        # No other cause ends so: what comes from metadata has no spaces.
        is_slash = cause.endswith((" (with a final slash)", " (without a final slash)"))
        remedy = "; set API_ISSUERS, or the identifier in API_ISSUERS_FILE, to exactly that" if is_slash else ""
        self.causes[issuer] = f"{cause}{remedy}"

    def key_set_unusable(self, issuer: str, *, confirmed: bool) -> None:  # noqa: ARG002  # the first fetch never is
        """Record that the issuer publishes no usable key."""
        self.causes[issuer] = "no usable key"

    def introspection_failed(self, issuer: str, cause: str) -> None:
        """Record why the issuer cannot be asked about tokens."""
        self.causes[issuer] = f"introspection: {cause}"


def _check_keys(settings: Settings) -> list[tuple[str, str | None]]:
    failures = _FetchFailures()
    verifier = TokenVerifier(settings.auth, events=failures, introspection=settings.introspection)
    return [
        (f"keys of {issuer}", None if ready else failures.causes.get(issuer, "no answer within the time limit"))
        for issuer, ready in verifier.readiness().items()
    ]


def _check_database(settings: Settings) -> list[tuple[str, str | None]]:
    database = open_database(settings.database_url)
    try:
        with database.connect():
            pass
    except SQLAlchemyError as exc:
        return [("database", f"cannot be reached: {described(settings.database_url, exc)}")]
    else:
        return [("database", None), ("schema", _schema_failure(settings.database_url, database))]
    finally:
        database.close()


def _schema_failure(database_url: str, database: Database) -> str | None:
    try:
        return None if schema_is_current(database) else "is out of date; run device-api db upgrade"
    except SQLAlchemyError as exc:
        return f"cannot be read: {described(database_url, exc)}"


def _check_redis(settings: Settings) -> list[tuple[str, str | None]]:
    if settings.redis_url is None:
        return []
    redis = SharedRedis(settings.redis_url)
    try:
        redis.client.ping()
    except RedisError as exc:
        return [("redis", f"cannot be reached ({_type_name(exc)})")]
    else:
        return [("redis", None)]
    finally:
        redis.close()


def _trusted_issuer(issuer: str | None, settings: Settings) -> str:
    trusted = [one.identifier for one in settings.auth.issuers]
    if issuer is None and len(trusted) > 1:
        raise click.UsageError(f"Several issuers are trusted. Give --issuer, one of: {', '.join(trusted)}.")
    if issuer is not None and issuer not in trusted:
        raise click.UsageError(f"{issuer} is not a trusted issuer. Give one of: {', '.join(trusted)}.")
    return issuer or trusted[0]


def _type_name(error: Exception) -> str:
    """Return the error's type only: its text can contain a URL with a password."""
    return type(error).__name__
