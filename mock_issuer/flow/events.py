"""The event log, with Auth0's event codes, for `/logs` and for tests."""

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

# Every event code and its meaning; `jwks` is not one of Auth0's. `authorization_pending` and `slow_down` are part of
# every flow and not logged.
EVENT_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "fdeaz": "Failed device authorization request",
        "fdeac": "Failed device activation",
        "fdecc": "User canceled the device confirmation",
        "fede": "Failed exchange of a device code for an access token",
        "sede": "Exchanged a device code for an access token",
        "feacft": "Failed exchange of an authorization code for an access token",
        "seacft": "Exchanged an authorization code for an access token",
        "fertft": "Failed exchange of a refresh token for an access token",
        "sertft": "Exchanged a refresh token for an access token",
        "ferrt": "Reused a rotated refresh token",
        "feccft": "Failed exchange of client credentials for an access token",
        "seccft": "Exchanged client credentials for an access token",
        "srrt": "Revoked a refresh token",
        "s": "Logged in",
        "f": "Failed authorization request",
        "ssa": "Logged in silently (prompt=none)",
        "fsa": "Failed to log in silently (prompt=none)",
        "fu": "Failed log-in: unknown user name",
        "fp": "Failed log-in: wrong password",
        "slo": "Logged out",
        "jwks": "Fetched the key set",
    }
)

_MAX_EVENTS = 1_000
_MAX_TEXT_LENGTH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A logged event. A field that does not apply is empty; no field holds a code, a token or a password.

    Args:
        type: one of EVENT_NAMES.
        date: RFC 3339 in UTC.
        description: why it failed; of `jwks`, the fault that a test has set.
        client_id: the client id in the request, unverified.
        client_name: the name of the configured client with this id.
        ip: the IP address that the request came from.
        user_id: the user's `sub`.
        user_name: the user's `name`.
        audience: the requested audience.
        scope: the requested scopes.
    """

    type: str
    date: str
    description: str = ""
    client_id: str = ""
    client_name: str = ""
    ip: str = ""
    user_id: str = ""
    user_name: str = ""
    audience: str = ""
    scope: str = ""


class EventLog:
    """The newest 1,000 events. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: deque[Event] = deque(maxlen=_MAX_EVENTS)

    def add(self, code: str, *, now: float, **details: str) -> None:
        """Add an event.

        Args:
            code: one of EVENT_NAMES.
            now: seconds since the epoch.
            details: other fields of Event, each cut to 200 characters.
        """
        cut = {name: text[:_MAX_TEXT_LENGTH] for name, text in details.items()}
        date = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        with self._lock:
            self._events.append(Event(type=code, date=date, **cut))

    def all(self) -> tuple[Event, ...]:
        """Return the events, oldest first."""
        with self._lock:
            return tuple(self._events)

    def clear(self) -> None:
        """Delete all events."""
        with self._lock:
            self._events.clear()
