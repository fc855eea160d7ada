"""Authorization header → bearer token → the parts of its compact JWS, strictly read and still unverified.

RFC 6750 §2.1 for the header, RFC 7515 §3.1 and §5.2 for the token, RFC 8725 for what to refuse.
"""

import re
from binascii import a2b_base64
from typing import Any, NamedTuple

from .errors import InvalidRequest, InvalidToken, MissingCredentials, Reason
from .strict_json import parse_object

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


# Twice what the largest access tokens weigh; servers refuse header lines beyond 8,190 bytes anyway.
MAX_TOKEN_CHARS = 8_000

# Bytes are searched for a number several times as fast as for another bytes object.
_DOT = ord(".")
_PLUS, _SLASH, _EQUALS = b"+/="
_PADDING = (b"", b"", b"==", b"=")
# The bits of the last character that no byte takes must be zero: otherwise several spellings mean one signature.
# One character over is no length at all.
_CANONICAL_LAST = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")


class UnverifiedHeader(NamedTuple):
    """The header parameters that name a key; all others are ignored (RFC 7515 §4)."""

    algorithm: str
    kid: str | None


def _decode_segment(segment: bytes) -> bytes:
    """Return the bytes of a canonical, unpadded segment (RFC 7515 §2). Raises ValueError."""
    tail = len(segment) % 4
    if tail and segment[-1] not in _CANONICAL_LAST[tail]:
        raise ValueError("not canonical")
    # What base64 has and base64url has not.
    if _PLUS in segment or _SLASH in segment or _EQUALS in segment:
        raise ValueError("not base64url")
    return a2b_base64(segment.replace(b"-", b"+").replace(b"_", b"/") + _PADDING[tail], strict_mode=True)


def split(unverified_token: str) -> tuple[bytes, bytes, bytes, bytes]:
    """Take a compact JWS apart: return its header segment, its payload segment, its signing input and its signature.

    Nothing of that may be relied on before the signature has been verified. The segments are for `parse_header` and
    `parse_payload` to decode.

    Raises InvalidToken where it is over 8,000 characters, before anything is decoded, or not three non-empty segments
    of which the last is base64url. Does not read header and payload.
    """
    if len(unverified_token) > MAX_TOKEN_CHARS:
        raise InvalidToken(Reason.TOO_LONG)
    try:
        # Searches for the dots take a third of the time of `split`, which looks at each byte.
        signing_input, _, signature_segment = unverified_token.encode("ascii").rpartition(b".")
        signature = _decode_segment(signature_segment)
    except ValueError as exc:  # not ASCII, not base64url
        raise InvalidToken(Reason.MALFORMED) from exc
    header_segment, _, payload_segment = signing_input.partition(b".")
    if not header_segment or not payload_segment or not signature or _DOT in payload_segment:
        raise InvalidToken(Reason.MALFORMED)
    return header_segment, payload_segment, signing_input, signature


def parse_header(
    unverified_segment: bytes, *, algorithms: frozenset[str], token_types: frozenset[str]
) -> UnverifiedHeader:
    """Return what the header says, checked against what is allowed.

    `algorithms` is the allow-list; `token_types` are accepted `typ` values in lower case, without `application/`.
    `jwk`, `jku`, `x5u` and `x5c` are never looked at: a key that comes with the token proves nothing.

    Raises InvalidToken.
    """
    try:
        header = parse_object(_decode_segment(unverified_segment))
    except ValueError as exc:
        raise InvalidToken(Reason.MALFORMED) from exc
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or ("kid" in header and not isinstance(kid, str)):
        raise InvalidToken(Reason.MALFORMED)
    if algorithm not in algorithms:
        raise InvalidToken(Reason.ALGORITHM)
    # RFC 7515 §4.1.11: we understand no extension, so whatever is critical is refused; `b64` of RFC 7797 with it.
    if "crit" in header or "b64" in header:
        raise InvalidToken(Reason.CRITICAL_HEADER)
    if not _is_accepted_type(header, token_types):
        raise InvalidToken(Reason.TOKEN_TYPE)
    return UnverifiedHeader(algorithm, kid)


def _is_accepted_type(header: dict[str, Any], token_types: frozenset[str]) -> bool:
    unverified_type = header.get("typ", "JWT")
    if not isinstance(unverified_type, str) or not unverified_type.isascii():
        return False
    # RFC 7515 §4.1.9: the prefix may be left out where no other slash follows.
    return unverified_type.lower().removeprefix("application/") in token_types


def parse_payload(unverified_segment: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the claims of a payload, and the JSON that spells them. Raises InvalidToken."""
    try:
        unverified_json = _decode_segment(unverified_segment)
        return parse_object(unverified_json), unverified_json
    except ValueError as exc:
        raise InvalidToken(Reason.MALFORMED) from exc
