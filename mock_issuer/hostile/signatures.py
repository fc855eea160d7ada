"""Requests whose token has a wrong structure, header, algorithm, key or signature (RFC 7515, RFC 7518, RFC 8725)."""
# ruff: noqa: E501  # one line a row

import base64
import json
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from cryptography.hazmat.primitives.hashes import SHA1, SHA512
from cryptography.hazmat.primitives.serialization import Encoding

from mock_issuer.hostile import attacker
from mock_issuer.hostile.request import ACCEPTED, ACCEPTED_OR_INVALID_TOKEN, INVALID_TOKEN, HostileRequest, bearer
from mock_issuer.hostile.tokens import OMIT, TokenFactory, base64url, encode_json

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_ATTACKERS_SITE = "https://attacker.invalid"
_SIGNATURE_BYTES = 256
_DEEP = 1_500
# Above the default limit of Python's int(), 4,300 digits.
_DIGITS = 4_400


def signature_requests(tokens: TokenFactory) -> Iterator[HostileRequest]:
    """Yield the requests; each token differs from a valid one in its structure, header or signature."""
    yield from _segments(tokens)
    yield from _algorithms(tokens)
    yield from _extensions(tokens)
    yield from _foreign_keys(tokens)
    yield from _key_ids(tokens)
    yield from _signatures(tokens)
    yield from _types(tokens)
    yield from _header_json(tokens)


def _segments(tokens: TokenFactory) -> Iterator[HostileRequest]:
    good = tokens.token()
    header, payload, signature = good.split(".")
    three = "A compact JWS has three segments, RFC 7515 §7.1 and §5.2."
    yield bearer("two-segments", INVALID_TOKEN, three, f"{header}.{payload}")
    yield bearer("four-segments", INVALID_TOKEN, three, f"{good}.AAAA")
    yield bearer("trailing-dot", INVALID_TOKEN, three, f"{good}.")
    yield bearer("leading-dot", INVALID_TOKEN, three, f".{good}")
    yield bearer(
        "empty-header", INVALID_TOKEN, "The header is a JSON object, RFC 7515 §5.2.", f".{payload}.{signature}"
    )
    no_claims = "An empty payload has no claims, RFC 7519 §7.2."
    yield bearer("empty-payload", INVALID_TOKEN, no_claims, f"{header}..{signature}")
    yield bearer("empty-payload-signed", INVALID_TOKEN, no_claims, tokens.add_signature(f"{header}."))
    jwe = base64url(b'{"alg":"dir","enc":"A128GCM"}')
    yield bearer("jwe", INVALID_TOKEN, "Five segments are a JWE, RFC 7516 §3.1.", f"{jwe}..{payload}.{signature}.AAAA")
    whole = base64url(f'{{"protected":"{header}","payload":"{payload}","signature":"{signature}"}}'.encode())
    yield bearer(
        "json-serialization-encoded", INVALID_TOKEN, "A JWT is always in compact serialization, RFC 7519 §1.", whole
    )
    yield from _encodings(tokens, good, signature)


def _encodings(tokens: TokenFactory, good: str, signature: str) -> Iterator[HostileRequest]:
    no_padding = "base64url has no padding and no other characters, RFC 7515 §2 and §5.2."
    yield bearer("padded", INVALID_TOKEN, no_padding, f"{good}==")
    yield bearer("one-pad-character", INVALID_TOKEN, no_padding, f"{good}=")
    yield bearer("tilde-in-signature", INVALID_TOKEN, no_padding, f"{good}~")
    alphabet = "base64url has - and _ in place of + and /, RFC 7515 §2."
    # A signature without - and _ is the same in both alphabets.
    while not {"-", "_"} & set(signature):
        good = tokens.token()
        signature = good.rpartition(".")[2]
    other_alphabet = good.removesuffix(signature) + signature.replace("-", "+").replace("_", "/")
    yield bearer("base64-alphabet-in-signature", INVALID_TOKEN, alphabet, other_alphabet)
    signing_input = f"{base64url(encode_json(tokens.header()))}.{base64url(encode_json(tokens.claims(note='???>>>?')))}"
    slashes = signing_input.replace("-", "+").replace("_", "/")
    yield bearer("base64-alphabet-signed", INVALID_TOKEN, alphabet, tokens.add_signature(slashes))
    no_length = "No octets are encoded to this length in base64, RFC 4648 §4."
    yield bearer("impossible-length", INVALID_TOKEN, no_length, good + "A" * (5 - len(signature) % 4))
    loose = good[:-1] + _ALPHABET[_ALPHABET.index(good[-1]) | 1]
    yield bearer(
        "unused-bits-set",
        ACCEPTED_OR_INVALID_TOKEN,
        "A decoder may reject unused bits that are not zero, RFC 4648 §3.5.",
        loose,
    )


def _algorithms(tokens: TokenFactory) -> Iterator[HostileRequest]:
    none = "An access token with alg none is rejected, RFC 9068 §4 and RFC 8725 §3.2."
    for name, algorithm in (
        ("none", "none"),
        ("none-capitalized", "None"),
        ("none-upper", "NONE"),
        ("none-mixed", "nOnE"),
    ):
        yield bearer(f"alg-{name}", INVALID_TOKEN, none, tokens.with_header(lambda _: b"", alg=algorithm))
    yield bearer("alg-none-signed", INVALID_TOKEN, none, tokens.with_header(alg="none"))
    yield bearer("alg-none-one-byte", INVALID_TOKEN, none, tokens.with_header(lambda _: b"\0", alg="none"))
    exact = "alg is a required, case-sensitive string, RFC 7515 §4.1.1."
    for name, value in (
        ("missing", OMIT), ("empty", ""), ("null", None), ("number", 256), ("list", ["RS256"]), ("object", {"RS256": 1}),
        ("lower-case", "rs256"), ("trailing-space", "RS256 "), ("nul", "RS256\0"), ("comma-list", "RS256,none"),
    ):  # fmt: skip
        yield bearer(f"alg-{name}", INVALID_TOKEN, exact, tokens.with_header(alg=value))
    # Only a published key can be mistaken for an HMAC secret.
    published = [jwk for jwk in tokens.keys.jwks()["keys"] if jwk.get("kid") == tokens.keys.kid]
    confused = "The API chooses the algorithm, so a public key is never an HMAC secret, RFC 8725 §3.1 and §2.1."
    for encoding, secret in (each for jwk in published for each in attacker.public_key_encodings(jwk).items()):
        yield bearer(
            f"hs256-with-{encoding}",
            INVALID_TOKEN,
            confused,
            tokens.with_header(attacker.hs256_signer(secret), alg="HS256"),
        )
        if encoding == "pem":
            yield bearer("rs256-over-hmac", INVALID_TOKEN, confused, tokens.with_header(attacker.hs256_signer(secret)))
    weak = "Only the expected algorithm is accepted, RFC 8725 §3.1; weak secrets never, §3.5."
    yield bearer(
        "hs256-with-empty-secret", INVALID_TOKEN, weak, tokens.with_header(attacker.hs256_signer(b""), alg="HS256")
    )
    yield bearer(
        "hs256-with-word-secret", INVALID_TOKEN, weak, tokens.with_header(attacker.hs256_signer(b"secret"), alg="HS256")
    )
    listed = "Only the expected algorithm is accepted, with the issuer's key, RFC 8725 §3.1."
    for algorithm, sign in (
        ("ES256", attacker.sign_es256), ("EdDSA", attacker.sign_eddsa),
        ("PS256", attacker.sign_ps256), ("RS512", attacker.rsa_signer(SHA512())),
    ):  # fmt: skip
        name = f"{algorithm.lower()}-by-attacker"
        yield bearer(name, INVALID_TOKEN, listed, tokens.with_header(sign, alg=algorithm))
    mismatch = "The signature was not made with the algorithm in alg, RFC 7515 §5.2."
    yield bearer("rs512-over-rs256", INVALID_TOKEN, mismatch, tokens.with_header(alg="RS512"))
    yield bearer("ps256-over-rs256", INVALID_TOKEN, mismatch, tokens.with_header(alg="PS256"))
    yield bearer("rs256-over-sha-1", INVALID_TOKEN, mismatch, tokens.token(sign=attacker.rsa_signer(SHA1())))  # noqa: S303  # the API must reject it


def _extensions(tokens: TokenFactory) -> Iterator[HostileRequest]:
    critical = "A critical extension that is not understood makes the JWS invalid, RFC 7515 §4.1.11."
    for name, crit, extension in (
        ("unknown", ["urn:hostile:extension"], {"urn:hostile:extension": 1}),
        ("exp", ["exp"], {"exp": tokens.now + 60}),
        ("absent-parameter", ["hostile"], {}),
    ):
        header = tokens.header(crit=crit, **extension)
        yield bearer(f"crit-{name}", INVALID_TOKEN, critical, tokens.token(header))
    misused = "A recipient may reject a crit that breaks its rules, RFC 7515 §4.1.11."
    for name, value in (("empty", []), ("null", None), ("string", "exp"), ("own-parameter", ["alg"])):
        yield bearer(f"crit-{name}", ACCEPTED_OR_INVALID_TOKEN, misused, tokens.with_header(crit=value))
    unencoded = "A JWT must not have an unencoded payload, RFC 7797 §7."
    yield bearer("b64-false", INVALID_TOKEN, unencoded, tokens.with_header(crit=["b64"], b64=False))
    deflated = tokens.token(tokens.header(zip="DEF"), zlib.compress(encode_json(tokens.claims()), wbits=-15))
    yield bearer(
        "zip", INVALID_TOKEN, "The payload is not a JSON object, RFC 7519 §7.2: a JWS has no compression.", deflated
    )
    inner = tokens.with_claims(exp=tokens.now - 3600).encode()
    nested = "The inner token of a nested JWT counts, RFC 7519 §7.2, and it has expired."
    yield bearer("nested-expired", INVALID_TOKEN, nested, tokens.token(tokens.header(cty="JWT"), inner))
    ignored = "Header parameters that are not understood are ignored, RFC 7515 §4."
    yield bearer("unknown-parameter", ACCEPTED, ignored, tokens.with_header(hostile="x", other=[{"a": 1}]))


def _foreign_keys(tokens: TokenFactory) -> Iterator[HostileRequest]:
    unproven = "The issuer's published keys count, RFC 9068 §4, not a key in the header, RFC 8725 §3.10."
    jwk = attacker.public_jwk()
    key_set = json.dumps({"keys": [jwk]})
    certificate = attacker.certificate()
    chain = [base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()]
    pem = certificate.public_bytes(Encoding.PEM).decode()
    headers: tuple[tuple[str, dict[str, Any]], ...] = (
        ("jwk", {"jwk": jwk, "kid": "attacker"}),
        ("jwk-with-good-kid", {"jwk": jwk | {"kid": tokens.keys.kid}}),
        ("jwk-without-kid", {"jwk": jwk, "kid": OMIT}),
        ("jku", {"jku": f"{_ATTACKERS_SITE}/jwks.json", "kid": "attacker"}),
        # Some libraries read data: URLs without a network.
        ("jku-data-url", {"jku": f"data:application/json,{quote(key_set)}", "kid": "attacker"}),
        ("x5u", {"x5u": f"{_ATTACKERS_SITE}/certificate.pem"}),
        ("x5u-data-url", {"x5u": f"data:application/x-pem-file,{quote(pem)}"}),
        ("x5c", {"x5c": chain}),
        ("x5c-without-kid", {"x5c": chain, "kid": OMIT}),
        ("jwk-text", {"jwk": "x"}),
        ("x5c-null", {"x5c": None}),
    )
    for name, changes in headers:
        yield bearer(f"attackers-{name}", INVALID_TOKEN, unproven, tokens.with_header(attacker.sign_rs256, **changes))


def _key_ids(tokens: TokenFactory) -> Iterator[HostileRequest]:
    unknown = "No key of the issuer verifies the signature, RFC 7515 §5.2; kid is untrusted, RFC 8725 §3.10."
    for name, kid in (
        ("unknown", "attacker"), ("empty", ""), ("missing", OMIT), ("null", None), ("number", 1), ("list", [tokens.keys.kid]),
        ("object", {"a": 1}), ("true", True), ("url", f"{_ATTACKERS_SITE}/jwks.json"), ("file-url", "file:///dev/null"),
        ("newline", f"{tokens.keys.kid}\r\nSet-Cookie: a=b"), ("nul", f"{tokens.keys.kid}\0"), ("quotes", '","error="x'),
        ("long", "k" * 4_000), ("not-latin", "キー"), ("lone-surrogate", "\ud800"), ("template", "{{7*7}}${7*7}"),
    ):  # fmt: skip
        yield bearer(
            f"kid-{name}-by-attacker", INVALID_TOKEN, unknown, tokens.with_header(attacker.sign_rs256, kid=kid)
        )
    injected = (
        "No key of the issuer made the signature, RFC 9068 §4; kid should not reach a path or a query, RFC 8725 §3.10."
    )
    for name, kid, secret in (
        ("path-traversal", "../../../../../../dev/null", b""),
        ("absolute-path", "/dev/null", b""),
        ("sql", "' UNION SELECT 'hostile' -- ", b"hostile"),
        ("command", "x; cat /dev/null |", b""),
    ):
        token = tokens.with_header(attacker.hs256_signer(secret), alg="HS256", kid=kid)
        yield bearer(f"kid-{name}", INVALID_TOKEN, injected, token)
    hint = "kid is a hint, RFC 7515 §4.1.4: an API may require it, or try all keys."
    yield bearer("kid-missing", ACCEPTED_OR_INVALID_TOKEN, hint, tokens.with_header(kid=OMIT))
    yield bearer("kid-unknown", ACCEPTED_OR_INVALID_TOKEN, hint, tokens.with_header(kid="unknown"))


def _signatures(tokens: TokenFactory) -> Iterator[HostileRequest]:
    wrong = "The signature does not verify over header and payload with the issuer's key, RFC 7515 §5.2."
    good, other = tokens.token(), tokens.with_claims(sub="hostile|other")
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
        ("asn-1", attacker.sign_ecdsa_der(signing_input.encode())),
        ("by-attacker", attacker.sign_rs256(signing_input.encode())),
        ("of-payload-alone", tokens.keys.sign_raw(signing_input.partition(".")[2].encode())),
        ("of-decoded-parts", tokens.keys.sign_raw(encode_json(tokens.header()) + b"." + encode_json(tokens.claims()))),
    ):
        yield bearer(f"signature-{name}", INVALID_TOKEN, wrong, f"{signing_input}.{base64url(raw)}")
    segments, others = good.split("."), other.split(".")
    for index, part in enumerate(("header", "payload", "signature")):
        mixed = [*segments[:index], others[index], *segments[index + 1 :]]
        if part == "header":
            mixed[0] = base64url(encode_json(tokens.header(hostile=1)))
        yield bearer(f"{part}-of-another-token", INVALID_TOKEN, wrong, ".".join(mixed))


def _types(tokens: TokenFactory) -> Iterator[HostileRequest]:
    why = "An access token has the typ at+jwt, RFC 9068 §4; any other is refused."
    for typ in ("dpop+jwt", "logout+jwt", "secevent+jwt", "token-introspection+jwt", "oauth-authz-req+jwt", "JOSE"):
        yield bearer(f"typ-{typ.lower().replace('+', '-')}", INVALID_TOKEN, why, tokens.with_header(typ=typ))
    for name, value in (
        ("number", 1),
        ("list", ["at+jwt"]),
        ("empty", ""),
        ("other-suffix", "at+jwtx"),
        ("text", "text/at+jwt"),
    ):
        yield bearer(f"typ-{name}", INVALID_TOKEN, why, tokens.with_header(typ=value))
    prefix = "at+jwt and application/at+jwt are the same type, RFC 9068 §4 and RFC 7515 §4.1.9."
    yield bearer("typ-with-application", ACCEPTED, prefix, tokens.with_header(typ="application/at+jwt"))
    older = "RFC 9068 §4 requires at+jwt; older issuers send JWT or no typ, and an API may be set up for them."
    yield bearer("typ-jwt", ACCEPTED_OR_INVALID_TOKEN, older, tokens.with_header(typ="JWT"))
    yield bearer("typ-missing", ACCEPTED_OR_INVALID_TOKEN, older, tokens.with_header(typ=OMIT))
    cased = "RFC 9068 §4 writes it in lower case; media types are case-insensitive, RFC 7515 §4.1.9."
    yield bearer("typ-upper-case", ACCEPTED_OR_INVALID_TOKEN, cased, tokens.with_header(typ="AT+JWT"))


def _header_json(tokens: TokenFactory) -> Iterator[HostileRequest]:
    good = encode_json(tokens.header())
    inside = good[1:-1]
    valid = "The header is one valid JSON object in UTF-8, RFC 7515 §5.2."
    for name, raw in (
        ("list", b"[" + good + b"]"), ("string", b'"RS256"'), ("number", b"1"), ("null", b"null"), ("true", b"true"),
        ("empty-object", b"{}"), ("no-json", b"alg=RS256"), ("unfinished", good[:-1]), ("two-objects", good * 2),
        ("trailing-text", good + b"x"), ("trailing-nul", good + b"\0"), ("trailing-comma", good[:-1] + b",}"),
        ("comment", b"{/**/" + inside + b"}"), ("nan", encode_json(tokens.header(), '"a": NaN')), ("infinity", encode_json(tokens.header(), '"a": Infinity')),
        ("utf-16", good.decode().encode("utf-16")), ("invalid-utf-8", good[:-1] + b', "a": "\xff"}'),
        ("surrogate-in-utf-8", good[:-1] + b', "a": "\xed\xa0\x80"}'), ("unclosed-brackets", good[:-1] + b', "a": ' + b"[" * _DEEP),
    ):  # fmt: skip
        yield bearer(f"header-{name}", INVALID_TOKEN, valid, tokens.token(raw))
    last_counts = "A duplicate name is rejected, or its last value counts, RFC 7515 §4."
    yield bearer(
        "header-alg-twice-none-last",
        INVALID_TOKEN,
        last_counts,
        tokens.token(encode_json(tokens.header(), '"alg": "none"')),
    )
    yield bearer(
        "header-typ-twice-bad-last",
        INVALID_TOKEN,
        last_counts,
        tokens.token(encode_json(tokens.header(), '"typ": "dpop+jwt"')),
    )
    twice = b'{"alg": "none", ' + good[1:]
    yield bearer("header-alg-twice-good-last", ACCEPTED_OR_INVALID_TOKEN, last_counts, tokens.token(twice))
    limits = "A parser may set limits, RFC 8259 §9; the API still answers."
    deep = f'"a": {"[" * _DEEP}{"]" * _DEEP}'
    for name, member in (("deep", deep), ("huge-number", f'"a": {"9" * _DIGITS}'), ("1e400", '"a": 1e400')):
        yield bearer(
            f"header-{name}", ACCEPTED_OR_INVALID_TOKEN, limits, tokens.token(encode_json(tokens.header(), member))
        )
    encoding = "A parser may accept or reject a byte order mark or a lone surrogate, RFC 8259 §8."
    yield bearer("header-byte-order-mark", ACCEPTED_OR_INVALID_TOKEN, encoding, tokens.token(b"\xef\xbb\xbf" + good))
    surrogate = encode_json(tokens.header(), '"a": "\\ud800"')
    yield bearer("header-lone-surrogate", ACCEPTED_OR_INVALID_TOKEN, encoding, tokens.token(surrogate))
    spaced = tokens.token(b" {\r\n\t" + inside + b" }\n")
    yield bearer("header-white-space", ACCEPTED, "White space around JSON is insignificant, RFC 8259 §2.", spaced)
    escaped = tokens.token(good.replace(b'"alg"', b'"\\u0061lg"'))
    yield bearer("header-escaped-name", ACCEPTED, "An escaped character is the same character, RFC 8259 §7.", escaped)
