"""/livez and /readyz: for the platform, which restarts on the one and withholds traffic on the other."""

from typing import cast

from flask import Blueprint, current_app
from flask.typing import ResponseReturnValue
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from api.auth import TokenVerifier
from api.database.schema import schema_is_current
from api.problems.problem import Problem

health = Blueprint("health", __name__)


@health.get("/livez")
def livez() -> ResponseReturnValue:
    """Say that the process answers; looks at nothing else, so that an outage elsewhere restarts nobody."""
    return {"status": "ok"}, {"Cache-Control": "no-store"}


@health.get("/readyz")
def readyz() -> ResponseReturnValue:
    """Say whether requests can be served: the database is there and current, and each issuer's tokens can be judged."""
    verifier = cast("TokenVerifier", current_app.extensions["token_verifier"])
    checks = {**_database_checks(), "keys": "ok" if all(verifier.readiness().values()) else "failed"}
    failed = [_FAILURES[name, outcome] for name, outcome in checks.items() if (name, outcome) in _FAILURES]
    if failed:
        raise Problem(503, "not_ready", f"Not ready: {' and '.join(failed)}.", extensions={"checks": checks})
    return {"status": "ok", "checks": checks}, {"Cache-Control": "no-store"}


_FAILURES = {
    ("database", "failed"): "the database cannot be reached",
    ("schema", "behind"): "the schema is behind, and `device-api db upgrade` brings it up to date",
    ("keys", "failed"): "the keys of an issuer cannot be had",
}


def _database_checks() -> dict[str, str]:
    engine = cast("Engine", current_app.extensions["database"])
    try:
        return {"database": "ok", "schema": "ok" if schema_is_current(engine) else "behind"}
    except SQLAlchemyError:
        return {"database": "failed", "schema": "unknown"}
