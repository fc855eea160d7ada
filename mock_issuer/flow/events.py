"""The log of what happened, with Auth0's event codes: for `/logs` and for tests."""

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

# Each code with what it means. Polls that are told to wait are part of every flow, and no event.
EVENT_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "fdeaz": "Failed device authorization request",
        "fdeac": "Failed device activation",
        "fdecc": "User canceled the device confirmation",
        "fede": "Failed exchange of a device code for an access token",
        "sede": "Exchanged a device code for an access token",
        "fertft": "Failed exchange of a refresh token for an access token",
        "sertft": "Exchanged a refresh token for an access token",
        "ferrt": "Reused a rotated refresh token",
        "feccft": "Failed exchange of client credentials for an access token",
        "seccft": "Exchanged client credentials for an access token",
        "srrt": "Revoked a refresh token",
        "s": "Logged in",
        "fu": "Failed log-in: unknown user name",
        "fp": "Failed log-in: wrong password",
        "slo": "Logged out",
    }
)

_REMEMBERED = 1_000
_LONGEST_TEXT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. Empty text stands for what does not apply; no code and no token is ever in one.

    Args:
        type: one of EVENT_NAMES.
        date: when, RFC 3339 in UTC.
        description: why it failed.
        client_id: the app, as it called itself; `client_name` only where it is a known one.
        ip: the network address that the request came from.
        user_id: the user's `sub`, beside the `user_name`.
        audience: the API that was asked for.
        scope: what was asked for there.
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
    """The newest thousand events. Safe to call from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: deque[Event] = deque(maxlen=_REMEMBERED)

    def add(self, code: str, *, now: float, **details: str) -> None:
        """Note an event at `now`, seconds since the epoch; `details` are fields of Event, cut at 200 characters."""
        cut = {name: text[:_LONGEST_TEXT] for name, text in details.items()}
        date = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        with self._lock:
            self._events.append(Event(type=code, date=date, **cut))

    def all(self) -> tuple[Event, ...]:
        """Return all that are remembered, the oldest first."""
        with self._lock:
            return tuple(self._events)

    def clear(self) -> None:
        """Forget them all."""
        with self._lock:
            self._events.clear()
