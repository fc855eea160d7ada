"""The Authorization header of a request → its bearer token, still unverified (RFC 6750 §2.1)."""

import re

from .errors import InvalidRequest, MissingCredentials, Reason

_B64TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
# A server joins repeated headers with a comma, so a second credential shows as the scheme after a comma: one that does
# not stand inside another scheme's quoted string.
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_SECOND_BEARER = re.compile(r",\s*bearer(?:[\s,]|$)", re.IGNORECASE)
# A JWT's characters: those of b64token but for the padding.
_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"


def bearer_token(authorization: str | None) -> str:
    """Return the token of an Authorization header, unverified.

    `authorization` is the header's value, repeated headers joined by commas as WSGI servers do; None where there is
    none. Does not look for a token elsewhere in the request.

    Raises MissingCredentials where no bearer token was sent, InvalidRequest where the header is malformed.
    """
    if authorization is None:
        raise MissingCredentials
    scheme, _, unverified_token = authorization.partition(" ")
    # What nearly every request sends; the pattern below would take it as well, and longer over it.
    if scheme == "Bearer" and _is_plain(unverified_token):
        return unverified_token
    if scheme.lower() != "bearer":
        if _SECOND_BEARER.search(_QUOTED.sub("", authorization)) or scheme[:7].lower() in {"bearer\t", "bearer,"}:
            raise InvalidRequest(Reason.HEADER_MALFORMED)
        raise MissingCredentials
    # credentials = "Bearer" 1*SP b64token
    unverified_token = unverified_token.lstrip(" ")
    if _B64TOKEN.fullmatch(unverified_token) is None:
        raise InvalidRequest(Reason.HEADER_MALFORMED)
    return unverified_token


def _is_plain(unverified_token: str) -> bool:
    return (
        unverified_token != ""
        and unverified_token.isascii()
        and not unverified_token.encode("ascii").translate(None, _PLAIN)
    )
