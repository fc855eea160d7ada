"""`Authorization` header → bearer token → header, payload and signature of the JWS: read strictly, not yet verified.

In the order of use: `bearer_token` and `has_token_parameter` (RFC 6750 §2), `dpop_token` (RFC 9449 §7.1), `split`,
`parse_header` and `parse_payload` (RFC 7515 §3.1, §4 and §5.2, with the refusals of RFC 8725).
"""

import re
import string
from binascii import a2b_base64
from typing import Any, NamedTuple, TypeGuard

from .errors import InvalidRequest, InvalidToken, MissingCredentials
from .reasons import Reason
from .strict_json import parse_object

# Twice the length of the largest access tokens; servers refuse header lines over 8,190 bytes anyway.
MAX_TOKEN_CHARS = 8_000

_DOT = ord(".")
# RFC 6750 §2.1.
_B64TOKEN_BYTES = f"{string.ascii_letters}{string.digits}-._~+/".encode()
# RFC 7515 §3.1: three segments of base64url.
_COMPACT_JWS = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
# Each character may be percent-encoded (WHATWG URL Standard §5.1). Not a form parser, which makes a list of all
# parameters: 0.3 s for a form of 1 MiB.
_NAME = b"".join(b"(?:%c|(?i:%%%02x))" % (character, character) for character in b"access_token")
_TOKEN_PARAMETER = re.compile(b"&" + _NAME + rb"(?:[=&]|\Z)")
# A server joins repeated headers with a comma, so a second credential shows as the scheme after a comma.
_SECOND_BEARER = re.compile(r",\s*bearer(?:[\s,]|$)", re.IGNORECASE)


def bearer_token(authorization: str | None, query: str = "") -> str:
    """Return the token of an `Authorization` header, unverified (RFC 6750 §2.1).

    `authorization` is the header's value; repeated headers are joined with commas, as WSGI servers do. None means no
    header. `query` is the query of the URL as sent: a token there alone does not count. Does not look for a token in a
    form.

    Raises MissingCredentials if the header has no bearer token; InvalidRequest if it is malformed, or the query has a
    token too (RFC 6750 §2).
    """
    if authorization is None:
        raise MissingCredentials
    scheme, _, unverified_token = authorization.partition(" ")
    # RFC 9110 §11.1: the scheme is case-insensitive.
    if scheme.lower() != "bearer":
        is_malformed = scheme[:7].lower() in {"bearer\t", "bearer,"}
        if is_malformed or _SECOND_BEARER.search(_without_quoted_strings(authorization)):
            raise InvalidRequest(Reason.HEADER_MALFORMED)
        # Formally another scheme, so it is answered like one; only the sentence differs.
        is_token = _COMPACT_JWS.fullmatch(authorization) is not None
        raise MissingCredentials(reason=Reason.SCHEME_MISSING if is_token else Reason.NO_CREDENTIALS)
    # credentials = "Bearer" 1*SP b64token
    unverified_token = unverified_token.lstrip(" ")
    if not is_b64token(unverified_token):
        raise InvalidRequest(Reason.HEADER_MALFORMED)
    if query and has_token_parameter(query.encode("utf-8", "replace")):
        raise InvalidRequest(Reason.SEVERAL_METHODS)
    return unverified_token


def is_b64token(text: str) -> bool:
    """Return whether `text` has the form of a bearer token (RFC 6750 §2.1): `[A-Za-z0-9._~+/-]+=*`."""
    # Not a regular expression: this takes a third of its time.
    unpadded = text.rstrip("=")
    return unpadded != "" and unpadded.isascii() and not unpadded.encode().translate(None, _B64TOKEN_BYTES)


def has_dpop_scheme(unverified_authorization: str | None) -> TypeGuard[str]:
    """Return whether the value of an `Authorization` header has the scheme `DPoP` (RFC 9449 §7.1)."""
    # The scheme is case-insensitive. The whole header is not put into lower case: a token is long.
    return unverified_authorization is not None and unverified_authorization[:5].lower() in {"dpop", "dpop "}


def dpop_token(authorization: str, query: str = "") -> str:
    """Return the token of an `Authorization` header with the scheme `DPoP`, unverified (RFC 9449 §7.1).

    `authorization` and `query` are as in `bearer_token`.

    Raises InvalidRequest if the header is malformed, or the query has a token too.
    """
    # credentials = "DPoP" 1*SP token68, whose form is that of b64token.
    unverified_token = authorization[4:].lstrip(" ")
    if not is_b64token(unverified_token):
        raise InvalidRequest(Reason.DPOP_HEADER_MALFORMED)
    if query and has_token_parameter(query.encode("utf-8", "replace")):
        raise InvalidRequest(Reason.SEVERAL_METHODS)
    return unverified_token


def _without_quoted_strings(authorization: str) -> str:
    """Return a header without its quoted strings (RFC 9110 §5.6.4); one that does not end is kept.

    No pattern: one that skips escapes backtracks from every quote of a string that does not end. Also drops escapes
    outside of quoted strings, where they are malformed.
    """
    pieces = authorization.replace("\\\\", "").replace('\\"', "").split('"')
    unended = pieces[-1] if len(pieces) % 2 == 0 else ""
    return "".join(pieces[::2]) + unended


def has_token_parameter(unverified_form: bytes) -> bool:
    """Return whether a form or a query has a parameter `access_token` (RFC 6750 §2.2, §2.3), percent-encoded or not."""
    return _TOKEN_PARAMETER.search(b"&" + unverified_form) is not None


def split(unverified_token: str) -> tuple[bytes, bytes, bytes, bytes]:
    """Return the header segment, payload segment, signing input and signature of a compact JWS (RFC 7515 §3.1, §5.2).

    Raises InvalidToken if the token has over 8,000 characters (before anything is decoded), or is not three non-empty
    segments of which the last is base64url. Does not decode the header and the payload.
    """
    if len(unverified_token) > MAX_TOKEN_CHARS:
        raise InvalidToken(Reason.TOO_LONG)
    try:
        signing_input, _, signature_segment = unverified_token.encode("ascii").rpartition(b".")
        signature = decode_segment(signature_segment)
    except ValueError as exc:  # not ASCII, or not base64url
        raise InvalidToken(Reason.MALFORMED) from exc
    header_segment, _, payload_segment = signing_input.partition(b".")
    if not header_segment or not payload_segment or not signature or _DOT in payload_segment:
        raise InvalidToken(Reason.MALFORMED)
    return header_segment, payload_segment, signing_input, signature


class UnverifiedHeader(NamedTuple):
    """What selects the key, and the type of the token: in lower case, without `application/`, `jwt` if absent."""

    algorithm_and_kid: tuple[str, str | None]
    token_type: str


def parse_header(unverified_segment: bytes, *, algorithms: frozenset[str]) -> UnverifiedHeader:
    """Return the algorithm, the key id and the type of a JWS header (RFC 7515 §4, RFC 8725 §3.1).

    `algorithms` are the accepted values of `alg`. Ignores `jwk`, `jku`, `x5u` and `x5c`, since a key that comes with a
    token proves nothing (RFC 8725 §3.10), and all parameters that it does not know (RFC 7515 §4).

    Raises InvalidToken. Does not check whether the type is accepted: that differs by issuer.
    """
    try:
        header = parse_object(decode_segment(unverified_segment))
    except ValueError as exc:
        raise InvalidToken(Reason.MALFORMED) from exc
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or ("kid" in header and not isinstance(kid, str)):
        raise InvalidToken(Reason.MALFORMED)
    if algorithm not in algorithms:
        raise InvalidToken(Reason.ALGORITHM)
    # RFC 7515 §4.1.11: an extension that is critical and not implemented. We implement none, nor `b64` (RFC 7797).
    if "crit" in header or "b64" in header:
        raise InvalidToken(Reason.CRITICAL_HEADER)
    return UnverifiedHeader((algorithm, kid), _token_type(header))


def _token_type(header: dict[str, Any]) -> str:
    unverified_type = header.get("typ", "JWT")
    # isascii: lower() makes "k" of the Kelvin sign, U+212A.
    if not isinstance(unverified_type, str) or not unverified_type.isascii():
        raise InvalidToken(Reason.TOKEN_TYPE)
    # RFC 7515 §4.1.9: `application/` may be left out if no other slash follows. Media types are case-insensitive.
    return unverified_type.lower().removeprefix("application/")


def parse_payload(unverified_segment: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the claims of a payload, and the JSON that they were read from (RFC 7519 §7.2). Raises InvalidToken."""
    try:
        unverified_json = decode_segment(unverified_segment)
        return parse_object(unverified_json), unverified_json
    except ValueError as exc:
        raise InvalidToken(Reason.MALFORMED) from exc


# What base64 has and base64url without padding has not (RFC 4648 §5).
_PLUS, _SLASH, _EQUALS = b"+/="
# By the length of a segment modulo 4. With 1 there is no octet: a2b_base64 refuses it.
_PADDING = (b"", b"", b"==", b"=")
# The bits of the last character that belong to no octet are zero, else several texts would mean one signature.
_CANONICAL_LAST = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")


def decode_segment(segment: bytes) -> bytes:
    """Return the octets of an unpadded base64url segment (RFC 7515 §2, RFC 4648 §3.5). Raises ValueError."""
    remainder = len(segment) % 4
    if remainder and segment[-1] not in _CANONICAL_LAST[remainder]:
        raise ValueError("not canonical")
    if _PLUS in segment or _SLASH in segment or _EQUALS in segment:
        raise ValueError("not base64url")
    return a2b_base64(segment.replace(b"-", b"+").replace(b"_", b"/") + _PADDING[remainder], strict_mode=True)
