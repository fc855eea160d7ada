"""The controls over HTTP, for tests in any language: `POST /_mock/<operation>` with its arguments as a JSON object."""

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
from mock_issuer.hostile.request import to_json
from mock_issuer.typed import InvalidArguments, parse_arguments

# Key of app.config. True: every request may use the controls. False: none. None: those from this machine.
ALLOWED = "MOCK_ISSUER_CONTROL"

# What reverse proxies add to a request (RFC 7239 §4, RFC 9110 §7.6.3, and the names that were usual before).
_PROXY_HEADERS = frozenset(
    {"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-server", "x-real-ip"}
)
_CONTRACT = Path(__file__).with_name("control.yaml")
# Operation: its method, and the member of the response that holds the returned value.
_OPERATIONS: dict[str, tuple[Callable[..., object], str]] = {
    "token": (Control.token, "access_token"),
    "rotate_keys": (Control.rotate_keys, "kid"),
    "withdraw_key": (Control.withdraw_key, "kid"),
    "jwks_fault": (Control.jwks_fault, ""),
    "approve": (Control.approve, ""),
    "deny": (Control.deny, ""),
    "expire": (Control.expire, ""),
    "script": (Control.script, ""),
    "users/remove": (Control.remove_user, ""),
    "reset": (Control.reset, ""),
}

blueprint = Blueprint("control", __name__, url_prefix="/_mock")


def is_loopback(host: str) -> bool:
    """Return whether a host name or an address is loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def are_allowed() -> bool:
    """Return whether the current request may use the controls."""
    allowed: bool | None = current_app.config[ALLOWED]
    if allowed is not None:
        return allowed
    # A reverse proxy on this machine connects from loopback, and may replace Host by the address that it connects to.
    if not _PROXY_HEADERS.isdisjoint(name.lower() for name, _ in request.headers):
        return False
    # DNS rebinding: a foreign page can point its own host name at loopback, and its requests are then same-origin.
    try:
        host = urlsplit(f"//{request.host}").hostname or ""
    except ValueError:
        return False
    return is_loopback(host)


@blueprint.before_request
def check_allowed() -> ResponseReturnValue | None:
    """Answer 403 unless the controls are allowed for this request."""
    if are_allowed():
        return None
    return _refuse(
        HTTPStatus.FORBIDDEN,
        "access_denied",
        "The controls answer on loopback and not through a proxy; --allow-control opens them to every caller.",
    )


@blueprint.post("/<operation>")
@blueprint.post("/users/remove", defaults={"operation": "users/remove"})
def operate(operation: str) -> ResponseReturnValue:
    """Call a method of Control with the arguments of the body."""
    if operation not in _OPERATIONS:
        return _refuse(HTTPStatus.NOT_FOUND, "not_found", f"Operations are {', '.join(_OPERATIONS)}.")
    method, member = _OPERATIONS[operation]
    result = method(Control(current_issuer()), **parse_arguments(_bound(method), _read_json()))
    return jsonify({member: result} if member else {})


@blueprint.post("/advance_clock")
def advance_clock() -> ResponseReturnValue:
    """Move the clock forward and return its new time."""
    clock = current_issuer().clock
    read = parse_arguments(clock.advance, _read_json())
    try:
        clock.advance(**read)
    except ValueError as exc:
        raise ControlError(str(exc)) from exc
    return jsonify(now=clock())


@blueprint.get("/events")
def events() -> Response:
    """Return all events, oldest first."""
    return jsonify(events=[asdict(event) for event in current_issuer().events.all()])


@blueprint.get("/hostile")
def hostile() -> Response:
    """Return the hostile requests for an API, with the acceptable answers to each."""
    rows = Control(current_issuer()).hostile(**parse_arguments(_bound(Control.hostile), request.args.to_dict()))
    return jsonify(requests=[to_json(row) for row in rows])


@blueprint.get("/openapi.yaml")
def contract() -> Response:
    """Return the OpenAPI document of the controls."""
    return send_file(_CONTRACT, mimetype="application/yaml")


@blueprint.errorhandler(InvalidArguments)
@blueprint.errorhandler(ControlError)
def refuse(error: ValueError) -> ResponseReturnValue:
    """Answer 400 with all mistakes of the request."""
    return _refuse(HTTPStatus.BAD_REQUEST, "invalid_request", str(error))


def _bound(method: Callable[..., object]) -> Callable[..., object]:
    # A bound method has no `self` in its signature: a request cannot pass it.
    return method.__get__(Control(current_issuer()))  # type: ignore[no-any-return]


def _read_json() -> object:
    # Browsers send this content type across origins only after a CORS preflight, which fails here.
    if request.mimetype != "application/json":
        raise ControlError("The body must be a JSON object, with Content-Type: application/json.")
    try:
        return request.get_json()
    except (BadRequest, RecursionError) as exc:
        raise ControlError("The body is not valid JSON.") from exc


def _refuse(status: HTTPStatus, error: str, description: str) -> ResponseReturnValue:
    return jsonify(error=error, error_description=description), status
