"""The event log, as a page and as JSON, and the front page with links to all pages."""

from dataclasses import asdict

from flask import Blueprint, Response, jsonify, render_template, request
from flask.typing import ResponseReturnValue

from mock_issuer.flow.events import EVENT_NAMES
from mock_issuer.flow.issuer import current_issuer

blueprint = Blueprint("logs", __name__)


@blueprint.get("/")
def front() -> ResponseReturnValue:
    """Show links to all pages."""
    return render_template("front.html", config=current_issuer().config)


@blueprint.get("/logs")
def logs() -> ResponseReturnValue:
    """Show all events, newest first, as HTML or JSON, whichever `Accept` prefers (RFC 9110 §12.5.1)."""
    events = tuple(reversed(current_issuer().events.all()))
    if request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json":
        response = jsonify([asdict(event) for event in events])
    else:
        response = Response(render_template("logs.html", events=events, names=EVENT_NAMES), mimetype="text/html")
    response.vary.add("Accept")
    return response
