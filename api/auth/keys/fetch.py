"""One bounded request. Errors hold one of our own sentences and nothing from the answer."""

import contextlib
import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import urlsplit

from ..config import is_secure_url
from .proxy import Proxy, ProxyError, find_proxy, open_tunnel

CONNECT_SECONDS = 1.0
MAX_BYTES = 256 * 1024
# RFC 9111 §5.2.2.
_MAX_AGE = re.compile(r"\bmax-age\s*=\s*\"?(\d{1,9})", re.IGNORECASE)
_NO_STORE_OR_NO_CACHE = re.compile(r"\bno-(?:store|cache)\b", re.IGNORECASE)


class FetchError(Exception):
    """A document could not be fetched; `status` is that of the answer, None if there was none."""

    def __init__(self, cause: str, status: int | None = None) -> None:
        super().__init__(cause)
        self.status = status


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document, and the seconds for which `Cache-Control` calls it fresh; None if it does not say."""

    body: bytes
    max_age_seconds: int | None


@dataclass(frozen=True, slots=True)
class Form:
    """The encoded parameters of a POST request, and the value of its `Authorization` header; both are secret."""

    parameters: bytes = field(repr=False)
    authorization: str = field(repr=False)


# Takes a URL and a time limit in seconds.
Fetch = Callable[[str, float], Fetched]
# Takes a URL, a form, and a time limit in seconds.
Post = Callable[[str, Form, float], Fetched]


def fetch(url: str, timeout_seconds: float) -> Fetched:
    """Return the document at `url`, by GET.

    Waits 1 s at most for each address of the host, and ends within `timeout_seconds`, however slowly the answer comes.
    Accepts only status 200 and at most 256 KiB. Follows no redirect. Verifies TLS with the system's certificate
    authorities, or those of `SSL_CERT_FILE`. Uses the proxy of `HTTPS_PROXY`, but not for what `NO_PROXY` names and not
    for loopback; the limits are the same then, and TLS is verified end to end.

    Raises FetchError. Does not limit the look-up of the host name, which the system's resolver does: callers that wait
    set a limit of their own.
    """
    return _exchange(url, None, timeout_seconds)


def post(url: str, form: Form, timeout_seconds: float) -> Fetched:
    """Return the answer to a form that is sent to `url` by POST, once; limits and errors are those of `fetch`."""
    return _exchange(url, form, timeout_seconds)


def _exchange(url: str, form: Form | None, timeout_seconds: float) -> Fetched:
    if not is_secure_url(url):
        raise FetchError("the address is not https (http on loopback only)")
    deadline = time.monotonic() + timeout_seconds
    try:
        proxy = find_proxy(url)
        with _connect(url, proxy, deadline) as connected, _Watchdog(connected, deadline):
            return _send(connected, url, form, proxy)
    except ProxyError as exc:
        raise FetchError(str(exc)) from exc
    except TimeoutError as exc:
        raise FetchError("timed out") from exc
    except ssl.SSLError as exc:
        raise FetchError("TLS failed") from exc
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise FetchError("no answer") from exc


def _connect(url: str, proxy: Proxy | None, deadline: float) -> socket.socket:
    """Return a connection to the host of `url`, or to the proxy."""
    if proxy is None:
        return _open(*_origin(url), deadline)
    try:
        return _open(proxy.host, proxy.port, deadline)
    except (OSError, ValueError) as exc:
        raise ProxyError("the proxy cannot be reached") from exc


def _open(host: str, port: int, deadline: float) -> socket.socket:
    """Return a connection to the first address of `host` that answers within 1 s."""
    failure: OSError | None = None
    # Not create_connection: its limit holds for each address anew, and so for a minute where a name has many.
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        with contextlib.ExitStack() as opened:
            try:
                connected = opened.enter_context(socket.socket(family, kind, protocol))
                connected.settimeout(min(CONNECT_SECONDS, _seconds_until(deadline)))
                connected.connect(address)
                connected.settimeout(_seconds_until(deadline))
            except OSError as exc:
                failure = exc
            else:
                opened.pop_all()
                return connected
    raise failure or OSError("no address")


def _origin(url: str) -> tuple[str, int]:
    """Return host and port of a URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _seconds_until(deadline: float) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining


class _Watchdog:
    """Shuts a connection down at the deadline; the socket's own timeout starts anew with each byte that it receives."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._expired = False
        self._timer = threading.Timer(_seconds_until(deadline), self._expire)
        self._timer.daemon = True
        # Of its own, since TLS takes the socket's file descriptor away. A shutdown by either ends the connection.
        self._connected = connected.dup()

    def _expire(self) -> None:
        self._expired = True
        # OSError: the other side closed the connection in the same moment.
        with contextlib.suppress(OSError):
            self._connected.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()
        self._connected.close()
        # After a shutdown the reader sees the end of the stream, which may look like a complete answer.
        if self._expired:
            raise TimeoutError from error


def _send(connected: socket.socket, url: str, form: Form | None, proxy: Proxy | None) -> Fetched:
    """Return the answer of `url` over a new connection to its host or to the proxy."""
    if url.startswith("http:"):
        return _read_answer(connected, url, form)
    host, port = _origin(url)
    if proxy is not None:
        open_tunnel(connected, proxy, host, port)
    context = ssl.create_default_context()
    with context.wrap_socket(connected, server_hostname=host, do_handshake_on_connect=False) as secured:
        secured.do_handshake()
        return _read_answer(secured, url, form)


def _read_answer(connected: socket.socket, url: str, form: Form | None) -> Fetched:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    connection.sock = connected
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Host": parts.netloc, "Accept": "application/json, */*;q=0.5", "Connection": "close"}
    if form is None:
        connection.request("GET", target, headers=headers)
    else:
        headers |= {"Authorization": form.authorization, "Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", target, form.parameters, headers)
    with connection.getresponse() as response:
        if response.status != http.HTTPStatus.OK:
            raise FetchError("the status is not 200", response.status)
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
