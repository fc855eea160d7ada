"""Tokens with a signature that holds and claims that do not (RFC 7519 §4, RFC 9068 §2.2 and §4, RFC 6750 §3.1)."""
# ruff: noqa: E501  # a row is a line

from collections.abc import Iterator
from typing import Any

from mock_issuer.hostile.forge import ABSENT, LIFETIME_SECONDS, Forge, spell
from mock_issuer.hostile.request import (
    ACCEPTED,
    INSUFFICIENT_SCOPE,
    INVALID_TOKEN,
    NO_READABLE_SCOPE,
    TOKEN_EITHER_WAY,
    Answers,
    HostileRequest,
    bearer,
)

_HOUR = 3600
_DEEP = 1_500
# More than Python's int() reads without being asked.
_DIGITS = 4_400
_OTHER = "https://other.invalid/"


def claim_requests(forge: Forge) -> Iterator[HostileRequest]:
    """Yield the requests; those about scopes only where the route needs one."""
    yield from _payload_json(forge)
    yield from _issuers(forge)
    yield from _audiences(forge)
    yield from _times(forge)
    yield from _subjects(forge)
    yield from _other_tokens(forge)
    if forge.scope:
        yield from _scopes(forge)


def _payload_json(forge: Forge) -> Iterator[HostileRequest]:
    good = spell(forge.claims())
    inside = good[1:-1]
    valid = "The claims are one valid JSON object in UTF-8, RFC 7519 §7.2."
    for name, raw in (
        ("list", b"[" + good + b"]"), ("string", b'"claims"'), ("number", b"1"), ("null", b"null"), ("true", b"true"),
        ("empty-object", b"{}"), ("no-json", b"iss=x"), ("unfinished", good[:-1]), ("two-objects", good * 2),
        ("trailing-text", good + b"x"), ("trailing-nul", good + b"\0"), ("trailing-comma", good[:-1] + b",}"),
        ("single-quotes", good.replace(b'"', b"'")), ("comment", b"{/**/" + inside + b"}"),
        ("nan", spell(forge.claims(), '"a": NaN')), ("infinity", spell(forge.claims(), '"a": -Infinity')),
        ("utf-16", good.decode().encode("utf-16")), ("utf-32", good.decode().encode("utf-32-le")),
        ("latin-1", good[:-1] + b', "a": "\xe9"}'), ("surrogate-in-utf-8", good[:-1] + b', "a": "\xed\xa0\x80"}'),
        ("unclosed-brackets", good[:-1] + b', "a": ' + b"[" * _DEEP),
    ):  # fmt: skip
        yield bearer(f"payload-{name}", INVALID_TOKEN, valid, forge.token(payload=raw))
    last_counts = "A claim that occurs twice is refused, or its last value counts, RFC 7519 §4."
    for name, member in (
        ("iss", f'"iss": "{_OTHER}"'), ("aud", f'"aud": "{_OTHER}"'), ("exp", f'"exp": {forge.now - _HOUR}'), ("exp-escaped", f'"\\u0065xp": {forge.now - _HOUR}'),
    ):  # fmt: skip
        twice = forge.token(payload=spell(forge.claims(), member))
        yield bearer(f"{name}-twice-bad-last", INVALID_TOKEN, last_counts, twice)
    good_last = forge.token(payload=b'{"sub": "hostile|other", ' + good[1:])
    yield bearer("sub-twice", TOKEN_EITHER_WAY, last_counts, good_last)
    limits = "A parser may set limits, RFC 8259 §9, and answers all the same."
    for name, value in (("deep", "[" * _DEEP + "]" * _DEEP), ("huge-number", "9" * _DIGITS), ("1e400", "1e400")):
        token = forge.token(payload=spell(forge.claims(), f'"a": {value}'))
        yield bearer(f"payload-{name}", TOKEN_EITHER_WAY, limits, token)
    unpredictable = "What a parser does about a byte order mark or a lone surrogate is its own, RFC 8259 §8."
    yield bearer(
        "payload-byte-order-mark", TOKEN_EITHER_WAY, unpredictable, forge.token(payload=b"\xef\xbb\xbf" + good)
    )
    surrogate = forge.with_claims(a="\ud800")
    yield bearer("payload-lone-surrogate", TOKEN_EITHER_WAY, unpredictable, surrogate)
    yield from _odd_but_right(forge, good)


def _odd_but_right(forge: Forge, good: bytes) -> Iterator[HostileRequest]:
    spaced = forge.token(payload=b"\n{\t" + good[1:-1] + b" \r\n}\n")
    yield bearer("payload-white-space", ACCEPTED, "White space around JSON means nothing, RFC 8259 §2.", spaced)
    escaped = forge.token(payload=good.replace(b'"aud"', b'"\\u0061ud"'))
    yield bearer("payload-escaped-name", ACCEPTED, "An escaped name is the same name, RFC 8259 §7.", escaped)
    ignored = "Claims that are not understood are ignored, RFC 7519 §4."
    extra = {"https://hostile.invalid/claim": [{"a": None}], "name": "ünï 主 🙂", "roles": [], "act": {"sub": "x"}}
    yield bearer("unknown-claims", ACCEPTED, ignored, forge.with_claims(**extra))


def _issuers(forge: Forge) -> Iterator[HostileRequest]:
    exact = "iss has to be the trusted issuer, to the character, RFC 9068 §4."
    issuer = forge.issuer
    values: tuple[tuple[str, Any], ...] = (
        ("missing", ABSENT), ("null", None), ("empty", ""), ("number", 1), ("true", True), ("list", [issuer]), ("object", {issuer: 1}), ("other", _OTHER),
        ("slash-toggled", issuer[:-1] if issuer.endswith("/") else f"{issuer}/"), ("second-slash", f"{issuer}//"), ("upper-case", issuer.upper()),
        ("longer", f"{issuer}x"), ("cut-short", issuer[:-2]), ("trailing-space", f"{issuer} "), ("trailing-nul", f"{issuer}\0"), ("query", f"{issuer}?"),
        ("as-user-of-other-host", issuer.rstrip("/") + "@other.invalid/"), ("as-path-of-other", _OTHER + issuer),
    )  # fmt: skip
    for name, value in values:
        yield bearer(f"iss-{name}", INVALID_TOKEN, exact, forge.with_claims(iss=value))


def _audiences(forge: Forge) -> Iterator[HostileRequest]:
    audience = forge.audience
    own = "aud has to hold the API's identifier, to the character, RFC 9068 §4 and RFC 7519 §4.1.3."
    values: tuple[tuple[str, Any], ...] = (
        ("missing", ABSENT), ("null", None), ("empty", ""), ("empty-list", []), ("number", 1), ("true", True), ("number-list", [1]),
        ("list-in-list", [[audience]]), ("object", {audience: True}), ("other", _OTHER), ("other-list", [_OTHER, "x"]), ("asterisk", "*"),
        ("cut-short", audience[:-1]), ("cut-short-list", [audience[:-1]]), ("longer", f"{audience}.other.invalid"), ("trailing-slash", f"{audience}/"),
        ("trailing-space", f"{audience} "), ("two-words", f"{audience} {_OTHER}"), ("comma-list", f"{audience},{_OTHER}"), ("trailing-nul", f"{audience}\0"),
        ("json-in-string", f'["{audience}"]'),
    )  # fmt: skip
    for name, value in values:
        yield bearer(f"aud-{name}", INVALID_TOKEN, own, forge.with_claims(aud=value))
    if audience.upper() != audience:
        yield bearer("aud-upper-case", INVALID_TOKEN, own, forge.with_claims(aud=audience.upper()))
    listed = "aud may be a list that holds the API's identifier among others, RFC 7519 §4.1.3."
    yield bearer("aud-list-of-one", ACCEPTED, listed, forge.with_claims(aud=[audience]))
    yield bearer("aud-list-own-last", ACCEPTED, listed, forge.with_claims(aud=[_OTHER, audience]))
    mixed = "aud holds the API's identifier beside what is no string, RFC 7519 §4.1.3."
    yield bearer("aud-list-with-number", TOKEN_EITHER_WAY, mixed, forge.with_claims(aud=[audience, 1]))


def _times(forge: Forge) -> Iterator[HostileRequest]:
    now, future = forge.now, forge.now + LIFETIME_SECONDS
    over = "A token is not accepted on or after exp, RFC 7519 §4.1.4 and RFC 9068 §4."
    number = "exp is there and a number, RFC 9068 §2.2 and RFC 7519 §4.1.4."
    times: tuple[tuple[str, str, Any], ...] = (
        ("an-hour-ago", over, now - _HOUR), ("an-hour-ago-fraction", over, now - _HOUR + 0.5), ("zero", over, 0), ("negative", over, -future),
        ("missing", number, ABSENT), ("null", number, None), ("string", number, str(future)), ("date", number, "2099-12-31T23:59:59Z"),
        ("empty", number, ""), ("true", number, True), ("list", number, [future]), ("object", number, {"value": future}),
        ("nan", number, float("nan")), ("infinity", number, float("inf")), ("full-width-digits", number, "４１０２４４４８００"),  # noqa: RUF001  # on purpose
    )  # fmt: skip
    for name, why, value in times:
        yield bearer(f"exp-{name}", INVALID_TOKEN, why, forge.with_claims(exp=value))
    early = "A token is not accepted before nbf, which is a number, RFC 7519 §4.1.5."
    for name, value in (
        ("in-an-hour", now + _HOUR), ("string", str(now - _HOUR)), ("false", False), ("list", [now - _HOUR]), ("object", {}), ("date", "2020-01-01T00:00:00Z"),
    ):  # fmt: skip
        yield bearer(f"nbf-{name}", INVALID_TOKEN, early, forge.with_claims(nbf=value))
    any_number = "A NumericDate is any JSON number, RFC 7519 §2."
    exponent = forge.token(payload=spell(forge.claims(exp=ABSENT), f'"exp": {future / 10:.1f}e1'))
    yield bearer("exp-fraction", ACCEPTED, any_number, forge.with_claims(exp=future + 0.5))
    yield bearer("exp-exponent", ACCEPTED, any_number, exponent)
    yield bearer("nbf-and-iat-fraction", ACCEPTED, any_number, forge.with_claims(nbf=now - 60.5, iat=now - 60.5))
    for name, spelling in (("1e400", "1e400"), ("huge", "9" * _DIGITS)):
        token = forge.token(payload=spell(forge.claims(exp=ABSENT), f'"exp": {spelling}'))
        beyond = "A number beyond what the parser holds may be refused, RFC 8259 §6 and §9."
        yield bearer(f"exp-{name}", TOKEN_EITHER_WAY, beyond, token)
    issued = "RFC 9068 §2.2 wants iat as a number; RFC 7519 §4.1.6 has no rule to judge by."
    for name, value in (
        ("missing", ABSENT),
        ("in-an-hour", now + _HOUR),
        ("string", "yesterday"),
        ("list", [now]),
        ("true", True),
    ):
        yield bearer(f"iat-{name}", TOKEN_EITHER_WAY, issued, forge.with_claims(iat=value))


def _subjects(forge: Forge) -> Iterator[HostileRequest]:
    valid = "sub is a string that names a subject, RFC 7519 §4.1.2; an invalid one is refused, RFC 8725 §3.8."
    for name, value in (
        ("empty", ""),
        ("null", None),
        ("number", 1),
        ("true", True),
        ("list", ["x"]),
        ("object", {"a": 1}),
    ):
        yield bearer(f"sub-{name}", INVALID_TOKEN, valid, forge.with_claims(sub=value))
    wanted = "An access token has it, RFC 9068 §2.2; the list of checks in §4 does not say so."
    for claim in ("sub", "client_id", "jti"):
        yield bearer(
            f"{claim.replace('_', '-')}-missing", TOKEN_EITHER_WAY, wanted, forge.with_claims(**{claim: ABSENT})
        )


def _other_tokens(forge: Forge) -> Iterator[HostileRequest]:
    for_client = {"aud": "hostile-check", "nonce": "n", "at_hash": "MTIzNDU2Nzg5MDEyMzQ1Ng", "client_id": ABSENT}
    id_token = forge.token(forge.header(typ="JWT"), forge.claims(**for_client, scope=ABSENT))
    yield bearer("id-token", INVALID_TOKEN, "An ID token is for its client: aud is not the API, RFC 9068 §4.", id_token)
    events: dict[str, Any] = {"http://schemas.openid.net/event/backchannel-logout": {}}
    logout = forge.token(forge.header(typ="logout+jwt"), forge.claims(events=events, scope=ABSENT, exp=ABSENT))
    yield bearer(
        "logout-token", INVALID_TOKEN, "A logout token has its own typ, RFC 8725 §3.11 and RFC 9068 §4.", logout
    )
    proof = forge.token(
        forge.header(typ="dpop+jwt"), {"htm": "GET", "htu": forge.audience, "iat": forge.now, "jti": "j"}
    )
    yield bearer("dpop-proof", INVALID_TOKEN, "A proof is no token, RFC 9449 §4.2 and RFC 9068 §4.", proof)
    if forge.scope:
        api_id_token = forge.token(forge.header(typ="JWT"), forge.claims(nonce="n", client_id=ABSENT, scope=ABSENT))
        grants_nothing = "An ID token has another typ, RFC 9068 §4, and grants no scope, RFC 6750 §3.1."
        yield bearer("id-token-for-the-api", NO_READABLE_SCOPE, grants_nothing, api_id_token)
    bound = "A token bound to a key is no bearer token; an API that knows no binding may not see it, RFC 9449 §7.2."
    for name, member in (("jkt", "jkt"), ("x5t", "x5t#S256")):
        token = forge.with_claims(cnf={member: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})
        yield bearer(f"cnf-{name}", TOKEN_EITHER_WAY, bound, token)


def _scopes(forge: Forge) -> Iterator[HostileRequest]:
    scope = forge.scope
    needed = "The token lacks the scope that the route needs, RFC 6750 §3.1."
    whole = "Scopes are compared whole and case-sensitively, RFC 6749 §3.3."
    one_string = "scope is one string of words between spaces, RFC 8693 §4.2 and RFC 6749 §3.3."
    rows: list[tuple[str, Answers, str, Any]] = [
        ("missing", INSUFFICIENT_SCOPE, needed, ABSENT), ("other", INSUFFICIENT_SCOPE, needed, "hostile:nothing"),
        ("asterisk", INSUFFICIENT_SCOPE, whole, "*"), ("longer", INSUFFICIENT_SCOPE, whole, f"{scope}x"), ("prefixed", INSUFFICIENT_SCOPE, whole, f"x{scope}"),
        ("cut-short", INSUFFICIENT_SCOPE, whole, scope[:-1]), ("suffixed", INSUFFICIENT_SCOPE, whole, f"{scope}:hostile"),
        ("empty", NO_READABLE_SCOPE, needed, ""), ("null", NO_READABLE_SCOPE, one_string, None), ("number", NO_READABLE_SCOPE, one_string, 1),
        ("true", NO_READABLE_SCOPE, one_string, True), ("list", NO_READABLE_SCOPE, one_string, scope.split(" ")), ("object", NO_READABLE_SCOPE, one_string, {scope: True}),
        ("list-of-numbers", NO_READABLE_SCOPE, one_string, [1]), ("quoted", NO_READABLE_SCOPE, one_string, f'"{scope}"'),
    ]  # fmt: skip
    if scope.upper() != scope:
        rows.append(("upper-case", INSUFFICIENT_SCOPE, whole, scope.upper()))
    separators = (
        ("tab", "\t"), ("newline", "\n"), ("nbsp", "\xa0"), ("ideographic-space", "\u3000"), ("next-line", "\x85"),
        ("file-separator", "\x1c"), ("comma", ","), ("plus", "+"),
    )  # fmt: skip
    rows += [
        (f"{name}-separated", NO_READABLE_SCOPE, one_string, f"hostile:nothing{separator}{scope}{separator}x")
        for name, separator in separators
    ]
    for name, answers, why, value in rows:
        yield bearer(f"scope-{name}", answers, why, forge.with_claims(scope=value))
    expired_first = "A token that has expired is told as that, RFC 6750 §3.1, whatever it lacks."
    expired = forge.with_claims(scope=ABSENT, exp=forge.now - _HOUR)
    yield bearer("scope-missing-and-expired", INVALID_TOKEN, expired_first, expired)
    among = "The needed scope stands among others, RFC 6749 §3.3."
    yield bearer("scope-among-others", ACCEPTED, among, forge.with_claims(scope=f"hostile:nothing {scope} openid"))
