"""One bounded GET request. Errors hold one of our own sentences and nothing from the answer."""

import contextlib
import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit

from ..config import is_secure_url

CONNECT_SECONDS = 1.0
MAX_BYTES = 256 * 1024
# RFC 9111 §5.2.2.
_MAX_AGE = re.compile(r"\bmax-age\s*=\s*\"?(\d{1,9})", re.IGNORECASE)
_NO_STORE_OR_NO_CACHE = re.compile(r"\bno-(?:store|cache)\b", re.IGNORECASE)


class FetchError(Exception):
    """A document could not be fetched."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document, and the seconds for which `Cache-Control` calls it fresh; None if it does not say."""

    body: bytes
    max_age_seconds: int | None


# Takes a URL and a time limit in seconds.
Fetch = Callable[[str, float], Fetched]


def fetch(url: str, timeout_seconds: float) -> Fetched:
    """Return the document at `url`.

    Connects within 1 s and ends within `timeout_seconds`, however slowly the answer comes. Accepts only status 200 and
    at most 256 KiB. Follows no redirect and uses no proxy. Verifies TLS with the system's certificate authorities.

    Raises FetchError. Does not limit the look-up of the host name, which the system's resolver does: callers that wait
    set a limit of their own.
    """
    if not is_secure_url(url):
        raise FetchError("the address is not https (http on loopback only)")
    deadline = time.monotonic() + timeout_seconds
    try:
        with _connect(url, deadline) as connected, _Watchdog(connected, deadline):
            return _get(connected, url)
    except TimeoutError as exc:
        raise FetchError("timed out") from exc
    except ssl.SSLError as exc:
        raise FetchError("TLS failed") from exc
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise FetchError("no answer") from exc


def _connect(url: str, deadline: float) -> socket.socket:
    """Return a connection to the host of `url`; for https, before the TLS handshake."""
    parts = urlsplit(url)
    address = (parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
    plain = socket.create_connection(address, min(CONNECT_SECONDS, _seconds_until(deadline)))
    plain.settimeout(_seconds_until(deadline))
    if parts.scheme == "http":
        return plain
    try:
        context = ssl.create_default_context()
        return context.wrap_socket(plain, server_hostname=parts.hostname, do_handshake_on_connect=False)
    except Exception:
        plain.close()
        raise


def _seconds_until(deadline: float) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining


class _Watchdog:
    """Shuts a socket down at the deadline; the socket's own timeout starts anew with each byte that it receives."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._connected = connected
        self._expired = False
        self._timer = threading.Timer(_seconds_until(deadline), self._expire)
        self._timer.daemon = True

    def _expire(self) -> None:
        self._expired = True
        # OSError: the socket was closed in the same moment.
        with contextlib.suppress(OSError):
            # The plain socket's method: SSLSocket.shutdown() drops the TLS object that the other thread reads with.
            socket.socket.shutdown(self._connected, socket.SHUT_RDWR)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        # After a shutdown the reader sees the end of the stream, which may look like a complete answer.
        if self._expired:
            raise TimeoutError from error


def _get(connected: socket.socket, url: str) -> Fetched:
    if isinstance(connected, ssl.SSLSocket):
        connected.do_handshake()
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    connection.sock = connected
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Host": parts.netloc, "Accept": "application/json, */*;q=0.5", "Connection": "close"}
    connection.request("GET", target, headers=headers)
    with connection.getresponse() as response:
        if response.status != http.HTTPStatus.OK:
            raise FetchError("the status is not 200")
        body = response.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise FetchError("longer than 256 KiB")
        if response.length:  # what is missing of Content-Length
            raise FetchError("cut off")
        return Fetched(body, _max_age_seconds(response.getheader("Cache-Control", "")))


def _max_age_seconds(cache_control: str) -> int | None:
    if _NO_STORE_OR_NO_CACHE.search(cache_control):
        return 0
    match = _MAX_AGE.search(cache_control)
    return int(match[1]) if match else None
