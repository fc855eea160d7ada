"""What a script reads: one JSON object on standard output."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from device_app.model.errors import DeviceAppError
from device_app.model.times import rfc3339, time_at
from device_app.model.tokens import Tokens

__all__ = ["login_document", "print_document", "told_as_document"]


def print_document(document: Mapping[str, Any]) -> None:
    """Print a JSON object in one line of ASCII. Raises DeviceAppError for numbers that JSON does not have."""
    try:
        line = json.dumps(document, allow_nan=False)
    except ValueError as exc:
        raise DeviceAppError("The answer holds a number that JSON does not have.") from exc
    click.echo(line)


def login_document(tokens: Tokens) -> dict[str, Any]:
    """Return what may be told of a login: everything but its tokens."""
    ends_at = None if tokens.expires_at is None else time_at(tokens.expires_at)
    return {
        "state": "logged_in",
        "sub": tokens.subject,
        "issuer": tokens.request.issuer,
        "client_id": tokens.request.client_id,
        "scopes": tokens.scope.split(),
        "expires_at": None if ends_at is None else rfc3339(ends_at),
        "renewable": tokens.refresh_token is not None,
    }


@contextlib.contextmanager
def told_as_document(as_json: bool) -> Iterator[None]:  # noqa: FBT001  # the one thing it is about
    """Where `as_json`, print the failure of the block as an object too: `state` for the script, `detail` to read."""
    try:
        yield
    except DeviceAppError as exc:
        if as_json:
            print_document({"state": exc.state, "detail": str(exc)})
        raise
    except (KeyboardInterrupt, click.Abort):
        if as_json:
            print_document({"state": "interrupted", "detail": "Interrupted."})
        raise
