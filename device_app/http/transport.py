"""HTTP with this program's rules, which no caller can forget: they live in the adapter under every session.

TLS is always verified; plain http is for loopback hosts alone; every request has time and size limits; a redirect is
an error, since following one would carry credentials to an address that nobody configured; `.netrc` is not read.
"""

import ipaddress
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import Url, parse_url

__all__ = ["describe_failure", "harden", "is_overloaded", "is_safe_address", "is_web_address"]

_CONNECT_SECONDS = 5
_READ_SECONDS = 10
# A read timeout starts anew with each byte, so a server that drips needs a limit for the whole body.
_BODY_SECONDS = 20
# The largest page of readings is far below this.
_LARGEST_BODY_BYTES = 4 * 1024 * 1024
_CHUNK_BYTES = 65536

_SERVER_ERRORS = 500

_Session = TypeVar("_Session", bound=requests.Session)


class _RedirectError(requests.RequestException):
    """The server answered with a redirect."""


class _InsecureAddressError(requests.RequestException):
    """The address is neither https nor http on a loopback host."""


class _BodyTooLargeError(requests.RequestException):
    """The body exceeds `_LARGEST_BODY_BYTES`."""


# The first that fits: the later ones are parents of some before.
_FAILURES: Final[tuple[tuple[type[requests.RequestException], str], ...]] = (
    (_RedirectError, "answered with a redirect, which is not followed"),
    (_InsecureAddressError, "has an insecure address: only https, or http on this machine, is used"),
    (_BodyTooLargeError, "sent an answer that is too large"),
    (requests.exceptions.SSLError, "cannot be connected to over TLS"),
    (requests.exceptions.ProxyError, "cannot be reached through the configured proxy"),
    (requests.Timeout, "did not answer in time"),
    (requests.ConnectionError, "cannot be reached"),
)


class _BoundedBody:
    """The part of urllib3's response that requests reads from, with limits on size and time."""

    def __init__(self, raw: BaseHTTPResponse) -> None:
        self._raw = raw

    def stream(self, _chunk_bytes: int, *, decode_content: bool) -> Iterator[bytes]:
        received_bytes = 0
        deadline = time.monotonic() + _BODY_SECONDS
        while chunk := self._raw.read1(_CHUNK_BYTES, decode_content=decode_content):
            received_bytes += len(chunk)
            if received_bytes > _LARGEST_BODY_BYTES:
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


class _StrictAdapter(HTTPAdapter):
    """Send requests under the rules of this module, whatever the caller passes."""

    def __init__(self, ca_file: Path | None) -> None:
        super().__init__()
        self._verify: bool | str = str(ca_file) if ca_file else True

    def send(  # noqa: PLR0917 - the signature is requests' own
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002 - the signature is requests' own
        timeout: object = None,  # noqa: ARG002 - decided here
        verify: object = True,  # noqa: ARG002, FBT002 - decided here
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,  # noqa: ARG002 - decided here
    ) -> requests.Response:
        url = request.url or ""
        if not is_safe_address(url):
            raise _InsecureAddressError(request=request)
        try:
            response = super().send(
                request,
                stream=stream,
                timeout=(_CONNECT_SECONDS, _READ_SECONDS),
                verify=self._verify,
                cert=cert,
                # A proxy would see the plain http of a loopback address, and could not reach it anyway.
                proxies={} if _is_loopback(_parsed(url)) else get_environ_proxies(url),
            )
        except HTTPError as exc:  # urllib3's own, where requests does not translate it (a host of "a..b")
            raise requests.ConnectionError(request=request) from exc
        if response.is_redirect:
            response.close()
            raise _RedirectError(request=request, response=response)
        response.raw = _BoundedBody(cast("BaseHTTPResponse", response.raw))
        return response


def harden(session: _Session, ca_file: Path | None) -> _Session:
    """Put `session` under the rules of this module and return it.

    `ca_file` holds the certificate authorities to trust instead of the built-in ones.
    """
    # Environment variables could otherwise replace the authorities and add passwords; proxies are read by the adapter.
    session.trust_env = False
    session.mount("https://", _StrictAdapter(ca_file))
    session.mount("http://", _StrictAdapter(ca_file))
    return session


def is_overloaded(response: requests.Response) -> bool:
    """Tell whether the server could not answer for now: a 5xx, or 429 (RFC 6585 §4)."""
    return response.status_code >= _SERVER_ERRORS or response.status_code == requests.codes.too_many_requests


def is_web_address(url: str) -> bool:
    """Tell whether `url` is http or https with a host and without a user name (which only serves to deceive)."""
    parsed = _parsed(url)
    return parsed is not None and parsed.scheme in {"http", "https"} and bool(parsed.host) and parsed.auth is None


def is_safe_address(url: str) -> bool:
    """Tell whether credentials may go to `url`: https, or http where they do not leave this machine."""
    parsed = _parsed(url)
    return is_web_address(url) and parsed is not None and (parsed.scheme == "https" or _is_loopback(parsed))


def describe_failure(failure: requests.RequestException) -> str:
    """Return what went wrong as the end of a sentence that begins with the server's name."""
    # OpenSSL's name for it; requests hands the error itself on three levels down.
    if isinstance(failure, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(failure):
        return "has a TLS certificate that could not be verified (--ca-file names another authority)"
    return next(
        (words for kind, words in _FAILURES if isinstance(failure, kind)), "sent an answer that could not be read"
    )


def _parsed(url: str) -> Url | None:
    # urllib3's parser, because it is the one that decides where the connection goes.
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
