"""Tokens whose form, algorithm, key or signature is wrong (RFC 7515, RFC 7518, RFC 8725)."""
# ruff: noqa: E501  # a row is a line

import base64
import json
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from cryptography.hazmat.primitives.hashes import SHA1, SHA512
from cryptography.hazmat.primitives.serialization import Encoding

from mock_issuer.hostile.forge import (
    ABSENT,
    Forge,
    attackers_certificate,
    attackers_jwk,
    by_attacker,
    der_by_attacker,
    eddsa_by_attacker,
    es256_by_attacker,
    hs256,
    ps256_by_attacker,
    public_secrets,
    rsa_by_attacker,
    segment,
    spell,
)
from mock_issuer.hostile.request import ACCEPTED, INVALID_TOKEN, TOKEN_EITHER_WAY, HostileRequest, bearer

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_ATTACKERS_SITE = "https://attacker.invalid"
_SIGNATURE_BYTES = 256
_DEEP = 1_500
# More than Python's int() reads without being asked.
_DIGITS = 4_400


def token_requests(forge: Forge) -> Iterator[HostileRequest]:
    """Yield the requests that a look at header and signature decides."""
    yield from _segments(forge)
    yield from _algorithms(forge)
    yield from _extensions(forge)
    yield from _foreign_keys(forge)
    yield from _key_ids(forge)
    yield from _signatures(forge)
    yield from _types(forge)
    yield from _header_json(forge)


def _segments(forge: Forge) -> Iterator[HostileRequest]:
    good = forge.token()
    header, payload, signature = good.split(".")
    three = "A compact JWS has three segments, RFC 7515 §7.1 and §5.2."
    yield bearer("two-segments", INVALID_TOKEN, three, f"{header}.{payload}")
    yield bearer("four-segments", INVALID_TOKEN, three, f"{good}.AAAA")
    yield bearer("trailing-dot", INVALID_TOKEN, three, f"{good}.")
    yield bearer("leading-dot", INVALID_TOKEN, three, f".{good}")
    yield bearer(
        "empty-header", INVALID_TOKEN, "The header is a JSON object, RFC 7515 §5.2.", f".{payload}.{signature}"
    )
    detached = "Nothing is signed in a detached JWS, RFC 7519 §7.2: no claims."
    yield bearer("empty-payload", INVALID_TOKEN, detached, f"{header}..{signature}")
    yield bearer("empty-payload-signed", INVALID_TOKEN, detached, forge.signed(f"{header}."))
    jwe = segment(b'{"alg":"dir","enc":"A128GCM"}')
    yield bearer("jwe", INVALID_TOKEN, "Five segments are a JWE, RFC 7516 §3.1.", f"{jwe}..{payload}.{signature}.AAAA")
    whole = segment(f'{{"protected":"{header}","payload":"{payload}","signature":"{signature}"}}'.encode())
    yield bearer("json-serialization-encoded", INVALID_TOKEN, "A JWT is in compact form, RFC 7519 §3.", whole)
    yield from _encodings(forge, good, signature)


def _encodings(forge: Forge, good: str, signature: str) -> Iterator[HostileRequest]:
    bare = "base64url is without padding, and nothing else may stand there, RFC 7515 §2 and §5.2."
    yield bearer("padded", INVALID_TOKEN, bare, f"{good}==")
    yield bearer("one-pad-character", INVALID_TOKEN, bare, f"{good}=")
    yield bearer("tilde-in-signature", INVALID_TOKEN, bare, f"{good}~")
    # A signature without - and _ would be the same in both alphabets.
    while not {"-", "_"} & set(signature):
        good = forge.token()
        signature = good.rpartition(".")[2]
    other_alphabet = good.removesuffix(signature) + signature.replace("-", "+").replace("_", "/")
    yield bearer("base64-alphabet-in-signature", INVALID_TOKEN, "base64url has - and _, RFC 7515 §2.", other_alphabet)
    signing_input = f"{segment(spell(forge.header()))}.{segment(spell(forge.claims(note='???>>>?')))}"
    slashes = signing_input.replace("-", "+").replace("_", "/")
    yield bearer("base64-alphabet-signed", INVALID_TOKEN, "base64url has - and _, RFC 7515 §2.", forge.signed(slashes))
    no_length = "No octets have this length in base64, RFC 4648 §4."
    yield bearer("impossible-length", INVALID_TOKEN, no_length, good + "A" * (5 - len(signature) % 4))
    loose = good[:-1] + _ALPHABET[_ALPHABET.index(good[-1]) | 1]
    yield bearer(
        "unused-bits-set", TOKEN_EITHER_WAY, "A decoder may refuse unused bits that are set, RFC 4648 §3.5.", loose
    )


def _algorithms(forge: Forge) -> Iterator[HostileRequest]:
    none = "An unsecured JWS is never acceptable here, RFC 8725 §3.2 and RFC 9068 §4."
    for name, algorithm in (
        ("none", "none"),
        ("none-capitalized", "None"),
        ("none-upper", "NONE"),
        ("none-mixed", "nOnE"),
    ):
        yield bearer(f"alg-{name}", INVALID_TOKEN, none, forge.with_header(lambda _: b"", alg=algorithm))
    yield bearer("alg-none-signed", INVALID_TOKEN, none, forge.with_header(alg="none"))
    yield bearer("alg-none-one-byte", INVALID_TOKEN, none, forge.with_header(lambda _: b"\0", alg="none"))
    exact = "alg is a case-sensitive string and has to be there, RFC 7515 §4.1.1."
    for name, value in (
        ("missing", ABSENT), ("empty", ""), ("null", None), ("number", 256), ("list", ["RS256"]), ("object", {"RS256": 1}),
        ("lower-case", "rs256"), ("trailing-space", "RS256 "), ("nul", "RS256\0"), ("comma-list", "RS256,none"),
    ):  # fmt: skip
        yield bearer(f"alg-{name}", INVALID_TOKEN, exact, forge.with_header(alg=value))
    # Not published: then no API can be confused about it.
    published = [jwk for jwk in forge.signer.jwks()["keys"] if jwk.get("kid") == forge.signer.kid]
    confused = "A public key is no secret: alg comes from the API's list, RFC 8725 §2.1 and §3.1."
    for spelling, secret in (each for jwk in published for each in public_secrets(jwk).items()):
        yield bearer(f"hs256-with-{spelling}", INVALID_TOKEN, confused, forge.with_header(hs256(secret), alg="HS256"))
        if spelling == "pem":
            yield bearer("rs256-over-hmac", INVALID_TOKEN, confused, forge.with_header(hs256(secret)))
    weak = "Secrets that can be guessed prove nothing, RFC 8725 §3.5; only RS256 is expected, §3.1."
    yield bearer("hs256-with-empty-secret", INVALID_TOKEN, weak, forge.with_header(hs256(b""), alg="HS256"))
    yield bearer("hs256-with-word-secret", INVALID_TOKEN, weak, forge.with_header(hs256(b"secret"), alg="HS256"))
    listed = "Only the expected algorithm is accepted, with the issuer's key, RFC 8725 §3.1."
    for algorithm, sign in (
        ("ES256", es256_by_attacker), ("EdDSA", eddsa_by_attacker),
        ("PS256", ps256_by_attacker), ("RS512", rsa_by_attacker(SHA512())),
    ):  # fmt: skip
        name = f"{algorithm.lower()}-by-attacker"
        yield bearer(name, INVALID_TOKEN, listed, forge.with_header(sign, alg=algorithm))
    mismatch = "The signature is not of the algorithm in alg, RFC 7515 §5.2."
    yield bearer("rs512-over-rs256", INVALID_TOKEN, mismatch, forge.with_header(alg="RS512"))
    yield bearer("ps256-over-rs256", INVALID_TOKEN, mismatch, forge.with_header(alg="PS256"))
    yield bearer("rs256-over-sha-1", INVALID_TOKEN, mismatch, forge.token(sign=rsa_by_attacker(SHA1())))  # noqa: S303  # to be refused


def _extensions(forge: Forge) -> Iterator[HostileRequest]:
    critical = "An extension that is critical and not understood makes a JWS invalid, RFC 7515 §4.1.11."
    for name, crit, extension in (
        ("unknown", ["urn:hostile:extension"], {"urn:hostile:extension": 1}),
        ("exp", ["exp"], {"exp": forge.now + 60}),
        ("absent-parameter", ["hostile"], {}),
    ):
        header = forge.header(crit=crit, **extension)
        yield bearer(f"crit-{name}", INVALID_TOKEN, critical, forge.token(header))
    misused = "A recipient may refuse a crit that breaks the rules, RFC 7515 §4.1.11."
    for name, value in (("empty", []), ("null", None), ("string", "exp"), ("own-parameter", ["alg"])):
        yield bearer(f"crit-{name}", TOKEN_EITHER_WAY, misused, forge.with_header(crit=value))
    unencoded = "No JWT has an unencoded payload, RFC 7797 §7, and crit names what few APIs know, RFC 7515 §4.1.11."
    yield bearer("b64-false", INVALID_TOKEN, unencoded, forge.with_header(crit=["b64"], b64=False))
    deflated = forge.token(forge.header(zip="DEF"), zlib.compress(spell(forge.claims()), wbits=-15))
    yield bearer("zip", INVALID_TOKEN, "JWS has no compression, RFC 7515 §4.1: the payload is no JSON.", deflated)
    inner = forge.with_claims(exp=forge.now - 3600).encode()
    nested = "The token inside is the one to judge, and has expired, RFC 7519 §7.2."
    yield bearer("nested-expired", INVALID_TOKEN, nested, forge.token(forge.header(cty="JWT"), inner))
    ignored = "Header parameters that are not understood are ignored, RFC 7515 §4."
    yield bearer("unknown-parameter", ACCEPTED, ignored, forge.with_header(hostile="x", other=[{"a": 1}]))


def _foreign_keys(forge: Forge) -> Iterator[HostileRequest]:
    unproven = "A key that comes with the token proves nothing, RFC 8725 §3.10; the issuer's own count, RFC 9068 §4."
    jwk = attackers_jwk()
    key_set = json.dumps({"keys": [jwk]})
    certificate = attackers_certificate()
    chain = [base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()]
    pem = certificate.public_bytes(Encoding.PEM).decode()
    headers: tuple[tuple[str, dict[str, Any]], ...] = (
        ("jwk", {"jwk": jwk, "kid": "attacker"}),
        ("jwk-with-good-kid", {"jwk": jwk | {"kid": forge.signer.kid}}),
        ("jwk-without-kid", {"jwk": jwk, "kid": ABSENT}),
        ("jku", {"jku": f"{_ATTACKERS_SITE}/jwks.json", "kid": "attacker"}),
        # What some fetch without a network.
        ("jku-data-url", {"jku": f"data:application/json,{quote(key_set)}", "kid": "attacker"}),
        ("x5u", {"x5u": f"{_ATTACKERS_SITE}/certificate.pem"}),
        ("x5u-data-url", {"x5u": f"data:application/x-pem-file,{quote(pem)}"}),
        ("x5c", {"x5c": chain}),
        ("x5c-without-kid", {"x5c": chain, "kid": ABSENT}),
        ("jwk-text", {"jwk": "x"}),
        ("x5c-null", {"x5c": None}),
    )
    for name, changes in headers:
        yield bearer(f"attackers-{name}", INVALID_TOKEN, unproven, forge.with_header(by_attacker, **changes))


def _key_ids(forge: Forge) -> Iterator[HostileRequest]:
    unknown = "No key of the issuer verifies it, RFC 7515 §5.2; kid is not to be trusted, RFC 8725 §3.10."
    for name, kid in (
        ("unknown", "attacker"), ("empty", ""), ("missing", ABSENT), ("null", None), ("number", 1), ("list", [forge.signer.kid]),
        ("object", {"a": 1}), ("true", True), ("url", f"{_ATTACKERS_SITE}/jwks.json"), ("file-url", "file:///dev/null"),
        ("newline", f"{forge.signer.kid}\r\nSet-Cookie: a=b"), ("nul", f"{forge.signer.kid}\0"), ("quotes", '","error="x'),
        ("long", "k" * 4_000), ("not-latin", "キー"), ("lone-surrogate", "\ud800"), ("template", "{{7*7}}${7*7}"),
    ):  # fmt: skip
        yield bearer(f"kid-{name}-by-attacker", INVALID_TOKEN, unknown, forge.with_header(by_attacker, kid=kid))
    injected = "kid is not to be trusted as a path or in a query, RFC 8725 §3.10."
    for name, kid, secret in (
        ("path-traversal", "../../../../../../dev/null", b""),
        ("absolute-path", "/dev/null", b""),
        ("sql", "' UNION SELECT 'hostile' -- ", b"hostile"),
        ("command", "x; cat /dev/null |", b""),
    ):
        token = forge.with_header(hs256(secret), alg="HS256", kid=kid)
        yield bearer(f"kid-{name}", INVALID_TOKEN, injected, token)
    hint = "kid is a hint, RFC 7515 §4.1.4: an API may want it, or try the keys it has."
    yield bearer("kid-missing", TOKEN_EITHER_WAY, hint, forge.with_header(kid=ABSENT))
    yield bearer("kid-unknown", TOKEN_EITHER_WAY, hint, forge.with_header(kid="unknown"))


def _signatures(forge: Forge) -> Iterator[HostileRequest]:
    wrong = "The signature does not verify over header and payload with the issuer's key, RFC 7515 §5.2."
    good, other = forge.token(), forge.with_claims(sub="hostile|other")
    signing_input, _, encoded = good.rpartition(".")
    signature = base64.urlsafe_b64decode(f"{encoded}==")
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    for name, raw in (
        ("empty", b""),
        ("truncated", signature[:-1]),
        ("one-byte", signature[:1]),
        ("bit-flipped", flipped),
        ("zero-before", b"\0" + signature),
        ("zero-after", signature + b"\0"),
        ("zeros", bytes(_SIGNATURE_BYTES)),
        ("ones", b"\xff" * _SIGNATURE_BYTES),
        ("asn-1", der_by_attacker(signing_input.encode())),
        ("by-attacker", by_attacker(signing_input.encode())),
        ("of-payload-alone", forge.signer.sign_raw(signing_input.partition(".")[2].encode())),
        ("of-decoded-parts", forge.signer.sign_raw(spell(forge.header()) + b"." + spell(forge.claims()))),
    ):
        yield bearer(f"signature-{name}", INVALID_TOKEN, wrong, f"{signing_input}.{segment(raw)}")
    segments, others = good.split("."), other.split(".")
    for index, part in enumerate(("header", "payload", "signature")):
        mixed = [*segments[:index], others[index], *segments[index + 1 :]]
        if part == "header":
            mixed[0] = segment(spell(forge.header(hostile=1)))
        yield bearer(f"{part}-of-another-token", INVALID_TOKEN, wrong, ".".join(mixed))


def _types(forge: Forge) -> Iterator[HostileRequest]:
    why = "An access token has the typ at+jwt, RFC 9068 §4; any other is refused."
    for typ in ("dpop+jwt", "logout+jwt", "secevent+jwt", "token-introspection+jwt", "oauth-authz-req+jwt", "JOSE"):
        yield bearer(f"typ-{typ.lower().replace('+', '-')}", INVALID_TOKEN, why, forge.with_header(typ=typ))
    for name, value in (
        ("number", 1),
        ("list", ["at+jwt"]),
        ("empty", ""),
        ("other-suffix", "at+jwtx"),
        ("text", "text/at+jwt"),
    ):
        yield bearer(f"typ-{name}", INVALID_TOKEN, why, forge.with_header(typ=value))
    prefix = "at+jwt and application/at+jwt are the same type, RFC 9068 §4 and RFC 7515 §4.1.9."
    yield bearer("typ-with-application", ACCEPTED, prefix, forge.with_header(typ="application/at+jwt"))
    older = "RFC 9068 §4 wants at+jwt; issuers from before it send JWT or nothing, and APIs are told to take that."
    yield bearer("typ-jwt", TOKEN_EITHER_WAY, older, forge.with_header(typ="JWT"))
    yield bearer("typ-missing", TOKEN_EITHER_WAY, older, forge.with_header(typ=ABSENT))
    cased = "RFC 9068 §4 spells it in lower case; media types are case-insensitive, RFC 7515 §4.1.9."
    yield bearer("typ-upper-case", TOKEN_EITHER_WAY, cased, forge.with_header(typ="AT+JWT"))


def _header_json(forge: Forge) -> Iterator[HostileRequest]:
    good = spell(forge.header())
    inside = good[1:-1]
    valid = "The header is one valid JSON object in UTF-8, RFC 7515 §5.2."
    for name, raw in (
        ("list", b"[" + good + b"]"), ("string", b'"RS256"'), ("number", b"1"), ("null", b"null"), ("true", b"true"),
        ("empty-object", b"{}"), ("no-json", b"alg=RS256"), ("unfinished", good[:-1]), ("two-objects", good * 2),
        ("trailing-text", good + b"x"), ("trailing-nul", good + b"\0"), ("trailing-comma", good[:-1] + b",}"),
        ("comment", b"{/**/" + inside + b"}"), ("nan", spell(forge.header(), '"a": NaN')), ("infinity", spell(forge.header(), '"a": Infinity')),
        ("utf-16", good.decode().encode("utf-16")), ("invalid-utf-8", good[:-1] + b', "a": "\xff"}'),
        ("surrogate-in-utf-8", good[:-1] + b', "a": "\xed\xa0\x80"}'), ("unclosed-brackets", good[:-1] + b', "a": ' + b"[" * _DEEP),
    ):  # fmt: skip
        yield bearer(f"header-{name}", INVALID_TOKEN, valid, forge.token(raw))
    last_counts = "A name that occurs twice is refused, or its last value counts, RFC 7515 §4."
    yield bearer(
        "header-alg-twice-none-last", INVALID_TOKEN, last_counts, forge.token(spell(forge.header(), '"alg": "none"'))
    )
    yield bearer(
        "header-typ-twice-bad-last", INVALID_TOKEN, last_counts, forge.token(spell(forge.header(), '"typ": "dpop+jwt"'))
    )
    twice = b'{"alg": "none", ' + good[1:]
    yield bearer("header-alg-twice-good-last", TOKEN_EITHER_WAY, last_counts, forge.token(twice))
    limits = "A parser may set limits, RFC 8259 §9, and answers all the same."
    deep = f'"a": {"[" * _DEEP}{"]" * _DEEP}'
    for name, member in (("deep", deep), ("huge-number", f'"a": {"9" * _DIGITS}'), ("1e400", '"a": 1e400')):
        yield bearer(f"header-{name}", TOKEN_EITHER_WAY, limits, forge.token(spell(forge.header(), member)))
    unpredictable = "What a parser does about a byte order mark or a lone surrogate is its own, RFC 8259 §8."
    yield bearer("header-byte-order-mark", TOKEN_EITHER_WAY, unpredictable, forge.token(b"\xef\xbb\xbf" + good))
    surrogate = spell(forge.header(), '"a": "\\ud800"')
    yield bearer("header-lone-surrogate", TOKEN_EITHER_WAY, unpredictable, forge.token(surrogate))
    spaced = forge.token(b" {\r\n\t" + inside + b" }\n")
    yield bearer("header-white-space", ACCEPTED, "White space around JSON means nothing, RFC 8259 §2.", spaced)
    escaped = forge.token(good.replace(b'"alg"', b'"\\u0061lg"'))
    yield bearer("header-escaped-name", ACCEPTED, "An escaped name is the same name, RFC 8259 §7.", escaped)
