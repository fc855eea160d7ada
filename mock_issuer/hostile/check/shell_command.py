"""The shell command that repeats a request; it contains the hostile token."""

import re
import shlex
from urllib.parse import SplitResult

from mock_issuer.hostile.check.sender import raw_request, target
from mock_issuer.hostile.request import HostileRequest

_PLAIN = re.compile(r"[A-Za-z0-9%&()*+,\-./:;<=>?@\[\]^_{|}~ \"#$!`]*")
# curl refuses these in a header, or a command's argument cannot have them.
_NOT_FOR_CURL = re.compile(r"[\0\r\n]")
_PORTS = {"http": 80, "https": 443}


def shell_command(url: SplitResult, request: HostileRequest) -> str:
    """Return a line for bash that repeats a request: with curl, or as raw bytes where curl would change it.

    It works as long as the token is valid, one hour, and for as long as the attacker's server runs that it names: until
    the end of the check. An API takes a DPoP proof for a minute or so, and once.
    """
    return "; ".join([_command(url, request)] * request.times)


def _command(url: SplitResult, request: HostileRequest) -> str:
    if any(_NOT_FOR_CURL.search(value) or value != value.strip(" \t") for _, value in request.headers):
        return _raw(url, request)
    # curl takes a header without a value in this form.
    fields = (f"{name}: {value}" if value else f"{name};" for name, value in request.headers)
    headers = "".join(f" -H {_quote(field)}" for field in fields)
    address = f"{url.scheme}://{url.netloc}{target(url, request.query)}"
    return f"curl -sig --http1.1 --path-as-is{headers} {_quote(address)}"


def _raw(url: SplitResult, request: HostileRequest) -> str:
    raw = raw_request(url, request.headers, request.query)
    # Octal, as POSIX printf has it. Printable characters stay, except those that printf or the quotes change.
    text = "".join(chr(byte) if 32 <= byte <= 126 and byte not in b"%\\'" else f"\\{byte:03o}" for byte in raw)  # noqa: PLR2004  # printable ASCII
    host, port = url.hostname or "", url.port or _PORTS[url.scheme]
    if url.scheme == "https":
        address = shlex.quote(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        return f"printf '{text}' | openssl s_client -quiet -connect {address}"
    # bash itself opens a connection for a file of this name.
    return f"(exec 3<>/dev/tcp/{shlex.quote(host)}/{port}; printf '{text}' >&3; cat <&3)"


def _quote(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return f"'{text}'"
    # bash's $'…' can have any byte.
    raw = text.encode("latin-1")
    escaped = "".join(chr(byte) if 32 <= byte <= 126 and byte not in b"\\'" else f"\\x{byte:02x}" for byte in raw)  # noqa: PLR2004  # printable ASCII
    return f"$'{escaped}'"
