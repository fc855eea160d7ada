"""Requests with unusual Authorization headers or with tokens in other places (RFC 6750 §2, RFC 9110 §11)."""

from collections.abc import Iterator

from mock_issuer.hostile.request import (
    ACCEPTED,
    ACCEPTED_OR_MALFORMED,
    ACCEPTED_OR_NO_CREDENTIALS,
    ACCEPTED_OR_TOO_LONG,
    INVALID_TOKEN,
    INVALID_TOKEN_OR_NO_CREDENTIALS,
    MALFORMED,
    MALFORMED_HTTP,
    NO_CREDENTIALS,
    TOO_LONG,
    Answers,
    HostileRequest,
    Level,
    bearer,
)
from mock_issuer.hostile.tokens import TokenFactory

_BASIC = "Basic dXNlcjpwYXNzd29yZA=="
# Above the 8 KiB that most servers allow for one header, below the 16 KiB that some allow for all.
_LONG_TOKEN_CHARS = 9_500
_DOTS = 100_000


def header_requests(tokens: TokenFactory) -> Iterator[HostileRequest]:
    """Yield the requests; their tokens are valid unless the name says otherwise."""
    good = tokens.token()
    yield from _accepted(good)
    yield from _without_credentials(good)
    yield from _malformed(good)
    yield from _repeated(good, tokens)
    yield from _in_the_query(good, tokens)
    yield from _long(tokens)


def _authorization(name: str, answers: Answers, why: str, *values: str, level: Level = "MUST") -> HostileRequest:
    headers = tuple(("Authorization", value) for value in values)
    return HostileRequest(name=name, headers=headers, answers=answers, why=why, level=level)


def _accepted(good: str) -> Iterator[HostileRequest]:
    for name, value, why in (
        ("scheme-lower-case", f"bearer {good}", "Schemes are case-insensitive, RFC 9110 §11.1."),
        ("scheme-upper-case", f"BEARER {good}", "Schemes are case-insensitive, RFC 9110 §11.1."),
        ("spaces-before-token", f"Bearer   {good}", "One or more spaces separate scheme and token, RFC 6750 §2.1."),
        (
            "white-space-around-value",
            f" \t Bearer {good} \t ",
            "White space around a field value is not part of it, RFC 9110 §5.5.",
        ),
    ):
        yield _authorization(name, ACCEPTED, why, value)
    for name, field, why in (
        ("field-name-lower-case", "authorization", "Field names are case-insensitive, RFC 9110 §5.1."),
        ("field-name-upper-case", "AUTHORIZATION", "Field names are case-insensitive, RFC 9110 §5.1."),
    ):
        yield HostileRequest(name=name, headers=((field, f"Bearer {good}"),), answers=ACCEPTED, why=why)


def _without_credentials(good: str) -> Iterator[HostileRequest]:
    other_scheme = "Another scheme counts as no credentials: no error code, RFC 6750 §3.1."
    elsewhere = "RFC 6750 §2 has three places for a token, and this is none: the request has no credentials."
    yield _authorization("no-credentials", NO_CREDENTIALS, "Without credentials there is no error code, RFC 6750 §3.1.")
    for name, value in (
        ("basic", _BASIC),
        ("digest", 'Digest username="u", realm="r", nonce="n", uri="/", response="0"'),
        ("digest-quoting-bearer", 'Digest username="u, Bearer v", realm="r", nonce="n", uri="/", response="0"'),
    ):
        yield _authorization(name, NO_CREDENTIALS, other_scheme, value)
    proof = "The scheme DPoP requires a proof, RFC 9449 §7.1; an API without DPoP sees no credentials, RFC 6750 §3.1."
    yield _authorization("dpop-scheme", NO_CREDENTIALS, proof, f"DPoP {good}")
    # No RFC says in so many words that the token of another scheme is refused.
    for name, value in (
        ("token-scheme", f"Token {good}"),
        ("bearer-in-longer-scheme", f"BearerToken {good}"),
        ("bearer-cut-short", f"Bear {good}"),
    ):
        yield _authorization(name, NO_CREDENTIALS, other_scheme, value, level="SHOULD")
    for name, field, value in (
        ("token-in-cookie", "Cookie", f"access_token={good}"),
        ("token-in-x-access-token", "X-Access-Token", good),
        ("token-in-proxy-authorization", "Proxy-Authorization", f"Bearer {good}"),
    ):
        yield HostileRequest(
            name=name, headers=((field, value),), answers=NO_CREDENTIALS, why=elsewhere, level="SHOULD"
        )
    yield _authorization(
        "token-without-scheme", MALFORMED, "The scheme comes first, RFC 9110 §11.4.", good, level="SHOULD"
    )
    yield _authorization("empty-authorization", MALFORMED_HTTP, "Credentials start with a scheme, RFC 9110 §11.4.", "")


def _malformed(good: str) -> Iterator[HostileRequest]:
    why = "Credentials are the word Bearer, spaces and one b64token, RFC 6750 §2.1; others are malformed, §3.1."
    for name, value in (("bearer-alone", "Bearer"), ("bearer-and-spaces", "Bearer   ")):
        yield _authorization(name, MALFORMED, why, value)
    # With a valid token inside, a server may recover, RFC 9110 §2.4; RFC 6750 §3.1 recommends status 400.
    for name, value in (
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
        ("colon-after-scheme", f"Bearer: {good}"),
        ("semicolon-after-token", f"Bearer {good};"),
    ):
        yield _authorization(name, MALFORMED, why, value, level="SHOULD")
    yield _authorization("nbsp-for-space", MALFORMED_HTTP, why, f"Bearer\xa0{good}", level="SHOULD")
    # RFC 7515 §5.2 forbids a decoder that leaves out what is not base64url.
    no_base64url = (
        "A segment of a JWS has no other characters than base64url's, RFC 7515 §5.2, nor has a b64token, RFC 6750 §2.1."
    )
    half = len(good) // 2
    for name, answers, token in (
        ("percent-encoded-newline", MALFORMED, f"{good}%0A"),
        ("escaped-newline", MALFORMED, f"{good}\\n"),
        ("padding-inside-token", MALFORMED, good.replace(".", "=.", 1)),
        ("latin-1-in-token", MALFORMED_HTTP, f"{good}\xe9"),
        ("utf-8-in-token", MALFORMED_HTTP, f"{good}{'ａ'.encode().decode('latin-1')}"),  # noqa: RUF001  # full-width on purpose
        ("nul-in-token", MALFORMED_HTTP, f"{good[:half]}\0{good[half:]}"),
        ("control-character-in-token", MALFORMED_HTTP, f"{good[:half]}\x01{good[half:]}"),
    ):
        yield _authorization(name, answers, no_base64url, f"Bearer {token}")
    compact = "A JWT is always in compact serialization, RFC 7519 §1, and JSON is no b64token, RFC 6750 §2.1."
    yield _authorization("json-serialization", MALFORMED, compact, f"Bearer {_json_serialization(good)}")
    recovered = "RFC 9110 §11.4 requires a space; §2.4 lets a server recover."
    yield _authorization("tab-for-space", ACCEPTED_OR_MALFORMED, recovered, f"Bearer\t{good}")
    folded = "A server rejects a folded line or reads it as spaces, RFC 9112 §5.2."
    yield _authorization("folded-line", ACCEPTED_OR_MALFORMED, folded, f"Bearer\r\n {good}")


def _json_serialization(token: str) -> str:
    protected, payload, signature = token.split(".")
    return f'{{"protected":"{protected}","payload":"{payload}","signature":"{signature}"}}'


def _repeated(good: str, tokens: TokenFactory) -> Iterator[HostileRequest]:
    one = "A repeated Authorization is malformed and gets a 400, RFC 6750 §3.1; RFC 9110 §5.3 forbids to send it."
    listed = "A request has one set of credentials, RFC 9110 §11.4; two are malformed, RFC 6750 §3.1."
    expired = tokens.with_claims(exp=tokens.now - 3600)
    for name, values in (
        ("two-headers-bad-and-good", (f"Bearer {expired}", f"Bearer {good}")),
        ("two-headers-good-and-bad", (f"Bearer {good}", f"Bearer {expired}")),
        ("two-headers-basic-and-bearer", (_BASIC, f"Bearer {good}")),
        ("two-headers-bearer-and-basic", (f"Bearer {good}", _BASIC)),
    ):
        yield _authorization(name, MALFORMED_HTTP, one, *values, level="SHOULD")
    for name, value in (
        ("two-credentials-in-one-header", f"Bearer {good}, Bearer {good}"),
        ("basic-and-bearer-in-one-header", f"{_BASIC}, Bearer {good}"),
        ("bearer-and-basic-in-one-header", f"Bearer {good}, {_BASIC}"),
    ):
        yield _authorization(name, MALFORMED, listed, value, level="SHOULD")
    same = "Authorization must not be repeated, RFC 9110 §5.3; §2.4 lets a server recover from equal ones."
    yield _authorization("two-headers-equal", ACCEPTED_OR_MALFORMED, same, f"Bearer {good}", f"Bearer {good}")


def _in_the_query(good: str, tokens: TokenFactory) -> Iterator[HostileRequest]:
    query = f"access_token={good}"
    permitted = "An API may read tokens from the query, RFC 6750 §2.3; otherwise, this request has no credentials."
    yield HostileRequest(
        name="token-in-query", headers=(), query=query, answers=ACCEPTED_OR_NO_CREDENTIALS, why=permitted
    )
    judged = "A token in the query is ignored, RFC 6750 §2.3, or refused as any other after its exp, RFC 7519 §4.1.4."
    expired = f"access_token={tokens.with_claims(exp=tokens.now - 3600)}"
    yield HostileRequest(
        name="expired-token-in-query",
        headers=(),
        query=expired,
        answers=INVALID_TOKEN_OR_NO_CREDENTIALS,
        why=judged,
    )
    basic = (("Authorization", _BASIC),)
    yield HostileRequest(
        name="token-in-query-and-basic", headers=basic, query=query, answers=ACCEPTED_OR_MALFORMED, why=permitted
    )
    both = "Two methods are malformed, RFC 6750 §3.1; an API need not support tokens in the query, §2.3."
    yield bearer("token-in-header-and-query", ACCEPTED_OR_MALFORMED, both, good, query=query)
    bad_header = "Two methods are malformed, RFC 6750 §3.1, and the header's token is not a JWT."
    yield bearer("bad-header-and-token-in-query", MALFORMED, bad_header, "x", query=query, level="SHOULD")


def _long(tokens: TokenFactory) -> Iterator[HostileRequest]:
    # Base64 makes four characters of three bytes.
    note = "x" * ((_LONG_TOKEN_CHARS - len(tokens.token())) * 3 // 4)
    limit = "A server may limit the size of headers and then answers 4xx, RFC 6585 §5 and RFC 9110 §15.5."
    yield bearer("long-token", ACCEPTED_OR_TOO_LONG, limit, tokens.with_claims(note=note))
    yield bearer("long-token-expired", TOO_LONG, limit, tokens.with_claims(note=note, exp=tokens.now - 3600))
    yield bearer(
        "many-dots",
        TOO_LONG,
        "A JWS has three segments, RFC 7515 §7.1; too long a header may be a 431, RFC 6585 §5.",
        "." * _DOTS,
    )
    opaque = "A token that is not a JWT is invalid, RFC 7519 §7.2 and RFC 6750 §3.1."
    yield bearer("opaque-token", INVALID_TOKEN, opaque, "2YotnFZFEjr1zCsicMWpAA")
    yield bearer("one-character", INVALID_TOKEN, opaque, "x")
    yield bearer("dots-alone", INVALID_TOKEN, opaque, "..")
