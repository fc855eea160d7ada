"""What an issuer publishes, fetched: one bounded GET, and the discovery of the key set's address."""

import contextlib
import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit, urlunsplit

from .config import fetchable
from .strict_json import parse_object

CONNECT_SECONDS = 1.0
MAX_BYTES = 256 * 1024
_DIRECTIVE = re.compile(r"\bmax-age\s*=\s*\"?(\d{1,9})", re.IGNORECASE)
_NOT_TO_BE_REUSED = re.compile(r"\bno-(?:store|cache)\b", re.IGNORECASE)


class FetchError(Exception):
    """A document that could not be had; the message is one of ours and holds nothing from the answer."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document, and for how long its server calls it fresh (None where it does not say)."""

    body: bytes
    max_age_seconds: int | None


Fetch = Callable[[str, float], Fetched]


def fetch(url: str, timeout_seconds: float) -> Fetched:
    """Return the document at `url`.

    Connects within 1 s and ends within `timeout_seconds`, however slowly the answer drips. Follows no redirect and
    takes nothing but status 200, of at most 256 KiB. TLS is verified against the system's authorities. Uses no proxy.

    Raises FetchError. Does not bound the look-up of the host's name, which is the system resolver's: whoever waits for
    this sets a limit of their own.
    """
    if not fetchable(url):
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
    """Return a connection to the host of `url`; with https, one whose handshake is still to be made."""
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


class _Watchdog:
    """Ends an exchange at its deadline: a socket's own time limit starts anew with each byte, this one does not."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._connected = connected
        self._expired = False
        self._timer = threading.Timer(_seconds_until(deadline), self._expire)
        self._timer.daemon = True

    def _expire(self) -> None:
        self._expired = True
        # OSError: it was closed in the same moment, which is all we want.
        with contextlib.suppress(OSError):
            # The plain socket's method: SSLSocket's own would take the TLS state away under the thread that reads.
            socket.socket.shutdown(self._connected, socket.SHUT_RDWR)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        # To the reader, the end that the watchdog made looks like an end that the server made, even a regular one.
        if self._expired:
            raise TimeoutError from error


def _seconds_until(deadline: float) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining


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
        if response.length:
            raise FetchError("cut off")
        return Fetched(body, _max_age(response.getheader("Cache-Control", "")))


def _max_age(cache_control: str) -> int | None:
    if _NOT_TO_BE_REUSED.search(cache_control):
        return 0
    match = _DIRECTIVE.search(cache_control)
    return int(match[1]) if match else None


# Provider metadata nests an object in a list at most; extensions a little more.
_MAX_DEPTH = 10


class DiscoveryError(Exception):
    """Metadata that cannot be had or be trusted; the message is one of ours."""


def metadata_urls(issuer: str) -> Iterator[str]:
    """Yield where an issuer's metadata may stand, in the order in which to ask."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    # Discovery appends to the path, RFC 8414 §3.1 inserts before it.
    for well_known in (
        f"{path}/.well-known/openid-configuration",
        f"/.well-known/oauth-authorization-server{path}",
    ):
        yield urlunsplit((parts.scheme, parts.netloc, well_known, "", ""))


def read_jwks_url(unverified_metadata: Fetched, issuer: str) -> str:
    """Return the `jwks_uri` of an issuer's metadata.

    Raises DiscoveryError where the document is no JSON object, names another issuer (RFC 8414 §3.3: to the character),
    or an address that is not https (http on loopback).
    """
    try:
        metadata = parse_object(unverified_metadata.body, max_depth=_MAX_DEPTH)
    except ValueError as exc:
        raise DiscoveryError("the metadata is not a JSON object") from exc
    if metadata.get("issuer") != issuer:
        raise DiscoveryError("the metadata names another issuer")
    jwks_url = metadata.get("jwks_uri")
    if not isinstance(jwks_url, str) or not fetchable(jwks_url):
        raise DiscoveryError("the metadata has no https jwks_uri")
    return jwks_url
