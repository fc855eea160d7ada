"""/livez and /readyz: the platform restarts a process if /livez fails, and sends it no traffic while /readyz fails."""

from typing import cast

from flask import Blueprint, current_app
from flask.typing import ResponseReturnValue
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from api.auth import TokenVerifier, open_to_all
from api.database.schema import schema_is_current
from api.problems.problem import Problem

health = Blueprint("health", __name__)


@health.get("/livez")
@open_to_all
def livez() -> ResponseReturnValue:
    """Return 200. Checks no other service, so that an outage elsewhere does not restart the process."""
    return {"status": "ok"}, {"Cache-Control": "no-store"}


@health.get("/readyz")
@open_to_all
def readyz() -> ResponseReturnValue:
    """Return 200 if the database answers, its schema is current, and the keys of each issuer are available.

    Raises Problem (503) otherwise.
    """
    verifier = cast("TokenVerifier", current_app.extensions["token_verifier"])
    checks = {**_database_checks(), "keys": "ok" if all(verifier.readiness().values()) else "failed"}
    failed = [_FAILURES[name, outcome] for name, outcome in checks.items() if (name, outcome) in _FAILURES]
    if failed:
        raise Problem(503, "not_ready", f"Not ready: {' and '.join(failed)}.", extensions={"checks": checks})
    return {"status": "ok", "checks": checks}, {"Cache-Control": "no-store"}


_FAILURES = {
    ("database", "failed"): "the database is unreachable",
    ("schema", "behind"): "the schema is out of date (run `device-api db upgrade`)",
    ("keys", "failed"): "the keys of an issuer are unavailable",
}


def _database_checks() -> dict[str, str]:
    engine = cast("Engine", current_app.extensions["database"])
    try:
        return {"database": "ok", "schema": "ok" if schema_is_current(engine) else "behind"}
    except SQLAlchemyError:
        return {"database": "failed", "schema": "unknown"}
