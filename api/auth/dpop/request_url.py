"""`htu` and the address of a request → a form in which they can be compared (RFC 3986 §6.2.2 and §6.2.3)."""

import re

# Without user information, which no request has. A host is a name, an IPv4 address or an IPv6 address.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{0,5}))?"
    # Printable ASCII but `?` and `#`, which begin query and fragment.
    r"(?P<path>/[!\"$->@-~]*)?(?:[?#][!-~]*)?",
    re.IGNORECASE | re.ASCII,
)
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})?")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def normalised(unverified_url: str) -> str | None:
    """Return an http or https URL in its normal form, without query and fragment; None if it is not one.

    Scheme and host are in lower case, a default port is left out, characters that need no percent-encoding have none,
    dot segments are resolved, an empty path is `/`.
    """
    found = _URL.fullmatch(unverified_url)
    if found is None:
        return None
    path = _decoded(found["path"] or "/")
    if path is None:
        return None
    scheme, host = found["scheme"].lower(), found["host"].lower()
    port = (found["port"] or "").lstrip("0")
    authority = host if port in ("", _DEFAULT_PORTS[scheme]) else f"{host}:{port}"
    return f"{scheme}://{authority}{_without_dot_segments(path)}"


def _decoded(path: str) -> str | None:
    """Return a path without needless percent-encoding, the rest of it in upper case; None if it is malformed."""
    if "%" not in path:
        return path

    def normal(encoded: re.Match[str]) -> str:
        character = chr(int(encoded[1], 16))
        return character if character in _UNRESERVED else encoded[0].upper()

    if any(encoded[1] is None for encoded in _PERCENT.finditer(path)):
        return None
    return _PERCENT.sub(normal, path)


def _without_dot_segments(path: str) -> str:
    """Return a path, which begins with a slash, without `.` and `..` (RFC 3986 §5.2.4)."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)
