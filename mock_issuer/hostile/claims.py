"""Requests whose token has a valid signature and wrong claims (RFC 7519 §4, RFC 9068 §2.2 and §4, RFC 6750 §3.1)."""
# ruff: noqa: E501  # one line a row

from collections.abc import Iterator
from typing import Any

from mock_issuer.hostile.request import (
    ACCEPTED,
    ACCEPTED_OR_INVALID_TOKEN,
    ACCEPTED_OR_UNREADABLE_SCOPE,
    INSUFFICIENT_SCOPE,
    INVALID_TOKEN,
    UNREADABLE_SCOPE,
    Answers,
    HostileRequest,
    bearer,
)
from mock_issuer.hostile.tokens import LIFETIME_SECONDS, OMIT, TokenFactory, encode_json

_HOUR = 3600
_FORTY_MINUTES = 2400
_DEEP = 1_500
# Above the default limit of Python's int(), 4,300 digits.
_DIGITS = 4_400
_OTHER = "https://other.invalid/"


def claim_requests(tokens: TokenFactory) -> Iterator[HostileRequest]:
    """Yield the requests; those about scopes only if the route requires one."""
    yield from _payload_json(tokens)
    yield from _issuers(tokens)
    yield from _audiences(tokens)
    yield from _times(tokens)
    yield from _subjects(tokens)
    yield from _other_tokens(tokens)
    if tokens.scope:
        yield from _scopes(tokens)


def _payload_json(tokens: TokenFactory) -> Iterator[HostileRequest]:
    good = encode_json(tokens.claims())
    inside = good[1:-1]
    valid = "The claims are one valid JSON object in UTF-8, RFC 7519 §7.2."
    for name, raw in (
        ("list", b"[" + good + b"]"), ("string", b'"claims"'), ("number", b"1"), ("null", b"null"), ("true", b"true"),
        ("empty-object", b"{}"), ("no-json", b"iss=x"), ("unfinished", good[:-1]), ("two-objects", good * 2),
        ("trailing-text", good + b"x"), ("trailing-nul", good + b"\0"), ("trailing-comma", good[:-1] + b",}"),
        ("single-quotes", good.replace(b'"', b"'")), ("comment", b"{/**/" + inside + b"}"),
        ("nan", encode_json(tokens.claims(), '"a": NaN')), ("infinity", encode_json(tokens.claims(), '"a": -Infinity')),
        ("utf-16", good.decode().encode("utf-16")), ("utf-32", good.decode().encode("utf-32-le")),
        ("latin-1", good[:-1] + b', "a": "\xe9"}'), ("surrogate-in-utf-8", good[:-1] + b', "a": "\xed\xa0\x80"}'),
        ("unclosed-brackets", good[:-1] + b', "a": ' + b"[" * _DEEP),
    ):  # fmt: skip
        yield bearer(f"payload-{name}", INVALID_TOKEN, valid, tokens.token(payload=raw))
    last_counts = "A duplicate claim is rejected, or its last value counts, RFC 7519 §4."
    for name, member in (
        ("iss", f'"iss": "{_OTHER}"'), ("aud", f'"aud": "{_OTHER}"'), ("exp", f'"exp": {tokens.now - _HOUR}'), ("exp-escaped", f'"\\u0065xp": {tokens.now - _HOUR}'),
    ):  # fmt: skip
        twice = tokens.token(payload=encode_json(tokens.claims(), member))
        yield bearer(f"{name}-twice-bad-last", INVALID_TOKEN, last_counts, twice)
    good_last = tokens.token(payload=b'{"sub": "hostile|other", ' + good[1:])
    yield bearer("sub-twice", ACCEPTED_OR_INVALID_TOKEN, last_counts, good_last)
    limits = "A parser may set limits, RFC 8259 §9; the API still answers."
    for name, value in (("deep", "[" * _DEEP + "]" * _DEEP), ("huge-number", "9" * _DIGITS), ("1e400", "1e400")):
        token = tokens.token(payload=encode_json(tokens.claims(), f'"a": {value}'))
        yield bearer(f"payload-{name}", ACCEPTED_OR_INVALID_TOKEN, limits, token)
    encoding = "A parser may accept or reject a byte order mark or a lone surrogate, RFC 8259 §8."
    yield bearer(
        "payload-byte-order-mark", ACCEPTED_OR_INVALID_TOKEN, encoding, tokens.token(payload=b"\xef\xbb\xbf" + good)
    )
    surrogate = tokens.with_claims(a="\ud800")
    yield bearer("payload-lone-surrogate", ACCEPTED_OR_INVALID_TOKEN, encoding, surrogate)
    yield from _unusual_but_valid(tokens, good)


def _unusual_but_valid(tokens: TokenFactory, good: bytes) -> Iterator[HostileRequest]:
    spaced = tokens.token(payload=b"\n{\t" + good[1:-1] + b" \r\n}\n")
    yield bearer("payload-white-space", ACCEPTED, "White space around JSON is insignificant, RFC 8259 §2.", spaced)
    escaped = tokens.token(payload=good.replace(b'"aud"', b'"\\u0061ud"'))
    yield bearer("payload-escaped-name", ACCEPTED, "An escaped character is the same character, RFC 8259 §7.", escaped)
    ignored = "Claims that are not understood are ignored, RFC 7519 §4."
    extra = {"https://hostile.invalid/claim": [{"a": None}], "name": "ünï 主 🙂", "act": {"sub": "x"}}
    yield bearer("unknown-claims", ACCEPTED, ignored, tokens.with_claims(**extra))


def _issuers(tokens: TokenFactory) -> Iterator[HostileRequest]:
    exact = "iss must equal the trusted issuer exactly, RFC 9068 §4."
    issuer = tokens.issuer
    values: tuple[tuple[str, Any], ...] = (
        ("missing", OMIT), ("null", None), ("empty", ""), ("number", 1), ("true", True), ("list", [issuer]), ("object", {issuer: 1}), ("other", _OTHER),
        ("slash-toggled", issuer[:-1] if issuer.endswith("/") else f"{issuer}/"), ("second-slash", f"{issuer}//"), ("upper-case", issuer.upper()),
        ("longer", f"{issuer}x"), ("cut-short", issuer[:-2]), ("trailing-space", f"{issuer} "), ("trailing-nul", f"{issuer}\0"), ("query", f"{issuer}?"),
        ("as-user-of-other-host", issuer.rstrip("/") + "@other.invalid/"), ("as-path-of-other", _OTHER + issuer),
    )  # fmt: skip
    for name, value in values:
        yield bearer(f"iss-{name}", INVALID_TOKEN, exact, tokens.with_claims(iss=value))


def _audiences(tokens: TokenFactory) -> Iterator[HostileRequest]:
    audience = tokens.audience
    own = "aud must contain the API's identifier exactly, RFC 9068 §4 and RFC 7519 §4.1.3."
    values: tuple[tuple[str, Any], ...] = (
        ("missing", OMIT), ("null", None), ("empty", ""), ("empty-list", []), ("number", 1), ("true", True), ("number-list", [1]),
        ("list-in-list", [[audience]]), ("object", {audience: True}), ("other", _OTHER), ("other-list", [_OTHER, "x"]), ("asterisk", "*"),
        ("cut-short", audience[:-1]), ("cut-short-list", [audience[:-1]]), ("longer", f"{audience}.other.invalid"), ("trailing-slash", f"{audience}/"),
        ("trailing-space", f"{audience} "), ("two-words", f"{audience} {_OTHER}"), ("comma-list", f"{audience},{_OTHER}"), ("trailing-nul", f"{audience}\0"),
        ("json-in-string", f'["{audience}"]'),
    )  # fmt: skip
    for name, value in values:
        yield bearer(f"aud-{name}", INVALID_TOKEN, own, tokens.with_claims(aud=value))
    if audience.upper() != audience:
        yield bearer("aud-upper-case", INVALID_TOKEN, own, tokens.with_claims(aud=audience.upper()))
    listed = "aud may be a list that contains the API's identifier, RFC 7519 §4.1.3."
    yield bearer("aud-list-of-one", ACCEPTED, listed, tokens.with_claims(aud=[audience]))
    yield bearer("aud-list-own-last", ACCEPTED, listed, tokens.with_claims(aud=[_OTHER, audience]))
    mixed = "aud contains the API's identifier, but also a number, RFC 7519 §4.1.3."
    yield bearer("aud-list-with-number", ACCEPTED_OR_INVALID_TOKEN, mixed, tokens.with_claims(aud=[audience, 1]))


def _times(tokens: TokenFactory) -> Iterator[HostileRequest]:
    now, future = tokens.now, tokens.now + LIFETIME_SECONDS
    over = "A token is not accepted on or after exp, RFC 7519 §4.1.4 and RFC 9068 §4."
    number = "exp is required and a number, RFC 9068 §2.2 and RFC 7519 §4.1.4."
    times: tuple[tuple[str, str, Any], ...] = (
        ("an-hour-ago", over, now - _HOUR), ("40-minutes-ago", over, now - _FORTY_MINUTES), ("an-hour-ago-fraction", over, now - _HOUR + 0.5), ("zero", over, 0), ("negative", over, -future),
        ("missing", number, OMIT), ("null", number, None), ("string", number, str(future)), ("date", number, "2099-12-31T23:59:59Z"),
        ("empty", number, ""), ("true", number, True), ("list", number, [future]), ("object", number, {"value": future}),
        ("nan", number, float("nan")), ("infinity", number, float("inf")), ("full-width-digits", number, "４１０２４４４８００"),  # noqa: RUF001  # full-width on purpose
    )  # fmt: skip
    for name, why, value in times:
        yield bearer(f"exp-{name}", INVALID_TOKEN, why, tokens.with_claims(exp=value))
    early = "A token is not accepted before nbf, which is a number, RFC 7519 §4.1.5."
    for name, value in (
        ("in-an-hour", now + _HOUR), ("string", str(now - _HOUR)), ("false", False), ("list", [now - _HOUR]), ("object", {}), ("date", "2020-01-01T00:00:00Z"),
    ):  # fmt: skip
        yield bearer(f"nbf-{name}", INVALID_TOKEN, early, tokens.with_claims(nbf=value))
    soon = {"iat": now + _FORTY_MINUTES, "nbf": now + _FORTY_MINUTES, "exp": future + _FORTY_MINUTES}
    yield bearer("issued-in-40-minutes", INVALID_TOKEN, early, tokens.with_claims(**soon))
    any_number = "A NumericDate may be any JSON number, RFC 7519 §2."
    exponent = tokens.token(payload=encode_json(tokens.claims(exp=OMIT), f'"exp": {future / 10:.1f}e1'))
    yield bearer("exp-fraction", ACCEPTED, any_number, tokens.with_claims(exp=future + 0.5))
    yield bearer("exp-exponent", ACCEPTED, any_number, exponent)
    yield bearer("nbf-and-iat-fraction", ACCEPTED, any_number, tokens.with_claims(nbf=now - 60.5, iat=now - 60.5))
    for name, number in (("1e400", "1e400"), ("huge", "9" * _DIGITS)):
        token = tokens.token(payload=encode_json(tokens.claims(exp=OMIT), f'"exp": {number}'))
        beyond = "A parser may limit the range of numbers, RFC 8259 §6 and §9."
        yield bearer(f"exp-{name}", ACCEPTED_OR_INVALID_TOKEN, beyond, token)
    issued = "RFC 9068 §2.2 requires iat, a number; RFC 7519 §4.1.6 does not require a check."
    for name, value in (
        ("missing", OMIT),
        ("in-an-hour", now + _HOUR),
        ("string", "yesterday"),
        ("list", [now]),
        ("true", True),
    ):
        yield bearer(f"iat-{name}", ACCEPTED_OR_INVALID_TOKEN, issued, tokens.with_claims(iat=value))


def _subjects(tokens: TokenFactory) -> Iterator[HostileRequest]:
    valid = "sub is a string that names a subject, RFC 7519 §4.1.2; an invalid one is rejected, RFC 8725 §3.8."
    for name, value in (
        ("null", None),
        ("number", 1),
        ("true", True),
        ("list", ["x"]),
        ("object", {"a": 1}),
    ):
        yield bearer(f"sub-{name}", INVALID_TOKEN, valid, tokens.with_claims(sub=value))
    wanted = "RFC 9068 §2.2 requires the claim; the checks in §4 leave it out."
    for claim in ("sub", "client_id", "jti"):
        yield bearer(
            f"{claim.replace('_', '-')}-missing", ACCEPTED_OR_INVALID_TOKEN, wanted, tokens.with_claims(**{claim: OMIT})
        )
    empty = "An empty sub counts as a missing one; RFC 9068 §2.2 requires the claim, the checks in §4 leave it out."
    yield bearer("sub-empty", ACCEPTED_OR_INVALID_TOKEN, empty, tokens.with_claims(sub=""))


def _other_tokens(tokens: TokenFactory) -> Iterator[HostileRequest]:
    id_token = tokens.id_token(audience="hostile-check", nonce="n", at_hash="MTIzNDU2Nzg5MDEyMzQ1Ng")
    yield bearer("id-token", INVALID_TOKEN, "An ID token is for its client: aud is not the API, RFC 9068 §4.", id_token)
    events: dict[str, Any] = {"http://schemas.openid.net/event/backchannel-logout": {}}
    logout = tokens.token(tokens.header(typ="logout+jwt"), tokens.claims(events=events, scope=OMIT, exp=OMIT))
    yield bearer(
        "logout-token", INVALID_TOKEN, "A logout token has its own typ, RFC 9068 §4 and RFC 8725 §3.11.", logout
    )
    proof = tokens.token(
        tokens.header(typ="dpop+jwt"), {"htm": "GET", "htu": tokens.audience, "iat": tokens.now, "jti": "j"}
    )
    yield bearer(
        "dpop-proof", INVALID_TOKEN, "A DPoP proof is not an access token, RFC 9068 §4 and RFC 9449 §4.2.", proof
    )
    if tokens.scope:
        api_id_token = tokens.id_token(audience=tokens.audience, nonce="n")
        grants_nothing = "An ID token has another typ, RFC 9068 §4, and grants no scope, RFC 6750 §3.1."
        yield bearer("id-token-for-the-api", UNREADABLE_SCOPE, grants_nothing, api_id_token)
    bound = "A key-bound token is not a bearer token; an API without DPoP may accept it, RFC 9449 §7.2."
    for name, member in (("jkt", "jkt"), ("x5t", "x5t#S256")):
        token = tokens.with_claims(cnf={member: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})
        yield bearer(f"cnf-{name}", ACCEPTED_OR_INVALID_TOKEN, bound, token)


def _scopes(tokens: TokenFactory) -> Iterator[HostileRequest]:
    scope = tokens.scope
    needed = "The token lacks the scope that the route requires, RFC 6750 §3.1."
    whole = "Scopes are compared whole and case-sensitively, RFC 6749 §3.3."
    one_string = "scope is a string of space-separated values, RFC 8693 §4.2 and RFC 6749 §3.3."
    listed = (
        "RFC 8693 §4.2 defines scope as a string; some issuers send a list, and no RFC forbids an API to accept it."
    )
    rows: list[tuple[str, Answers, str, Any]] = [
        ("missing", INSUFFICIENT_SCOPE, needed, OMIT), ("other", INSUFFICIENT_SCOPE, needed, "hostile:nothing"),
        ("asterisk", INSUFFICIENT_SCOPE, whole, "*"), ("longer", INSUFFICIENT_SCOPE, whole, f"{scope}x"), ("prefixed", INSUFFICIENT_SCOPE, whole, f"x{scope}"),
        ("cut-short", INSUFFICIENT_SCOPE, whole, scope[:-1]), ("suffixed", INSUFFICIENT_SCOPE, whole, f"{scope}:hostile"),
        ("empty", UNREADABLE_SCOPE, needed, ""), ("null", UNREADABLE_SCOPE, one_string, None), ("number", UNREADABLE_SCOPE, one_string, 1),
        ("true", UNREADABLE_SCOPE, one_string, True), ("list", ACCEPTED_OR_UNREADABLE_SCOPE, listed, scope.split(" ")), ("object", UNREADABLE_SCOPE, one_string, {scope: True}),
        ("list-of-numbers", UNREADABLE_SCOPE, one_string, [1]), ("quoted", UNREADABLE_SCOPE, one_string, f'"{scope}"'),
    ]  # fmt: skip
    if scope.upper() != scope:
        rows.append(("upper-case", INSUFFICIENT_SCOPE, whole, scope.upper()))
    separators = (
        ("tab", "\t"), ("newline", "\n"), ("nbsp", "\xa0"), ("ideographic-space", "\u3000"), ("next-line", "\x85"),
        ("file-separator", "\x1c"), ("comma", ","), ("plus", "+"),
    )  # fmt: skip
    rows += [
        (f"{name}-separated", UNREADABLE_SCOPE, one_string, f"hostile:nothing{separator}{scope}{separator}x")
        for name, separator in separators
    ]
    for name, answers, why, value in rows:
        yield bearer(f"scope-{name}", answers, why, tokens.with_claims(scope=value))
    expired_first = "An expired token is an invalid_token, RFC 6750 §3.1, even if it lacks the scope."
    expired = tokens.with_claims(scope=OMIT, exp=tokens.now - _HOUR)
    yield bearer("scope-missing-and-expired", INVALID_TOKEN, expired_first, expired)
    among = "The required scope is one of several, RFC 6749 §3.3."
    yield bearer("scope-among-others", ACCEPTED, among, tokens.with_claims(scope=f"hostile:nothing {scope} openid"))
