"""/livez and /readyz: the platform restarts a process if /livez fails, and sends it no traffic while /readyz fails."""

from typing import Protocol, cast

from flask import Blueprint, current_app
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import SQLAlchemyError

from api.auth import TokenVerifier, open_to_all
from api.database.connections import Database
from api.database.schema import schema_is_current
from api.database.write_probe import WriteProbe
from api.problems.problem import Problem

health = Blueprint("health", __name__)


class Revocations(Protocol):
    """What /readyz asks of `app.extensions["revocations"]`."""

    def is_ready(self) -> bool:
        """Return whether this process has read the revocations; start reading them if it has not."""
        ...


@health.get("/livez")
@open_to_all
def livez() -> ResponseReturnValue:
    """Return 200. Checks no other service, so that an outage elsewhere does not restart the process."""
    return {"status": "ok"}, {"Cache-Control": "no-store"}


@health.get("/readyz")
@open_to_all
def readyz() -> ResponseReturnValue:
    """Return 200 if the database, its schema, the keys of each issuer and, with Redis, the revocations are available.

    Raises Problem (503) otherwise. A database that can be read but not written counts as unavailable. The revocations
    are available once this process has read them.
    """
    verifier = cast("TokenVerifier", current_app.extensions["token_verifier"])
    revocations = cast("Revocations | None", current_app.extensions["revocations"])
    checks = {**_database_checks(), "keys": _outcome(is_ok=all(verifier.readiness().values()))}
    if revocations is not None:
        checks["revocations"] = _outcome(is_ok=revocations.is_ready())
    failed = [_FAILURES[name, outcome] for name, outcome in checks.items() if (name, outcome) in _FAILURES]
    if failed:
        raise Problem(503, "not_ready", f"Not ready: {' and '.join(failed)}.", extensions={"checks": checks})
    return {"status": "ok", "checks": checks}, {"Cache-Control": "no-store"}


_FAILURES = {
    ("database", "failed"): "the database is unreachable",
    ("database", "not_writable"): "the database cannot be written",
    ("schema", "behind"): "the schema is out of date (run `device-api db upgrade`)",
    ("keys", "failed"): "the keys of an issuer are unavailable",
    ("revocations", "failed"): "the revoked tokens have not been read from Redis",
}


def _outcome(*, is_ok: bool) -> str:
    return "ok" if is_ok else "failed"


def _database_checks() -> dict[str, str]:
    database = cast("Database", current_app.extensions["database"])
    probe = cast("WriteProbe", current_app.extensions["database_write_probe"])
    try:
        schema = "ok" if schema_is_current(database) else "behind"
        return {"database": "ok" if probe.is_writable() else "not_writable", "schema": schema}
    except SQLAlchemyError:
        return {"database": "failed", "schema": "unknown"}
