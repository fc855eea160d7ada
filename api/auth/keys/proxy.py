"""The proxy that the environment names, and a tunnel through it to an https server (RFC 9110 §9.3.6)."""

import base64
import http.client
import ipaddress
import socket
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

_HTTP_PORT = 80


class ProxyError(Exception):
    """The proxy cannot be used; the message is one of our own sentences, without the proxy's address or password."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy. `authorization` is the value of `Proxy-Authorization`, None if its address has no credentials."""

    host: str
    port: int
    authorization: str | None = field(repr=False)


def find_proxy(url: str) -> Proxy | None:
    """Return the proxy for `url`; None if it is to be fetched directly, as loopback and http always are.

    Reads `HTTPS_PROXY` and `NO_PROXY`, and the same in lower case, at each call: these variables are a convention of
    the operating system and no setting of this package. Does not read `ALL_PROXY`.

    Raises ProxyError if `HTTPS_PROXY` is not the address of an http proxy.
    """
    parts = urlsplit(url)
    # A proxy on another machine would connect to its own loopback.
    if parts.scheme != "https" or _is_loopback(parts.hostname or ""):
        return None
    address = getproxies_environment().get("https")
    if not address or proxy_bypass(parts.netloc):
        return None
    return _parse(address)


def open_tunnel(connected: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Ask the proxy at the other end of `connected` to forward what follows to `host` and `port`.

    Raises ProxyError if it refuses, TimeoutError if the socket's time limit passes.
    """
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    # Not HTTPConnection, which closes the socket after an answer without a length. The buffer of this answer takes
    # nothing from the tunnel: in TLS the client speaks first.
    answer = http.client.HTTPResponse(connected, method="CONNECT")
    try:
        connected.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
        answer.begin()
    except TimeoutError:
        raise
    except (OSError, http.client.HTTPException) as exc:
        raise ProxyError("the proxy refused the connection") from exc
    finally:
        answer.close()
    if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        raise ProxyError("the proxy refused the connection")


def _parse(address: str) -> Proxy:
    if "://" not in address:
        address = f"http://{address}"
    try:
        parts = urlsplit(address)
        port = parts.port or _HTTP_PORT
        address.encode()  # raises UnicodeEncodeError, a ValueError, for bytes that are not UTF-8
    except ValueError:
        # Without its cause, which may quote the password.
        raise ProxyError("HTTPS_PROXY is malformed") from None
    if parts.scheme != "http":
        raise ProxyError("HTTPS_PROXY is not an http:// address")
    if not parts.hostname:
        raise ProxyError("HTTPS_PROXY is malformed")
    return Proxy(parts.hostname, port, _basic(parts.username, parts.password))


def _basic(username: str | None, password: str | None) -> str | None:
    """Return credentials in the Basic scheme (RFC 7617 §2)."""
    if username is None:
        return None
    credentials = f"{unquote(username)}:{unquote(password or '')}"
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
