"""/livez and /readyz: for the platform, which restarts on the one and withholds traffic on the other."""

from typing import cast

from flask import Blueprint, current_app
from flask.typing import ResponseReturnValue

from .auth import TokenVerifier
from .devices.store import DeviceStore
from .problems import Problem

health = Blueprint("health", __name__)


@health.get("/livez")
def livez() -> ResponseReturnValue:
    """Say that the process answers; looks at nothing else, so that an outage elsewhere restarts nobody."""
    return {"status": "ok"}, {"Cache-Control": "no-store"}


@health.get("/readyz")
def readyz() -> ResponseReturnValue:
    """Say whether requests can be served: the database answers, and tokens of each issuer can be judged."""
    store = cast("DeviceStore", current_app.extensions["device_store"])
    verifier = cast("TokenVerifier", current_app.extensions["token_verifier"])
    reached = {"database": store.is_reachable(), "keys": all(verifier.readiness().values())}
    checks = {name: "ok" if good else "failed" for name, good in reached.items()}
    if not all(reached.values()):
        failed = " and ".join(name for name, good in reached.items() if not good)
        raise Problem(503, "not_ready", f"Not ready: {failed}.", extensions={"checks": checks})
    return {"status": "ok", "checks": checks}, {"Cache-Control": "no-store"}
