"""HTTP sessions whose rules the caller cannot override, because the transport adapter enforces them.

TLS is always verified; plain http is allowed to loopback hosts only; every request has time and size limits; a
redirect is an error, since following it would send credentials to an address that nobody configured; `.netrc` is not
read.
"""

import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import Url, parse_url

__all__ = [
    "describe_failure",
    "is_http_url",
    "is_loopback_url",
    "is_secure_url",
    "is_temporary_failure",
    "secure_session",
]

_CONNECT_SECONDS = 5
_READ_SECONDS = 10
# Both timeouts restart with each byte received, so each part of an exchange has a limit for the whole of it too.
_HEAD_SECONDS = 10
_BODY_SECONDS = 20
# The largest page of readings is far smaller.
_MAX_BODY_BYTES = 4 * 1024 * 1024
_CHUNK_BYTES = 65536

_SERVER_ERRORS: Final[int] = requests.codes.internal_server_error

_Session = TypeVar("_Session", bound=requests.Session)


class _RedirectError(requests.RequestException):
    """The server answered with a redirect."""


class _InsecureAddressError(requests.RequestException):
    """The address is neither https nor http on a loopback host."""


class _BodyTooLargeError(requests.RequestException):
    """The body exceeds `_MAX_BODY_BYTES`."""


# The first match counts: some of the later classes are parents of earlier ones.
_FAILURES: Final[tuple[tuple[type[requests.RequestException], str], ...]] = (
    (_RedirectError, "answered with a redirect, which is not followed"),
    (_InsecureAddressError, "has an insecure address: only https, or http on this machine, is allowed"),
    (_BodyTooLargeError, "sent a response that is too large"),
    (requests.exceptions.SSLError, "cannot be connected to over TLS"),
    (requests.exceptions.ProxyError, "cannot be reached through the configured proxy"),
    (requests.Timeout, "did not answer in time"),
    (requests.ConnectionError, "cannot be reached"),
)


class _BoundedBody:
    """The methods of urllib3's response that requests calls, with limits on the size and duration of the body."""

    def __init__(self, raw: BaseHTTPResponse) -> None:
        self._raw = raw

    def stream(self, _chunk_bytes: int, *, decode_content: bool) -> Iterator[bytes]:
        received_bytes = 0
        deadline = time.monotonic() + _BODY_SECONDS
        while chunk := self._raw.read1(_CHUNK_BYTES, decode_content=decode_content):
            received_bytes += len(chunk)
            if received_bytes > _MAX_BODY_BYTES:
                self._raw.close()
                raise _BodyTooLargeError
            if time.monotonic() > deadline:
                self._raw.close()
                raise requests.ReadTimeout
            yield chunk
        self._raw.release_conn()

    def release_conn(self) -> None:
        self._raw.release_conn()

    def close(self) -> None:
        self._raw.close()


@contextlib.contextmanager
def _limited(connection: HTTPConnection, seconds: float) -> Iterator[None]:
    """End a `with` block that uses `connection` after `seconds`, by TimeoutError, however slowly the server sends."""
    has_ended = threading.Event()

    def end() -> None:
        has_ended.set()
        # During a handshake this is the plain socket below TLS. It ends the read that waits for more.
        with contextlib.suppress(OSError, AttributeError):
            connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as exc:
        if has_ended.is_set():
            raise TimeoutError from exc
        raise
    finally:
        timer.cancel()
    # The end of the connection also looks like the end of the headers.
    if has_ended.is_set():
        raise TimeoutError


class _LimitedConnection(HTTPConnection):
    """Limits the time of a connect, with a proxy's answer, and of the head of each response."""

    def connect(self) -> None:
        with _limited(self, _CONNECT_SECONDS):
            super().connect()

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # urllib3's own signature
        # Reads any number of responses with status 100 and, of each, headers of any length.
        with _limited(self, _HEAD_SECONDS):
            return super().getresponse()


class _LimitedTLSConnection(_LimitedConnection, HTTPSConnection):
    """The same, with the TLS handshake as a part of the connect."""


class _LimitedPool(HTTPConnectionPool):
    ConnectionCls = _LimitedConnection


class _LimitedTLSPool(HTTPSConnectionPool):
    ConnectionCls = _LimitedTLSConnection


def _limit(pools: PoolManager) -> None:
    pools.pool_classes_by_scheme = {"http": _LimitedPool, "https": _LimitedTLSPool}


class _StrictAdapter(HTTPAdapter):
    """Apply the rules of this module, whatever arguments the caller passes."""

    def __init__(self, ca_file: Path | None) -> None:
        super().__init__()
        self._verify: bool | str = str(ca_file) if ca_file else True

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _limit(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        pools = super().proxy_manager_for(*args, **kwargs)
        _limit(pools)
        return pools

    def send(  # noqa: PLR0917  # the signature is that of requests
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002  # the signature is that of requests
        timeout: object = None,  # noqa: ARG002  # fixed below
        verify: object = True,  # noqa: ARG002, FBT002  # fixed below
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,  # noqa: ARG002  # fixed below
    ) -> requests.Response:
        url = request.url or ""
        if not is_secure_url(url):
            raise _InsecureAddressError(request=request)
        try:
            response = super().send(
                request,
                stream=stream,
                timeout=(_CONNECT_SECONDS, _READ_SECONDS),
                verify=self._verify,
                cert=cert,
                # A proxy cannot reach this machine's loopback addresses, and would see the plain http.
                proxies={} if _is_loopback(_parse(url)) else get_environ_proxies(url),
            )
        except HTTPError as exc:  # raised by urllib3 and not translated by requests, for a host such as "a..b"
            raise requests.ConnectionError(request=request) from exc
        if response.is_redirect:
            response.close()
            raise _RedirectError(request=request, response=response)
        response.raw = _BoundedBody(cast("BaseHTTPResponse", response.raw))
        return response


def secure_session(session: _Session, ca_file: Path | None) -> _Session:
    """Apply the rules of this module to `session` and return it.

    `ca_file` holds the certificate authorities to trust (PEM) instead of the built-in ones.
    """
    # Otherwise environment variables could replace the authorities and add passwords. The adapter reads the proxies.
    session.trust_env = False
    session.mount("https://", _StrictAdapter(ca_file))
    session.mount("http://", _StrictAdapter(ca_file))
    return session


def is_temporary_failure(response: requests.Response) -> bool:
    """Return whether the server failed for now: 5xx (RFC 9110 §15.6) or 429 (RFC 6585 §4)."""
    return response.status_code >= _SERVER_ERRORS or response.status_code == requests.codes.too_many_requests


def is_http_url(url: str) -> bool:
    """Return whether `url` is http or https, with a host and without a user name, which could deceive a reader."""
    parsed = _parse(url)
    return parsed is not None and parsed.scheme in {"http", "https"} and bool(parsed.host) and parsed.auth is None


def is_secure_url(url: str) -> bool:
    """Return whether credentials may be sent to `url`: https, or http to a loopback host."""
    parsed = _parse(url)
    return is_http_url(url) and parsed is not None and (parsed.scheme == "https" or _is_loopback(parsed))


def is_loopback_url(url: str) -> bool:
    """Return whether `url` leads to this machine, wherever it is opened."""
    return _is_loopback(_parse(url))


def describe_failure(failure: requests.RequestException) -> str:
    """Return what went wrong, as the rest of a sentence that begins with the server's name."""
    # OpenSSL's error code; requests wraps the error three levels deep.
    if isinstance(failure, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(failure):
        return "has a TLS certificate that could not be verified (--ca-file sets the authorities to trust)"
    return next(
        (text for kind, text in _FAILURES if isinstance(failure, kind)), "sent a response that could not be read"
    )


def _parse(url: str) -> Url | None:
    # urllib3's parser, because it also decides which host the connection goes to.
    try:
        return parse_url(url)
    except LocationParseError:
        return None


def _is_loopback(url: Url | None) -> bool:
    if url is None or url.host is None:
        return False
    if url.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(url.host.strip("[]")).is_loopback
    except ValueError:
        return False
