"""The output of --json: one JSON object on standard output."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from device_app.model.errors import DeviceAppError
from device_app.model.times import format_rfc3339, from_timestamp
from device_app.model.tokens import Tokens

__all__ = ["json_errors", "login_as_json", "print_json"]


def print_json(members: Mapping[str, Any]) -> None:
    """Print a JSON object in one line of ASCII. Raises DeviceAppError if it holds NaN or infinity."""
    try:
        line = json.dumps(members, allow_nan=False)
    except ValueError as exc:
        raise DeviceAppError("The API's response holds a number that JSON does not allow.") from exc
    click.echo(line)


def login_as_json(tokens: Tokens) -> dict[str, Any]:
    """Return the JSON object that describes a login, without its tokens."""
    bound = {} if tokens.proof_key is None else {"key_thumbprint": tokens.proof_key.thumbprint}
    expires_at = None if tokens.expires_at is None else from_timestamp(tokens.expires_at)
    return {
        "state": "logged_in",
        "sub": tokens.subject,
        "name": tokens.name,
        "issuer": tokens.request.issuer,
        "client_id": tokens.request.client_id,
        "scopes": tokens.scope.split(),
        "expires_at": None if expires_at is None else format_rfc3339(expires_at),
        "renewable": tokens.refresh_token is not None,
    } | bound


@contextlib.contextmanager
def json_errors(enabled: bool) -> Iterator[None]:  # noqa: FBT001  # the only argument
    """Print a DeviceAppError or an interruption of the `with` block as a JSON object too, if `enabled`; re-raise it."""
    try:
        yield
    except DeviceAppError as exc:
        if enabled:
            print_json({"state": exc.state, "detail": str(exc)})
        raise
    except (KeyboardInterrupt, click.Abort):
        if enabled:
            print_json({"state": "interrupted", "detail": "Interrupted."})
        raise
