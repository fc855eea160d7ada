"""Requests that are odd before any token is read: the Authorization header (RFC 6750 §2, RFC 9110 §11)."""

from collections.abc import Iterator

from mock_issuer.hostile.forge import Forge
from mock_issuer.hostile.request import (
    ACCEPTED,
    INVALID_TOKEN,
    LENGTH_EITHER_WAY,
    MALFORMED,
    MALFORMED_HTTP,
    NO_CREDENTIALS,
    REQUEST_EITHER_WAY,
    TOO_LONG,
    Answers,
    HostileRequest,
    bearer,
)

_BASIC = "Basic dXNlcjpwYXNzd29yZA=="
# Beyond the 8 KiB that most servers read of one header, and not beyond the 16 KiB that some read of all.
_LONG_TOKEN_CHARS = 9_500
_DOTS = 100_000


def header_requests(forge: Forge) -> Iterator[HostileRequest]:
    """Yield the requests; all tokens in them are good unless the name says otherwise."""
    good = forge.token()
    yield from _accepted(good)
    yield from _without_credentials(good)
    yield from _malformed(good)
    yield from _repeated(good, forge)
    yield from _in_the_query(good)
    yield from _long(forge)


def _sent(name: str, answers: Answers, why: str, *authorizations: str) -> HostileRequest:
    headers = tuple(("Authorization", value) for value in authorizations)
    return HostileRequest(name=name, headers=headers, answers=answers, why=why)


def _accepted(good: str) -> Iterator[HostileRequest]:
    for name, value, why in (
        ("scheme-lower-case", f"bearer {good}", "Schemes are case-insensitive, RFC 9110 §11.1."),
        ("scheme-upper-case", f"BEARER {good}", "Schemes are case-insensitive, RFC 9110 §11.1."),
        ("spaces-before-token", f"Bearer   {good}", "One or more spaces come before the token, RFC 6750 §2.1."),
        ("white-space-around-value", f" \t Bearer {good} \t ", "It is no part of the value, RFC 9110 §5.5."),
    ):
        yield _sent(name, ACCEPTED, why, value)
    for name, field, why in (
        ("field-name-lower-case", "authorization", "Field names are case-insensitive, RFC 9110 §5.1."),
        ("field-name-upper-case", "AUTHORIZATION", "Field names are case-insensitive, RFC 9110 §5.1."),
    ):
        yield HostileRequest(name=name, headers=((field, f"Bearer {good}"),), answers=ACCEPTED, why=why)


def _without_credentials(good: str) -> Iterator[HostileRequest]:
    other_scheme = "A scheme that the API does not have is no credential: no error code, RFC 6750 §3.1."
    elsewhere = "Tokens come in the Authorization header, RFC 6750 §2.1, so this request has none."
    yield _sent("no-credentials", NO_CREDENTIALS, "No credentials, no error code, RFC 6750 §3.1.")
    for name, value in (
        ("basic", _BASIC),
        ("digest", 'Digest username="u", realm="r", nonce="n", uri="/", response="0"'),
        ("digest-quoting-bearer", 'Digest username="u, Bearer v", realm="r", nonce="n", uri="/", response="0"'),
        ("dpop-scheme", f"DPoP {good}"),
        ("token-scheme", f"Token {good}"),
        ("bearer-in-longer-scheme", f"BearerToken {good}"),
        ("bearer-cut-short", f"Bear {good}"),
    ):
        yield _sent(name, NO_CREDENTIALS, other_scheme, value)
    for name, field, value in (
        ("token-in-cookie", "Cookie", f"access_token={good}"),
        ("token-in-x-access-token", "X-Access-Token", good),
        ("token-in-proxy-authorization", "Proxy-Authorization", f"Bearer {good}"),
    ):
        yield HostileRequest(name=name, headers=((field, value),), answers=NO_CREDENTIALS, why=elsewhere)
    yield _sent("token-without-scheme", MALFORMED, "The scheme comes first, RFC 9110 §11.4.", good)
    yield _sent("empty-authorization", MALFORMED_HTTP, "Credentials start with a scheme, RFC 9110 §11.4.", "")


def _malformed(good: str) -> Iterator[HostileRequest]:
    why = "Credentials are Bearer, a space and one b64token, RFC 6750 §2.1."
    for name, value in (
        ("bearer-alone", "Bearer"),
        ("bearer-and-spaces", "Bearer   "),
        ("bearer-twice", f"Bearer Bearer {good}"),
        ("word-after-token", f"Bearer {good} x"),
        ("word-before-token", f"Bearer x {good}"),
        ("comma-after-token", f"Bearer {good},"),
        ("comma-before-token", f"Bearer ,{good}"),
        ("comma-list-of-tokens", f"Bearer {good},{good}"),
        ("quoted-token", f'Bearer "{good}"'),
        ("token-as-parameter", f'Bearer token="{good}"'),
        ("token-as-assignment", f"Bearer access_token={good}"),
        ("token-in-angle-brackets", f"Bearer <{good}>"),
        ("percent-encoded-token", f"Bearer {good.replace('.', '%2E')}"),
        ("percent-encoded-newline", f"Bearer {good}%0A"),
        ("escaped-newline", f"Bearer {good}\\n"),
        ("colon-after-scheme", f"Bearer: {good}"),
        ("semicolon-after-token", f"Bearer {good};"),
        ("padding-inside-token", f"Bearer {good.replace('.', '=.', 1)}"),
        ("json-serialization", f"Bearer {_json_serialization(good)}"),
    ):
        yield _sent(name, MALFORMED, why, value)
    yield _sent("latin-1-in-token", MALFORMED_HTTP, why, f"Bearer {good}\xe9")
    yield _sent("nbsp-for-space", MALFORMED_HTTP, why, f"Bearer\xa0{good}")
    yield _sent("utf-8-in-token", MALFORMED_HTTP, why, f"Bearer {good}{'ａ'.encode().decode('latin-1')}")  # noqa: RUF001  # full-width on purpose
    no_control = "Control characters make a field value invalid, RFC 9110 §5.5."
    half = len(good) // 2
    yield _sent("nul-in-token", MALFORMED_HTTP, no_control, f"Bearer {good[:half]}\0{good[half:]}")
    yield _sent("control-character-in-token", MALFORMED_HTTP, no_control, f"Bearer {good[:half]}\x01{good[half:]}")
    recovered = "RFC 9110 §11.4 has a space there; §2.4 lets a server recover."
    yield _sent("tab-for-space", REQUEST_EITHER_WAY, recovered, f"Bearer\t{good}")
    folded = "A folded line is refused, or read as a space, RFC 9112 §5.2."
    yield _sent("folded-line", REQUEST_EITHER_WAY, folded, f"Bearer\r\n {good}")


def _json_serialization(token: str) -> str:
    protected, payload, signature = token.split(".")
    return f'{{"protected":"{protected}","payload":"{payload}","signature":"{signature}"}}'


def _repeated(good: str, forge: Forge) -> Iterator[HostileRequest]:
    one = "Authorization is sent once, RFC 9110 §5.3; a repetition is malformed, RFC 6750 §3.1."
    listed = "A request has one set of credentials, RFC 9110 §11.4; a second is malformed, RFC 6750 §3.1."
    expired = forge.with_claims(exp=forge.now - 3600)
    yield _sent("two-headers-bad-and-good", MALFORMED_HTTP, one, f"Bearer {expired}", f"Bearer {good}")
    yield _sent("two-headers-good-and-bad", MALFORMED_HTTP, one, f"Bearer {good}", f"Bearer {expired}")
    yield _sent("two-headers-basic-and-bearer", MALFORMED_HTTP, one, _BASIC, f"Bearer {good}")
    yield _sent("two-headers-bearer-and-basic", MALFORMED_HTTP, one, f"Bearer {good}", _BASIC)
    yield _sent("two-credentials-in-one-header", MALFORMED, listed, f"Bearer {good}, Bearer {good}")
    yield _sent("basic-and-bearer-in-one-header", MALFORMED, listed, f"{_BASIC}, Bearer {good}")
    yield _sent("bearer-and-basic-in-one-header", MALFORMED, listed, f"Bearer {good}, {_BASIC}")
    same = "Authorization is sent once, RFC 9110 §5.3; §2.4 lets a server recover from two that are equal."
    yield _sent("two-headers-equal", REQUEST_EITHER_WAY, same, f"Bearer {good}", f"Bearer {good}")


def _in_the_query(good: str) -> Iterator[HostileRequest]:
    query = f"access_token={good}"
    in_logs = "URLs end in logs: tokens in a query are out of use, RFC 9700 §4.3.2, so this request has none."
    yield HostileRequest(name="token-in-query", headers=(), query=query, answers=NO_CREDENTIALS, why=in_logs)
    basic = (("Authorization", _BASIC),)
    yield HostileRequest(name="token-in-query-and-basic", headers=basic, query=query, answers=MALFORMED, why=in_logs)
    both = "Two methods make a request malformed, RFC 6750 §3.1; an API may know no query method, §2.3."
    yield bearer("token-in-header-and-query", REQUEST_EITHER_WAY, both, good, query=query)
    bad_header = "Whatever the query holds (RFC 9700 §4.3.2), the header's token is no JWT, RFC 6750 §3.1."
    yield bearer("bad-header-and-token-in-query", MALFORMED, bad_header, "x", query=query)


def _long(forge: Forge) -> Iterator[HostileRequest]:
    # Three bytes of a claim take four characters.
    note = "x" * ((_LONG_TOKEN_CHARS - len(forge.token())) * 3 // 4)
    limit = "A server may limit what it reads, and then says so, RFC 6585 §5 and RFC 9110 §15.5."
    yield bearer("long-token", LENGTH_EITHER_WAY, limit, forge.with_claims(note=note))
    yield bearer("long-token-expired", TOO_LONG, limit, forge.with_claims(note=note, exp=forge.now - 3600))
    yield bearer("many-dots", TOO_LONG, "A JWS has three segments, RFC 7515 §7.1; RFC 6585 §5 has 431.", "." * _DOTS)
    opaque = "What is no JWT is an invalid token, RFC 7519 §7.2 and RFC 6750 §3.1."
    yield bearer("opaque-token", INVALID_TOKEN, opaque, "2YotnFZFEjr1zCsicMWpAA")
    yield bearer("one-character", INVALID_TOKEN, opaque, "x")
    yield bearer("dots-alone", INVALID_TOKEN, opaque, "..")
