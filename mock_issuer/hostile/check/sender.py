"""Sends the requests, waits for an API that stopped, and remembers the answers."""

import contextlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from ssl import SSLCertVerificationError
from urllib.parse import SplitResult

from mock_issuer.hostile.request import HostileRequest

TIMEOUT_SECONDS = 10
_POLL_SECONDS = 0.2
_SERVER_ERROR = 500
# What send() raises if there is no answer.
NO_ANSWER = (OSError, HTTPException)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What the check reads of an answer: status, `WWW-Authenticate`, `DPoP-Nonce`, the start of the body."""

    status: int
    challenges: tuple[str, ...]
    nonce: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request that was sent.

    Args:
        request: the request.
        response: the answer; None if there was none.
        failure: why there was none; empty if there was one.
        stopped: whether the API refused or did not answer the valid token afterwards.
        seconds: the time until the answer.
    """

    request: HostileRequest
    response: Response | None
    failure: str
    stopped: bool
    seconds: float


def send_all(
    url: SplitResult, requests: Sequence[HostileRequest], good: HostileRequest, *, wait_seconds: float
) -> list[Exchange]:
    """Send requests one after the other; end early if the API stops and does not come back.

    After a server error or no answer, the valid token must be accepted before the next request is sent.

    Args:
        url: a route of the API.
        requests: what to send.
        good: the request with a valid token.
        wait_seconds: how long to wait for an API that stopped.
    """
    exchanges = []
    for request in requests:
        start = time.perf_counter()
        response, failure = None, ""
        try:
            for _ in range(request.times):
                response = send(url, request.headers, request.query)
        except NO_ANSWER as exc:
            failure = reason(exc)
        seconds = time.perf_counter() - start
        failed = response is None or response.status >= _SERVER_ERROR
        stopped = failed and not _accepts(url, good)
        exchanges.append(
            Exchange(request=request, response=response, failure=failure, stopped=stopped, seconds=seconds)
        )
        if stopped and not _wait_until_accepting(url, good, wait_seconds):
            break
    return exchanges


def _accepts(url: SplitResult, good: HostileRequest) -> bool:
    try:
        return 200 <= send(url, good.headers, good.query).status <= 299  # noqa: PLR2004  # any 2xx
    except NO_ANSWER:
        return False


def _wait_until_accepting(url: SplitResult, good: HostileRequest, wait_seconds: float) -> bool:
    deadline = time.monotonic() + wait_seconds
    while time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        if _accepts(url, good):
            return True
    return False


def reason(exc: Exception) -> str:
    """Return why there is no answer, in words without a part of the request."""
    if isinstance(exc, SSLCertVerificationError):
        return "its certificate is not trusted; set SSL_CERT_FILE to the file of its CA"
    # Not str(exc), which may quote a token.
    return "timed out" if isinstance(exc, TimeoutError) else type(exc).__name__


def send(url: SplitResult, headers: Iterable[tuple[str, str]], query: str, *, body_bytes: int = 0) -> Response:
    """Send a GET request on a new connection; do not follow redirects.

    Args:
        url: where to send it.
        headers: sent as they are, in this order.
        query: appended to the query of `url`.
        body_bytes: how much of the answer's body to read.

    Raises OSError or HTTPException if there is no answer.
    """
    connection_class = HTTPSConnection if url.scheme == "https" else HTTPConnection
    connection = connection_class(url.hostname or "", url.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.connect()
        # A server may answer a long header and close the connection before it has read all of it.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sock.sendall(raw_request(url, headers, query))
        with contextlib.closing(HTTPResponse(connection.sock, method="GET")) as response:
            response.begin()
            challenges = tuple(response.headers.get_all("WWW-Authenticate", []))
            nonce = response.headers.get("DPoP-Nonce", "")
            return Response(status=response.status, challenges=challenges, nonce=nonce, body=response.read(body_bytes))
    finally:
        connection.close()


def raw_request(url: SplitResult, headers: Iterable[tuple[str, str]], query: str) -> bytes:
    """Return the bytes of a GET request; written by hand, since http.client refuses to send invalid headers."""
    fields = (("Host", url.netloc), *headers, ("Accept", "*/*"), ("Connection", "close"))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"GET {target(url, query)} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


def target(url: SplitResult, query: str) -> str:
    """Return the path and the query of a request, in which `query` is appended to the query of `url`."""
    whole_query = "&".join(filter(None, (url.query, query)))
    return (url.path or "/") + (f"?{whole_query}" if whole_query else "")
