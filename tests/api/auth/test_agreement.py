"""PyJWT and joserfc as references: every token that we accept, they accept too, and read the same claims from it."""

import json
import re
import time
from typing import Any

import jwt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry

from api.auth import AccessToken, AuthConfig, AuthError, TokenVerifier, TrustedIssuer
from api.auth.keys.fetch import Fetched
from tests.api.auth.rejections import usual_signature
from tests.kit.signing import AUDIENCE, ISSUER, b64, claims, jwks, rsa_key

LEEWAY_SECONDS = 30
AUDIENCES = (AUDIENCE, "urn:device-api:second")
KEY = rsa_key(0)
NOW = int(time.time())

# The same examples in every run, and none kept between runs.
same_each_time = settings(derandomize=True, database=None, deadline=None, max_examples=250)

# --- The references ---------------------------------------------------------------------------------------------------

VERIFIER = TokenVerifier(
    AuthConfig(
        issuers=(TrustedIssuer(identifier=ISSUER, audiences=AUDIENCES, jwks_url=f"{ISSUER}keys"),),
        leeway_seconds=LEEWAY_SECONDS,
    ),
    fetch=lambda _url, _timeout_seconds: Fetched(jwks(KEY), None),
)


def by_pyjwt(token: str) -> dict[str, Any]:
    key = jwt.PyJWK(KEY.jwk())
    return jwt.decode(
        token,
        key,
        algorithms=["RS256"],
        audience=AUDIENCES,
        issuer=ISSUER,
        leeway=LEEWAY_SECONDS,
        options={"require": ["exp", "iss", "aud", "sub"]},
    )


def by_joserfc(token: str) -> dict[str, Any]:
    registry = JWSRegistry(algorithms=["RS256"], strict_check_header=False)
    # As lax as RFC 7515 §4: unknown parameters are ignored, x5u and its like are unknown to us, and 8,000 characters
    # are our limit.
    registry.header_registry = {name: registry.header_registry[name] for name in ("alg", "kid", "typ", "crit")}
    registry.max_header_length = 8_000
    token_read = joserfc_jwt.decode(token, RSAKey.import_key(KEY.jwk()), registry=registry)
    joserfc_jwt.JWTClaimsRegistry(
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "values": list(AUDIENCES)},
        exp={"essential": True},
        sub={"essential": True},
    ).validate(token_read.claims)
    return token_read.claims


def accepted(token: str) -> AccessToken | None:
    """Return the token as we read it, after comparing it with what the references read; None if we refuse it."""
    try:
        ours = VERIFIER.verify(token)
    except AuthError:
        with pytest.raises(AuthError):
            VERIFIER.verify(token)
        return None
    assert VERIFIER.verify(token) == ours
    theirs = by_pyjwt(token)
    assert ours.claims == theirs == by_joserfc(token)
    # Equal is not enough in Python: 1 == 1.0 == True.
    assert json.dumps(ours.claims) == json.dumps(theirs)
    assert (ours.issuer, ours.subject, ours.token_id) == (ISSUER, theirs["sub"], theirs.get("jti"))
    assert ours.client_id == theirs.get("client_id", theirs.get("azp"))
    assert list(ours.audiences) == (theirs["aud"] if isinstance(theirs["aud"], list) else [theirs["aud"]])
    assert ours.scopes == set(filter(None, theirs.get("scope", "").split(" ")))
    assert ours.expires_at <= theirs["exp"]
    return ours


# --- Generated tokens -------------------------------------------------------------------------------------------------

any_text = st.text(st.characters(), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=8,
)
# Far enough from every edge of the leeway that the references' later clocks make no difference.
_moments = [NOW + offset for offset in (-86_400, -3_600, -10, 0, 10, 600, 3_600, 10**9)]
times = st.sampled_from(
    [*_moments, *map(float, _moments), *(moment + 0.5 for moment in _moments), *map(str, _moments), -1, 0, True, 1e300]
)
words = st.sampled_from(
    [
        ISSUER,
        ISSUER[:-1],
        *AUDIENCES,
        AUDIENCE + "/",
        "",
        " ",
        "\0",
        "user-1",
        "read:devices",
        "a b",
        "a  b",
        "a\u00a0b",
    ]
)
claim_values = json_values | times | words | st.lists(words, max_size=3)
claim_names = st.sampled_from(
    [
        "iss",
        "sub",
        "aud",
        "exp",
        "nbf",
        "iat",
        "jti",
        "client_id",
        "azp",
        "scope",
        "scp",
        "auth_time",
        "acr",
        "typ",
        "cnf",
    ]
)
header_names = st.sampled_from(
    ["alg", "kid", "typ", "crit", "b64", "cty", "jwk", "jku", "x5u", "x5c", "x5t", "zip", "enc"]
)
header_values = json_values | st.sampled_from(
    ["RS256", "none", "RS512", "HS256", "key-1", "key-2", "JWT", "at+jwt", "application/at+jwt", ["exp"], ["b64"], []]
)


@st.composite
def changed(draw: st.DrawFn, usual: dict[str, Any], names: Any, values: Any) -> dict[str, Any]:
    """Draw an object with a few members changed, added or removed."""
    members = dict(usual)
    members |= draw(st.dictionaries(names | any_text, values, max_size=3))
    for name in draw(st.sets(names, max_size=1)):
        members.pop(name, None)
    return members


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Draw the bytes with a few of them replaced, left out or put in."""
    damaged = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(damaged)))
        end = min(len(damaged), start + draw(st.integers(0, 2)))
        damaged[start:end] = draw(
            st.sampled_from([b"", b" ", b"\n", b"0", b'"', b",", b"}", b"\\u0061", b"\xff"]) | st.binary(max_size=2)
        )
    return bytes(damaged)


def header(**changes: Any) -> bytes:
    return json.dumps({"alg": "RS256", "kid": "key-1", "typ": "at+jwt", **changes}).encode()


GOOD_HEADER = {"alg": "RS256", "kid": "key-1", "typ": "at+jwt"}
GOOD_CLAIMS = claims(NOW)
GOOD_PAYLOAD = json.dumps(GOOD_CLAIMS).encode()
GOOD_TOKEN = KEY.sign(GOOD_CLAIMS)
OTHER_TOKENS = [
    KEY.sign(claims(NOW, sub="user-2")),
    KEY.sign(claims(NOW, aud=[AUDIENCE, "https://other.example"]), typ="JWT"),
    KEY.sign(claims(NOW, exp=NOW - 3_600)),
    rsa_key(1).sign(GOOD_CLAIMS),
]


ACCEPTED = {
    "as usual": GOOD_TOKEN,
    "another subject": OTHER_TOKENS[0],
    "a list of audiences, typ JWT": OTHER_TOKENS[1],
    "no kid": KEY.sign(GOOD_CLAIMS, kid=None),
    "unknown header parameters": KEY.sign(GOOD_CLAIMS, x5u=7, jku="x", unknown={"a": [1]}, fill="x" * 1_000),
    "fractions of a second": KEY.sign(claims(NOW, exp=NOW + 600.75, nbf=NOW - 0.5, iat=float(NOW))),
    "no more than is required": KEY.sign(claims(NOW, scope=None, jti=None, client_id=None, iat=None)),
    "empty and odd strings": KEY.sign(claims(NOW, scope="", sub="\u2028\U0001f642", azp="", client_id=None)),
    "white space and an escaped name": KEY.sign_bytes(b" \n" + GOOD_PAYLOAD.replace(b'"sub"', b'"\\u0073ub"') + b"\t"),
    "a pair of surrogates": KEY.sign_bytes(GOOD_PAYLOAD.replace(b'"user-1"', b'"\\ud83d\\ude42"')),
    "odd numbers": KEY.sign_bytes(GOOD_PAYLOAD[:-1] + b',"a":1e400,"b":-0,"c":12345678901234567890,"d":0.1e1}'),
}


@pytest.mark.parametrize("what", ACCEPTED)
def test_the_references_accept_what_we_accept(what: str) -> None:
    assert accepted(ACCEPTED[what]) is not None


@same_each_time
@given(damaged(GOOD_TOKEN.encode()))
def test_damaged_text(raw: bytes) -> None:
    text = raw.decode("latin-1")
    assert (accepted(text) is not None) == (text == GOOD_TOKEN)


@same_each_time
@given(st.lists(st.tuples(st.sampled_from([GOOD_TOKEN, *OTHER_TOKENS]), st.integers(0, 2)), min_size=3, max_size=3))
@example([(GOOD_TOKEN, 0), (GOOD_TOKEN, 1), (GOOD_TOKEN, 2)])
def test_segments_of_several_tokens(choice: list[tuple[str, int]]) -> None:
    accepted(".".join(token.split(".")[index] for token, index in choice))


@same_each_time
@given(changed(GOOD_CLAIMS, claim_names, claim_values))
def test_other_claims(members: dict[str, Any]) -> None:
    accepted(KEY.sign(members))


@same_each_time
@given(changed(GOOD_HEADER, header_names, header_values))
def test_other_header_parameters(members: dict[str, Any]) -> None:
    accepted(KEY.sign_raw(json.dumps(members).encode(), GOOD_PAYLOAD))


@same_each_time
@given(damaged(GOOD_PAYLOAD))
def test_a_payload_of_other_bytes(payload: bytes) -> None:
    accepted(KEY.sign_bytes(payload))


@same_each_time
@given(damaged(header()))
def test_a_header_of_other_bytes(raw: bytes) -> None:
    accepted(KEY.sign_raw(raw, GOOD_PAYLOAD))


@same_each_time
@given(json_values, st.sampled_from(["utf-8", "utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7"]))
def test_any_json_in_any_encoding(value: Any, encoding: str) -> None:
    accepted(KEY.sign_bytes(json.dumps(value).encode(encoding)))
    accepted(KEY.sign_bytes(json.dumps(GOOD_CLAIMS | {"value": value}).encode(encoding)))
    accepted(KEY.sign_raw(json.dumps(GOOD_HEADER | {"value": value}).encode(encoding), GOOD_PAYLOAD))


# --- Nothing but AuthError --------------------------------------------------------------------------------------------

segments = (
    st.binary(max_size=60).map(b64) | any_text | st.sampled_from([*GOOD_TOKEN.split("."), "e30", "e30=", "bnVsbA"])
)


def refused(text: str) -> None:
    with pytest.raises(AuthError):
        VERIFIER.verify(text)


@same_each_time
@given(st.text(st.characters()))
@example("")
@example("\ud800")
@example("..")
@example("." * 7_999)
@example("." * 70_000)
@example("a" * 70_000)
@example(f"{'W3' * 1_300}.e30.AA")
@example(GOOD_TOKEN + "\n")
@example(GOOD_TOKEN.replace(".", "\uff0e"))
def test_any_text(text: str) -> None:
    refused(text)


@same_each_time
@given(st.lists(segments, max_size=6).map(".".join).filter(lambda text: text != GOOD_TOKEN))
def test_any_segments(text: str) -> None:
    refused(text)


@same_each_time
@given(st.sampled_from(["[", '{"a":', "[{", '{"a":[', "9", "-", '"', "\\", "{"]), st.integers(1, 5_000))
def test_deep_and_long_json(piece: str, count: int) -> None:
    raw = (piece * (count // len(piece))).encode()
    refused(KEY.sign_bytes(raw))
    refused(KEY.sign_raw(raw, GOOD_PAYLOAD))
    refused(KEY.sign_bytes(GOOD_PAYLOAD[:-1] + b',"a":' + raw))


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(
    ("old", "new"),
    [("-", "+"), ("_", "/"), ("$", "="), ("$", "=="), ("$", "!"), ("$", "\n"), ("^", " "), ("$", "AAA"), ("$", "\0")],
)
def test_another_spelling_of_a_segment_signed_so(index: int, old: str, new: str) -> None:
    # Without a request's grammar in front: the verifier alone is for other frameworks too.
    note = {"note": "\u03bf?\u07ff>~~\u07fe?>" * 6}
    parts = [b64(json.dumps(part, ensure_ascii=False).encode()) for part in (GOOD_HEADER | note, GOOD_CLAIMS | note)]
    assert old in "^$" + parts[index]
    parts[index] = re.sub(old if old in "^$" else re.escape(old), lambda _: new, parts[index], count=1)
    signing_input = ".".join(parts)
    refused(f"{signing_input}.{b64(usual_signature('RS256', KEY.private_key, signing_input.encode()))}")
