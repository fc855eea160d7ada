"""The controls over HTTP, for tests in any language: `POST /_mock/<operation>` with a JSON object of its arguments."""

import ipaddress
from collections.abc import Callable
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from flask import Blueprint, Response, current_app, jsonify, request, send_file
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest

from mock_issuer.control.control import Control, ControlError
from mock_issuer.flow.issuer import current_issuer
from mock_issuer.hostile import as_json
from mock_issuer.typed import InvalidArguments, parse_arguments

# Whether an application offers the controls: to everybody, to nobody, or (None) to requests for loopback.
ALLOWED = "MOCK_ISSUER_CONTROL"

_CONTRACT = Path(__file__).with_name("control.yaml")
# Each operation, and the member of its answer that carries what it returns.
_OPERATIONS: dict[str, tuple[Callable[..., object], str]] = {
    "token": (Control.token, "access_token"),
    "rotate_keys": (Control.rotate_keys, "kid"),
    "withdraw_key": (Control.withdraw_key, "kid"),
    "jwks_fault": (Control.jwks_fault, ""),
    "approve": (Control.approve, ""),
    "deny": (Control.deny, ""),
    "expire": (Control.expire, ""),
    "script": (Control.script, ""),
    "reset": (Control.reset, ""),
}

blueprint = Blueprint("control", __name__, url_prefix="/_mock")


def is_loopback(host: str) -> bool:
    """Tell whether a name or an address leads to nobody but this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def are_open() -> bool:
    """Tell whether the current request may use the controls."""
    allowed: bool | None = current_app.config[ALLOWED]
    if allowed is not None:
        return allowed
    # A stranger's page whose name was made to lead to loopback (DNS rebinding) is of this origin to its browser.
    try:
        host = urlsplit(f"//{request.host}").hostname or ""
    except ValueError:
        return False
    return is_loopback(host) or host == urlsplit(current_issuer().config.issuer).hostname


@blueprint.before_request
def check_allowed() -> ResponseReturnValue | None:
    """Refuse everything where strangers could ask."""
    if are_open():
        return None
    return _refuse(
        HTTPStatus.FORBIDDEN,
        "access_denied",
        "The controls are for loopback and its names; start the issuer with --allow-control to have them elsewhere.",
    )


@blueprint.post("/<operation>")
def operate(operation: str) -> ResponseReturnValue:
    """Do what a method of Control does."""
    if operation not in _OPERATIONS:
        return _refuse(HTTPStatus.NOT_FOUND, "not_found", f"Operations are {', '.join(_OPERATIONS)}.")
    method, member = _OPERATIONS[operation]
    result = method(Control(current_issuer()), **parse_arguments(_bound(method), _read_json()))
    return jsonify({member: result} if member else {})


@blueprint.post("/advance_clock")
def advance_clock() -> ResponseReturnValue:
    """Move the clock forward, and tell what it shows then."""
    clock = current_issuer().clock
    given = parse_arguments(clock.advance, _read_json())
    try:
        clock.advance(**given)
    except ValueError as exc:
        raise ControlError(str(exc)) from exc
    return jsonify(now=clock())


@blueprint.get("/events")
def events() -> Response:
    """Tell what happened so far."""
    return jsonify(events=[asdict(event) for event in current_issuer().events.all()])


@blueprint.get("/hostile")
def hostile() -> Response:
    """Give credentials to try an API with, each with the answer that is right."""
    found = Control(current_issuer()).hostile(**parse_arguments(_bound(Control.hostile), request.args.to_dict()))
    return jsonify(requests=[as_json(each) for each in found])


@blueprint.get("/openapi.yaml")
def contract() -> Response:
    """Describe all this (OpenAPI)."""
    return send_file(_CONTRACT, mimetype="application/yaml")


@blueprint.errorhandler(InvalidArguments)
@blueprint.errorhandler(ControlError)
def refuse(error: ValueError) -> ResponseReturnValue:
    """Tell what is wrong with a request, all of it."""
    return _refuse(HTTPStatus.BAD_REQUEST, "invalid_request", str(error))


def _bound(method: Callable[..., object]) -> Callable[..., object]:
    # Without `self`, which no request may name.
    return method.__get__(Control(current_issuer()))  # type: ignore[no-any-return]


def _read_json() -> object:
    # A browser sends this content type to another site only after asking, and is told no.
    if request.mimetype != "application/json":
        raise ControlError("The body is an object as application/json.")
    try:
        return request.get_json()
    except (BadRequest, RecursionError) as exc:
        raise ControlError("The body is not JSON.") from exc


def _refuse(status: HTTPStatus, error: str, description: str) -> ResponseReturnValue:
    return jsonify(error=error, error_description=description), status
