"""Requests that the mock issuer's hostile table lacks, each with its answer and the reason for it.

Most need an API or an issuer of their own: other algorithms, odd key sets, outages, edges of the leeway, what gunicorn
answers. test_rejections.py sends them over HTTP; test_hostile_requests.py sends the mock issuer's table.
"""
# ruff: noqa: E501, RUF001  # a row is a line; full-width characters are sent on purpose

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from tests.api.auth.answers import Answer
from tests.kit.certificates import client_certificate
from tests.kit.signing import AUDIENCE, SigningKey, b64, rsa_private_key

SECOND_AUDIENCE = "urn:device-api:second"
ATTACKERS_KEYS = "/attacker.json"
ME, DEVICES, READINGS = "/v1/me", "/v1/devices", "/v1/devices/dev_00000000000000000000/readings"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


OK = Answer(200)
NOT_FOUND = Answer(404)  # let in, and then there is no such device
NONE = Answer(401)  # a challenge without an error code
REQUEST = Answer(400, "invalid_request")
TOKEN = Answer(401, "invalid_token")
NO_DEVICES = Answer(403, "insufficient_scope", "read:devices")
NO_READINGS = Answer(403, "insufficient_scope", "read:readings")
LATER = Answer(503)
SERVER_400, SERVER_431 = Answer(400, by_server=True), Answer(431, by_server=True)


@dataclass(frozen=True)
class World:
    """Where the API and the issuers listen, and the moment at which a row is run (a NumericDate)."""

    host: str
    origin: str
    now: int

    def issuer(self, name: str) -> str:
        return f"{self.origin}/{name}/"


Send = Callable[[World], bytes]


class Row(NamedTuple):
    answer: Answer
    what: str
    why: str
    send: Send
    api: str = "usual"  # or another: see APIS


# Each API that rows are sent to, by what its environment adds.
APIS: Mapping[str, Mapping[str, str]] = {
    "usual": {},
    "strict": {
        "API_ALGORITHMS": "RS256,PS256,ES256,EdDSA",
        "API_TOKEN_TYPES": "at+jwt",
        "API_LEEWAY_SECONDS": "0",
        "API_TOKEN_CACHE_SIZE": "0",
        "API_PUBLIC_URL": "https://api.example/",
    },
    # One issuer is asked about opaque tokens; certificates come from a proxy on this machine.
    "asking": {
        "API_ISSUERS": "{origin}/main/",
        "API_INTROSPECTION_CLIENT_ID": "the-api",
        "API_INTROSPECTION_CLIENT_SECRET": "secret-of-the-api",
        "API_INTROSPECTION_ENDPOINT": "{origin}/main/introspect",
        "API_MTLS": "optional",
        "API_MTLS_PROXIES": "127.0.0.1",
    },
    # The proxy is elsewhere, and every token has to be bound.
    "mtls required": {"API_ISSUERS": "{origin}/main/", "API_MTLS": "required", "API_MTLS_PROXIES": "192.0.2.1"},
}


# --- Keys and the sets that issuers publish ---------------------------------------------------------------------------


def rsa_of_exponent(exponent: int) -> rsa.RSAPrivateKey:
    """Return a strong key with an exponent that no library would make one with."""
    for number in count(100):
        numbers = rsa_private_key(number).private_numbers()
        p, q = numbers.p, numbers.q
        if (p - 1) % exponent and (q - 1) % exponent:
            d = pow(exponent, -1, (p - 1) * (q - 1))
            crt = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
            return rsa.RSAPrivateNumbers(p, q, d, *crt, rsa.RSAPublicNumbers(exponent, p * q)).private_key()
    raise AssertionError


_MAKE_KEY: Mapping[str, Callable[[], Any]] = {
    "kid-main": lambda: rsa_private_key(0),
    "kid-single": lambda: rsa_private_key(2),
    "kid-nameless": lambda: rsa_private_key(2),
    "attacker": lambda: rsa_private_key(3),
    "kid-rsa-1024": lambda: rsa_private_key(bits=1024),
    "kid-rsa-2047": lambda: rsa_private_key(bits=2047),
    "kid-e-3": lambda: rsa_private_key(exponent=3),
    "kid-e-17": lambda: rsa_of_exponent(17),
    "kid-e-65539": lambda: rsa_of_exponent(65539),
    "kid-ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    "kid-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "kid-k256": lambda: ec.generate_private_key(ec.SECP256K1()),
    "kid-ed": ed25519.Ed25519PrivateKey.generate,
}
_ALGORITHMS = {"kid-ec": "ES256", "kid-p384": "ES384", "kid-k256": "ES256K", "kid-ed": "EdDSA"}


@cache
def key(name: str) -> SigningKey:
    """Return the key of this name, which is its id too: `a/b` is the key b under the id of a."""
    kid, _, real = name.partition("/")
    real = real or kid
    make = _MAKE_KEY.get(real, lambda: rsa_private_key(1))
    return SigningKey(make(), kid, _ALGORITHMS.get(real, "RS256"))


def private_jwk(name: str) -> dict[str, Any]:
    whole: Any = jwt.get_algorithm_by_name("RS256")
    return {**json.loads(whole.to_jwk(key(name).private_key)), "kid": name, "use": "sig", "key_ops": ["verify"]}


# Members put over those of a good RSA key: the first may be verified with, the second may not.
USABLE: Mapping[str, dict[str, Any]] = {
    "kid-no-use": {"use": None},
    "kid-no-alg": {"alg": None},
    "kid-ops-verify": {"use": None, "key_ops": ["verify"]},
    "kid-ops-both": {"key_ops": ["sign", "verify"]},
    "kid-extra-members": {"x5t": "AAAA", "iat": 1, "nested": {"a": [1]}},
}
UNUSABLE: Mapping[str, dict[str, Any]] = {
    "kid-use-enc": {"use": "enc"},
    "kid-use-upper": {"use": "SIG"},
    "kid-use-number": {"use": 1},
    "kid-ops-sign": {"key_ops": ["sign"]},
    "kid-ops-empty": {"key_ops": []},
    "kid-ops-text": {"key_ops": "verify"},
    "kid-alg-RS512": {"alg": "RS512"},
    "kid-alg-PS256": {"alg": "PS256"},
    "kid-alg-list": {"alg": ["RS256"]},
    "kid-alg-HS256": {"alg": "HS256"},
    "kid-kty-rsa": {"kty": "rsa"},
    "kid-kty-EC": {"kty": "EC"},
    "kid-kty-oct": {"kty": "oct", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
    "kid-n-missing": {"n": None},
    "kid-n-number": {"n": 7},
    "kid-e-empty": {"e": ""},
    "kid-e-even": {"e": "AQAA"},
}
WEAK = ("kid-rsa-1024", "kid-rsa-2047", "kid-e-3", "kid-e-17")


def key_sets() -> dict[str, list[Any]]:
    """Return what each issuer publishes."""
    good, other = key("kid-main").jwk(), key("kid-other").jwk()
    motley = [key(kid).jwk(**members) for kid, members in (*USABLE.items(), *UNUSABLE.items())]
    weak = [key(kid).jwk() for kid in WEAK]
    curves = [key(kid).jwk(alg=None) for kid in ("kid-p384", "kid-k256")]
    unusable: list[Any] = [
        None,
        7,
        "text",
        [],
        {},
        {"kty": "RSA"},
        {"kty": ["RSA"]},
        {"kid": 1, "kty": "RSA"},
        private_jwk("kid-private"),
    ]
    return {
        "main": [good, other],
        "single": [key("kid-single").jwk()],
        "nameless": [key("kid-nameless").jwk(kid=None)],
        "twins": [good, key("kid-main/kid-other").jwk(), key("kid-third").jwk()],
        "unequal-twins": [key("kid-main").jwk(use="enc"), key("kid-main/kid-other").jwk()],
        "lone": [*unusable, *weak, key("kid-use-enc").jwk(use="enc"), key("kid-single").jwk(), key("kid-ec").jwk()],
        "motley": [*unusable, *motley, *weak, *curves, key("kid-e-65539").jwk(), good, key("kid-ec").jwk()],
        "kinds": [
            *(key(kid).jwk() for kid in ("kid-main", "kid-ec", "kid-ed")),
            key("kid-any-rsa").jwk(alg=None),
            key("kid-ps256").jwk(alg="PS256"),
            key("kid-p384").jwk(alg="ES256"),
        ],
        "hopeless": weak,
        "empty": [],
        "only-private": [private_jwk("kid-private")],
    }


# --- What is sent -----------------------------------------------------------------------------------------------------


class Json(str):
    """A value in a claim or header, spelled as it is to be sent."""

    __slots__ = ()


class Now(float):
    """A time in a claim, in seconds from the moment of sending."""

    __slots__ = ()


class Absent:
    """No such member."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = Absent()


def spell(members: Mapping[str, Any], now: int) -> bytes:
    """Return the JSON of an object with a spelling of our own where one is given."""

    def value(given: Any) -> str:
        match given:
            case Json():
                return str(given)
            case Now():
                return json.dumps(now + (int(given) if given.is_integer() else float(given)))
        return json.dumps(given)

    return f"{{{','.join(f'{json.dumps(k)}:{value(v)}' for k, v in members.items() if v is not ABSENT)}}}".encode()


def good_claims(issuer: str) -> dict[str, Any]:
    return {
        "iss": issuer,
        "sub": "subject-of-the-row",
        "aud": AUDIENCE,
        "iat": Now(0),
        "exp": Now(3600),
        "client_id": "client-of-the-row",
        "jti": "token-id-of-the-row",
        "scope": "read:devices read:readings",
    }


def usual_signature(algorithm: str, private_key: Any, signing_input: bytes) -> bytes:
    implementation: Any = jwt.get_algorithm_by_name(algorithm)
    signature: bytes = implementation.sign(signing_input, private_key)
    return signature


Sign = Callable[[Any, bytes], bytes]
Edit = Callable[[str], str]


def token(
    world: World,
    *,
    issuer: str = "main",
    by: str = "kid-main",
    claims: Mapping[str, Any] | None = None,
    header: Mapping[str, Any] | None = None,
    header_json: bytes | None = None,
    payload_json: bytes | None = None,
    sign: Sign | None = None,
    segments: Callable[[str], str] | None = None,
    edit: Edit | None = None,
) -> str:
    """Return a token that is good but for what is asked for, and signed over all that but `edit`.

    `by` names the key; `sign` takes the private key and the signing input; `segments` rewrites the signing input, and
    `edit` the whole.
    """
    signer = key(by)
    usual_header = {"typ": "at+jwt", "alg": signer.algorithm, "kid": signer.kid}
    parts = (
        header_json if header_json is not None else spell(usual_header | dict(header or {}), world.now),
        payload_json
        if payload_json is not None
        else spell(good_claims(world.issuer(issuer)) | dict(claims or {}), world.now),
    )
    signing_input = ".".join(map(b64, parts))
    if segments is not None:
        signing_input = segments(signing_input)
    raw = signing_input.encode()
    if sign is not None:
        signature = sign(signer.private_key, raw)
    else:
        signature = usual_signature(signer.algorithm, signer.private_key, raw)
    whole = f"{signing_input}.{b64(signature)}"
    return whole if edit is None else edit(whole)


def http(
    world: World,
    *authorizations: str,
    to: str = ME,
    method: str = "GET",
    version: str = "1.1",
    headers: Iterable[str] = (),
    body: bytes = b"",
) -> bytes:
    """Return the bytes of a request. What a header holds is sent as Latin-1; a Host among `headers` replaces ours."""
    lines = [f"{method} {to} HTTP/{version}", *(f"Authorization: {value}" for value in authorizations), *headers]
    if version != "1.0" and not any(line.lower().startswith("host:") for line in headers):
        lines.append(f"Host: {world.host}")
    if body and not any(line.lower().startswith("transfer-encoding:") for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    lines += ["Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def auth(*authorizations: str, **request: Any) -> Send:
    """Send these Authorization headers, and `{token}` in anything as a good token."""

    def send(world: World) -> bytes:
        good = token(world)
        filled: dict[str, Any] = {}
        for name, value in request.items():
            match value:
                case str():
                    filled[name] = value.replace("{token}", good)
                case bytes():
                    filled[name] = value.replace(b"{token}", good.encode())
                case _:
                    filled[name] = [line.replace("{token}", good) for line in value]
        return http(world, *(value.replace("{token}", good) for value in authorizations), **filled)

    return send


def bearer(world: World, *, to: str = ME, method: str = "GET", **changes: Any) -> bytes:
    """Return a request with a token with these changes, see `token`."""
    return http(world, f"Bearer {token(world, **changes)}", to=to, method=method)


def sent(*, to: str = ME, **changes: Any) -> Send:
    """Send a token with these changes, see `token`."""
    return lambda world: bearer(world, to=to, **changes)


def claim(*, to: str = ME, **changes: Any) -> Send:
    """Send a good token with these claims changed."""
    return sent(to=to, claims=changes)


def head(*, by: str = "kid-main", issuer: str = "main", **changes: Any) -> Send:
    """Send a good token with these header parameters changed."""
    return sent(by=by, issuer=issuer, header=changes)


def head_json(document: bytes) -> Send:
    """Send a good token with this header, `%` in it being the parameters of a good one."""
    return sent(header_json=document.replace(b"%", b'"typ":"at+jwt","alg":"RS256","kid":"kid-main"'))


def payload(document: bytes | str, encoding: str = "utf-8") -> Send:
    """Send a signed token of this payload, `%` in it being good claims."""

    def send(world: World) -> bytes:
        raw = document.encode(encoding) if isinstance(document, str) else document
        good = spell(good_claims(world.issuer("main")), world.now)[1:-1]
        whole = raw.replace("%".encode(encoding), good.decode().encode(encoding))
        return bearer(world, payload_json=whole)

    return send


def edited(edit: Edit, **changes: Any) -> Send:
    """Send a token with this done to its text after it was signed."""
    return sent(edit=edit, **changes)


def form(value: str, *authorizations: str, kind: str = "application/x-www-form-urlencoded") -> Send:
    return auth(*authorizations, headers=[f"Content-Type: {kind}"], body=value.encode())


def nested(levels: int) -> Json:
    return Json("[" * levels + "]" * levels)


def loose(segment: str) -> str:
    """Return another spelling of the same bytes: one of the last character's unused bits is set."""
    assert len(segment) % 4 in {2, 3}
    return segment[:-1] + ALPHABET[ALPHABET.index(segment[-1]) | 1]


def part(index: int, change: Edit) -> Edit:
    """Change one segment."""

    def edit(text: str) -> str:
        parts = text.split(".")
        parts[index] = change(parts[index])
        return ".".join(parts)

    return edit


def flipped(position: int) -> Edit:
    """Flip the lowest bit of a byte of the signature."""

    def edit(segment: str) -> str:
        raw = bytearray(base64.urlsafe_b64decode(segment + "=="))
        raw[position] ^= 1
        return b64(bytes(raw))

    return part(2, edit)


def signature(change: Callable[[bytes], bytes]) -> Edit:
    return part(2, lambda segment: b64(change(base64.urlsafe_b64decode(segment + "=="))))


def in_another_spelling(index: int) -> Send:
    """Send a token with one segment spelled otherwise, and signed so."""

    def send(world: World) -> bytes:
        header = b'{"alg":"RS256","kid":"kid-main" }'
        payload_json = spell(good_claims(world.issuer("main")), world.now)
        header, payload_json = (raw + b" " * (len(raw) % 3 == 0) for raw in (header, payload_json))
        return bearer(world, header_json=header, payload_json=payload_json, segments=part(index, loose))

    return send


def with_part_of_another(index: int, **changes: Any) -> Send:
    """Send a good token with a segment of one that is as good."""
    return lambda world: bearer(world, edit=part(index, lambda _: token(world, **changes).split(".")[index]))


def with_attackers_key(*, by: str = "kid-main/attacker", issuer: str = "main", **header: Any) -> Send:
    """Send a token that carries the attacker's public key."""
    return lambda world: bearer(world, issuer=issuer, by=by, header={**header, "jwk": key("kid-main/attacker").jwk()})


def pointing(parameter: str, *, by: str = "kid-main", **header: Any) -> Send:
    """Send a token with the address of the attacker's key set."""
    return lambda world: bearer(world, by=by, header={**header, parameter: f"{world.origin}{ATTACKERS_KEYS}"})


def issuer_changed(change: Callable[[str], Any]) -> Send:
    return lambda world: bearer(world, claims={"iss": change(world.issuer("main"))})


def of_length(wanted: int) -> Send:
    """Send a good token of exactly so many characters."""

    def send(world: World) -> bytes:
        without = len(token(world, header={"fill": ""}, claims={"fill": ""}))
        payload_fill = (wanted - without) * 3 // 4 - 4
        for extra in range(9):
            for header_fill in range(4):
                claims = {"fill": "x" * (payload_fill + extra)}
                whole = token(world, header={"fill": "x" * header_fill}, claims=claims)
                if len(whole) == wanted:
                    return http(world, f"Bearer {whole}")
        raise AssertionError("no such length")

    return send


def hs256(secret: Callable[[rsa.RSAPublicKey], bytes]) -> Sign:
    return lambda private, data: hmac.new(secret(private.public_key()), data, hashlib.sha256).digest()


def modulus(public: rsa.RSAPublicKey) -> bytes:
    return public.public_numbers().n.to_bytes(public.key_size // 8)


def under(algorithm: str) -> Sign:
    return lambda private, data: usual_signature(algorithm, private, data)


def pkcs1(algorithm: hashes.HashAlgorithm) -> Sign:
    return lambda private, data: private.sign(data, padding.PKCS1v15(), algorithm)


def pss_without_salt(private: rsa.RSAPrivateKey, data: bytes) -> bytes:
    return private.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 0), hashes.SHA256())


def ecdsa_der(private: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return private.sign(data, ec.ECDSA(hashes.SHA256()))


def ecdsa_raw(private: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    r, s = decode_dss_signature(ecdsa_der(private, data))
    size = (private.key_size + 7) // 8
    return r.to_bytes(size) + s.to_bytes(size)


def other_eddsa_spelling(raw: bytes) -> bytes:
    """Return the signature with the group's order added to S: RFC 8032 §5.1.7 wants S below it."""
    order = 2**252 + 27742317777372353535851937790883648493
    return raw[:32] + (int.from_bytes(raw[32:], "little") + order).to_bytes(32, "little")


def foreign(**claims: Any) -> dict[str, Any]:
    """Return claims without those that mark an access token."""
    return {"client_id": ABSENT, "scope": ABSENT, "jti": ABSENT, **claims}


LOGOUT: dict[str, Any] = {"http://schemas.openid.net/event/backchannel-logout": {}}
VALUES: Mapping[str, Any] = {"null": None, "true": True, "number": 7, "list": ["text"], "object": {"a": "b"}}
NO_NUMBERS: Mapping[str, Any] = {
    "null": None,
    "true": True,
    "false": False,
    "a string of digits": "4102444800",
    "an empty string": "",
    "full-width digits": "４１０２４４４８００",
    "digits with underscores": "4_102_444_800",
    "a date": "2099-12-31T23:59:59Z",
    "a list": [4102444800],
    "an object": {"value": 4102444800},
    "1e400": Json("1e400"),
    "-1e400": Json("-1e400"),
    "NaN": Json("NaN"),
    "Infinity": Json("Infinity"),
    "a thousand digits": Json("9" * 1000),
    "more digits than Python reads": Json("9" * 4400),
}

# --- The table --------------------------------------------------------------------------------------------------------

HEADER_SYNTAX = [
    Row(OK, "a good token", "6750 §2.1", auth("Bearer {token}")),
    Row(OK, "several spaces", "6750 §2.1: 1*SP", auth("Bearer    {token}")),
    Row(OK, "white space around the value", "9110 §5.5: it is not part of the value", auth(" \t Bearer {token} \t ")),
    Row(OK, "field name in upper case", "9110 §5.1", auth(headers=["AUTHORIZATION: Bearer {token}"])),
    Row(OK, "HTTP/1.0", "9110 §2.5", auth("Bearer {token}", version="1.0")),
    Row(OK, "HTTP/1.0 with Host", "9110 §7.2", auth("Bearer {token}", version="1.0", headers=["Host: api.example"])),
    Row(OK, "HEAD with a good token", "9110 §9.3.2", auth("Bearer {token}", method="HEAD")),
    Row(OK, "a body that names an access_token, in JSON", "6750 §2.2: forms only", form('{"access_token":"x"}', "Bearer {token}", kind="application/json")),
    Row(OK, "a body that looks like a form, as text", "6750 §2.2: forms only", form("access_token=x", "Bearer {token}", kind="text/plain")),
    Row(OK, "a form without access_token", "6750 §2.2", form("token=x&access-token=y", "Bearer {token}")),
    Row(OK, "a cookie named access_token beside the header", "6750 §2", auth("Bearer {token}", headers=["Cookie: access_token=x"])),
    Row(NONE, "no Authorization, HEAD", "9110 §9.3.2", auth(method="HEAD")),
    Row(NONE, "no Authorization, HTTP/1.0 without Host", "6750 §3", auth(version="1.0")),
    Row(NONE, "a Host that could end the quotes", "9110 §5.6.4", auth(headers=['Host: a",error="x'])),
    Row(NONE, "a Host with a path and a query", "9110 §7.2", auth(headers=["Host: a.example/b?c=d#e"])),
    Row(NONE, "a Host with a user", "9110 §4.2.4", auth(headers=["Host: user:password@a.example"])),
    Row(NONE, "a Host that is not ASCII", "9110 §7.2", auth(headers=["Host: \xe4.example"])),
    Row(NONE, "an empty Host", "9110 §7.2", auth(headers=["Host:"])),
    Row(NONE, "a Host with a backslash", "9110 §5.6.4", auth(headers=["Host: a\\.example"])),
    Row(NONE, "Basic without credentials", "6750 §3", auth("Basic")),
    Row(NONE, "X-Authorization", "6750 §2.1", auth(headers=["X-Authorization: Bearer {token}"])),
    Row(NONE, "a cookie", "6750 §2", auth(headers=["Cookie: access_token={token}; Authorization=Bearer {token}"])),
    Row(NONE, "in the trailers of a chunked body", "9110 §6.5.1: not merged", auth(headers=["Transfer-Encoding: chunked", "Trailer: Authorization"], body=b"1\r\nx\r\n0\r\nAuthorization: Bearer {token}\r\n\r\n")),
    Row(NONE, "query twice", "9700 §4.3.2", auth(to="/v1/me?access_token={token}&access_token=x")),
    Row(NONE, "form only", "9700 §4.3.2", form("access_token={token}")),
    Row(NONE, "form and query", "9700 §4.3.2", auth(to="/v1/me?access_token={token}", headers=["Content-Type: application/x-www-form-urlencoded"], body=b"access_token={token}")),
    Row(NONE, "multipart only", "6750 §2.2", form('--b\r\nContent-Disposition: form-data; name="access_token"\r\n\r\n{token}\r\n--b--\r\n', kind="multipart/form-data; boundary=b")),
    Row(NONE, "no credentials and a form beyond what is read", "6750 §3.1: no credentials, whatever the body", form("a=" + "x" * 2_000_000)),
    Row(REQUEST, "a tab after the space", "6750 §2.1", auth("Bearer \t{token}")),
    Row(REQUEST, "a tab and a word", "6750 §2.1", auth("Bearer {token}\tx")),
    Row(REQUEST, "NBSP after the space", "6750 §2.1", auth("Bearer \xa0{token}")),
    Row(SERVER_400, "a control character", "9110 §5.5", auth("Bearer {token}\x01")),
    Row(SERVER_400, "a vertical tab at the end", "9110 §5.5", auth("Bearer {token}\x0b")),
    Row(SERVER_400, "DEL", "9110 §5.5", auth("Bearer {token}\x7f")),
    Row(REQUEST, "two headers, the first bad", "9110 §11.6.2", auth("Bearer x", "Bearer {token}")),
    Row(REQUEST, "two headers, the second empty", "9110 §11.6.2", auth("Bearer {token}", "")),
    Row(REQUEST, "two headers, the first empty", "9110 §11.6.2", auth("", "Bearer {token}")),
    Row(REQUEST, "two headers, in two cases", "9110 §5.1", auth("Bearer {token}", headers=["aUTHORIZATION: bearer {token}"])),
    Row(REQUEST, "two headers, one without a token", "9110 §11.6.2", auth("Basic dXNlcjpwYXNzd29yZA==", "Bearer")),
    Row(REQUEST, "header and another token in the query", "6750 §2", auth("Bearer {token}", to="/v1/me?access_token=x")),
    Row(REQUEST, "header and an empty query token", "6750 §2", auth("Bearer {token}", to="/v1/me?access_token=")),
    Row(REQUEST, "header and a query token without =", "6750 §2", auth("Bearer {token}", to="/v1/me?access_token")),
    Row(REQUEST, "header and a percent-encoded name", "6750 §2", auth("Bearer {token}", to="/v1/me?access%5Ftok%65n=x")),
    Row(REQUEST, "header and form", "6750 §2", form("access_token={token}", "Bearer {token}")),
    Row(REQUEST, "header and a form with a charset", "6750 §2.2", form("a=b&access_token=x", "Bearer {token}", kind="Application/X-WWW-Form-Urlencoded; charset=UTF-8")),
    Row(REQUEST, "header and a chunked form", "6750 §2.2", auth("Bearer {token}", headers=["Content-Type: application/x-www-form-urlencoded", "Transfer-Encoding: chunked"], body=b"e\r\naccess_token=x\r\n0\r\n\r\n")),
    Row(REQUEST, "header and a form with an invalid byte", "6750 §2", auth("Bearer {token}", headers=["Content-Type: application/x-www-form-urlencoded"], body=b"a=\xff&access_token=x")),
    Row(REQUEST, "header and form, HTTP/1.0", "6750 §2", auth("Bearer {token}", version="1.0", headers=["Content-Type: application/x-www-form-urlencoded"], body=b"access_token=x")),
    Row(REQUEST, "HEAD with two words", "6750 §2.1", auth("Bearer {token} x", method="HEAD")),
    Row(SERVER_400, "a folded header", "9112 §5.2", auth("Bearer\r\n {token}")),
    Row(SERVER_400, "a space before the colon", "9112 §5.1", auth(headers=["Authorization : Bearer {token}"])),
    Row(SERVER_400, "NUL in the header", "9110 §5.5", auth("Bearer {token}\0")),
    Row(SERVER_400, "a bare CR in the header", "9110 §5.5", auth("Bearer {token}\rX-A: b")),
    Row(SERVER_431, "a header over 8,190 bytes", "6585 §5", auth("Bearer " + "a" * 8_300)),
    Row(SERVER_431, "more headers than we read", "6585 §5", auth("Bearer {token}", headers=[f"X-{n}: y" for n in range(80)])),
]  # fmt: skip

JWS_FORM = [
    Row(TOKEN, "= alone after a character", "7515 §3.1", auth("Bearer a=")),
    Row(TOKEN, "thousands of dots", "7515 §3.1", auth("Bearer " + "." * 7_000)),
    Row(TOKEN, "a header in another spelling, signed so", "4648 §3.5", in_another_spelling(0)),
    Row(TOKEN, "a payload in another spelling, signed so", "4648 §3.5", in_another_spelling(1)),
    Row(TOKEN, "the alphabet of base64, signed so", "7515 §2: base64url", sent(claims={"note": "????"}, segments=lambda text: text.replace("_", "/").replace("-", "+"))),
    Row(TOKEN, "a tilde in a segment", "7515 §2", edited(part(1, lambda segment: segment + "~"))),
    Row(TOKEN, "a nested JWS", "7519 §5.2: we take none", lambda world: bearer(world, header={"cty": "JWT"}, payload_json=token(world).encode())),
    Row(OK, "8,000 characters", "DESIGN §3", of_length(8_000)),
    Row(TOKEN, "8,001 characters", "DESIGN §3: checked first", of_length(8_001)),
    Row(TOKEN, "8,150 characters", "DESIGN §3", of_length(8_150)),
    Row(TOKEN, "8,001 characters of nothing", "DESIGN §3", auth("Bearer " + "a" * 8_001)),
]  # fmt: skip

HEADER_JSON = [
    Row(OK, "a parameter three levels deep", "7515 §4", head(unknown={"a": [{"b": 1}]})),
    Row(TOKEN, "header: single quotes", "8259 §7", head_json(b"{'alg':'RS256','kid':'kid-main'}")),
    Row(TOKEN, "header: a vertical tab around it", "8259 §2", head_json(b"\x0b{%}")),
    Row(TOKEN, "header: a raw line break in a string", "8259 §7", head_json(b'{%,"a":"\n"}')),
    Row(TOKEN, "header: alg twice", "7515 §4: names are unique", head_json(b'{%,"alg":"RS256"}')),
    Row(TOKEN, "header: alg twice, once escaped", "7515 §4", head_json(b'{%,"\\u0061lg":"none"}')),
    Row(TOKEN, "header: kid twice", "7515 §4", head_json(b'{%,"kid":"kid-other"}')),
    Row(TOKEN, "header: an unknown parameter twice", "7515 §4", head_json(b'{%,"a":1,"a":1}')),
    Row(TOKEN, "header: a name twice further in", "8725 §2.4", head_json(b'{%,"a":{"b":1,"b":2}}')),
    Row(TOKEN, "header: a lone surrogate as a name", "8259 §8.2", head_json(b'{%,"\\udc00":1}')),
    Row(TOKEN, "header: an overlong character", "3629 §3", head_json(b'{%,"a":"\xc0\xae"}')),
    Row(TOKEN, "header: UTF-16", "8725 §3.7", sent(header_json='{"alg":"RS256","kid":"kid-main"}'.encode("utf-16-le"))),
    Row(TOKEN, "header: UTF-32", "8725 §3.7", sent(header_json='{"alg":"RS256","kid":"kid-main"}'.encode("utf-32"))),
    Row(TOKEN, "header: 20 levels", "DESIGN §3: a few levels", head(unknown=nested(20))),
    Row(TOKEN, "header: 2,400 levels", "DESIGN §3", head(unknown=nested(2_400))),
    Row(TOKEN, "header: 2,000 objects, never closed", "8259 §4", head_json(b'{"a":' * 1_000)),
]  # fmt: skip

ALGORITHM = [
    *(Row(TOKEN, f"alg {alg!r}, no signature to speak of", "8725 §3.1", sent(header={"alg": alg}, sign=lambda _key, _data: b"\0")) for alg in ("None", "NONE", "nOnE", "")),
    *(Row(TOKEN, f"alg {alg!r}, signed as RS256", "7515 §4.1.1: case-sensitive, exact", head(alg=alg)) for alg in (" RS256", "RS-256", "ＲＳ２５６", "RSA256", "SHA256")),
    Row(TOKEN, "alg: true", "7515 §4.1.1: a string", head(alg=True)),
    Row(TOKEN, "HS256 under the id of an oct entry", "8725 §2.1", sent(issuer="motley", header={"alg": "HS256", "kid": "kid-kty-oct"}, sign=hs256(lambda _: bytes(32)))),
    *(Row(TOKEN, f"{alg}, signed so", "8725 §3.1: not in the allow-list", sent(header={"alg": alg}, sign=under(alg))) for alg in ("RS384", "PS512")),
    Row(TOKEN, "alg RS256, signed as RS512", "7518 §3.3", sent(sign=under("RS512"))),
    Row(TOKEN, "alg RS256, signed as PS256", "7518 §3.3", sent(sign=under("PS256"))),
    Row(TOKEN, "alg RS256, signed over SHA-1", "7518 §3.3", sent(sign=pkcs1(hashes.SHA1()))),
    Row(TOKEN, "ES256 with a published key", "8725 §3.1: not in the allow-list", sent(issuer="motley", by="kid-ec")),
    Row(TOKEN, "EdDSA", "8725 §3.1: not in the allow-list", sent(issuer="kinds", by="kid-ed")),
    Row(TOKEN, "RS256 under the id of an EC key", "7517 §4.5", sent(issuer="motley", by="kid-main", header={"kid": "kid-ec"})),
    Row(OK, "RS256, where four are allowed", "8725 §3.1", sent(issuer="kinds"), "strict"),
    Row(OK, "PS256, allowed, key without alg", "7517 §4.4", sent(issuer="kinds", by="kid-any-rsa", header={"alg": "PS256"}, sign=under("PS256")), "strict"),
    Row(OK, "RS256, allowed, key without alg", "7517 §4.4", sent(issuer="kinds", by="kid-any-rsa"), "strict"),
    Row(OK, "PS256, allowed, key for PS256", "7517 §4.4", sent(issuer="kinds", by="kid-ps256", header={"alg": "PS256"}, sign=under("PS256")), "strict"),
    Row(OK, "ES256, allowed", "7518 §3.4", sent(issuer="kinds", by="kid-ec"), "strict"),
    Row(OK, "EdDSA, allowed", "8037 §3.1", sent(issuer="kinds", by="kid-ed"), "strict"),
    Row(TOKEN, "PS256, allowed, key for RS256", "7517 §4.4: alg fits the key", sent(issuer="kinds", header={"alg": "PS256"}, sign=under("PS256")), "strict"),
    Row(TOKEN, "RS256, allowed, key for PS256", "7517 §4.4", sent(issuer="kinds", by="kid-ps256"), "strict"),
    Row(TOKEN, "PS256, a salt of another length", "7518 §3.5: as long as the hash", sent(issuer="kinds", by="kid-ps256", header={"alg": "PS256"}, sign=pss_without_salt), "strict"),
    Row(TOKEN, "RS512, not among the four", "8725 §3.1", sent(issuer="kinds", by="kid-any-rsa", header={"alg": "RS512"}, sign=under("RS512")), "strict"),
    Row(TOKEN, "ES256 under the id of an RSA key", "8725 §3.1", sent(issuer="kinds", by="kid-ec", header={"kid": "kid-any-rsa"}), "strict"),
    Row(TOKEN, "RS256 under the id of an EC key, where allowed", "8725 §3.1", sent(issuer="kinds", header={"kid": "kid-ec"}), "strict"),
    Row(TOKEN, "EdDSA under the id of an EC key", "8725 §3.1", sent(issuer="kinds", by="kid-ed", header={"kid": "kid-ec"}), "strict"),
    Row(TOKEN, "ES256 with a P-384 key said to be for it", "7518 §3.4: P-256", sent(issuer="kinds", by="kid-p384", header={"alg": "ES256"}, sign=ecdsa_raw), "strict"),
    Row(TOKEN, "ES256, signature in DER", "7518 §3.4: R and S, 64 octets", sent(issuer="kinds", by="kid-ec", sign=ecdsa_der), "strict"),
    Row(TOKEN, "ES256, signature of zeros", "7518 §3.4: R and S are positive", sent(issuer="kinds", by="kid-ec", sign=lambda _key, _data: bytes(64)), "strict"),
    Row(TOKEN, "ES256, signature of 63 octets", "7518 §3.4", edited(signature(lambda raw: raw[:-1]), issuer="kinds", by="kid-ec"), "strict"),
    Row(TOKEN, "ES256, signature of 66 octets", "7518 §3.4", edited(signature(lambda raw: b"\0" + raw[:32] + b"\0" + raw[32:]), issuer="kinds", by="kid-ec"), "strict"),
    Row(TOKEN, "ES256, R and S the wrong way round", "7518 §3.4", edited(signature(lambda raw: raw[32:] + raw[:32]), issuer="kinds", by="kid-ec"), "strict"),
    Row(TOKEN, "ES256, DER of zeros", "7518 §3.4", sent(issuer="kinds", by="kid-ec", sign=lambda _key, _data: encode_dss_signature(0, 0)), "strict"),
    Row(TOKEN, "EdDSA, a second spelling of S", "8032 §5.1.7", edited(signature(other_eddsa_spelling), issuer="kinds", by="kid-ed"), "strict"),
    Row(TOKEN, "EdDSA, signature of zeros", "8032 §5.1.7", sent(issuer="kinds", by="kid-ed", sign=lambda _key, _data: bytes(64)), "strict"),
    Row(TOKEN, "EdDSA, 65 octets", "8032 §5.1.7", edited(signature(lambda raw: raw + b"\0"), issuer="kinds", by="kid-ed"), "strict"),
    Row(TOKEN, "alg none, where four are allowed", "8725 §3.1", sent(issuer="kinds", header={"alg": "none"}, sign=lambda _key, _data: b"\0"), "strict"),
]  # fmt: skip

HEADER_PARAMETERS = [
    *(Row(TOKEN, f"crit: {crit!r}", "7515 §4.1.11: we know no extension", head(crit=crit, **more)) for crit, more in (
        (["b64"], {"b64": True}), (["http://example.com/x"], {"http://example.com/x": 1}), ({}, {}),
    )),
    Row(TOKEN, "b64 false", "7797 §3: the payload would be another", head(b64=False)),
    Row(TOKEN, "b64 false and critical, payload as it is", "7797 §3", sent(header={"b64": False, "crit": ["b64"]}, segments=lambda text: text.partition(".")[0] + ".e30")),
    Row(TOKEN, "zip", "7516 §4.1.3: the payload is not JSON", sent(header={"zip": "DEF"}, payload_json=b"\x78\x9c\x03\x00\x00\x00\x00\x01")),
    Row(TOKEN, "jwk: the attacker's key, one key published", "8725 §3.10", with_attackers_key(issuer="single", kid=ABSENT)),
    Row(TOKEN, "jku: the attacker's set", "8725 §3.10: never fetched", pointing("jku", by="kid-main/attacker")),
    Row(TOKEN, "x5u: the attacker's certificate", "8725 §3.10", pointing("x5u", by="kid-main/attacker")),
    Row(TOKEN, "kid: the address of the attacker's set", "8725 §3.10", pointing("kid", by="attacker")),
    Row(OK, "jwk: the attacker's, signature good", "7515 §4: ignored", with_attackers_key(by="kid-main")),
    Row(OK, "jku, x5u, x5c, x5t of no use", "7515 §4: ignored", pointing("jku", x5u=7, x5c=None, x5t="x")),
    *(Row(OK, f"typ {typ!r}", "9068 §2.1, 7515 §4.1.9", head(typ=typ)) for typ in ("Application/AT+JWT", "jwt", "application/jwt")),
    *(Row(TOKEN, f"typ {typ!r}", "8725 §3.11, 7515 §4.1.9", head(typ=typ)) for typ in (
        "id+jwt", "JWE", " ", "at+jwt ", " at+jwt", "at+jwt;q=1", "application/application/at+jwt", "application/", "at jwt", "at-jwt", "ât+jwt", "at+\u212awt", "application/at+jwt\0",
    )),
    *(Row(TOKEN, f"typ: {kind}", "7515 §4.1.9: a string", head(typ=value)) for kind, value in {"null": None, "true": True, "object": {"a": "b"}}.items()),
    Row(OK, "typ at+jwt, where no other is allowed", "9068 §4", sent(issuer="kinds"), "strict"),
    Row(TOKEN, "typ JWT, where at+jwt alone is allowed", "9068 §4", sent(issuer="kinds", header={"typ": "JWT"}), "strict"),
    Row(TOKEN, "typ absent, where at+jwt alone is allowed", "9068 §4", sent(issuer="kinds", header={"typ": ABSENT}), "strict"),
]  # fmt: skip

KEY_ID = [
    *(Row(TOKEN, f"kid {kid[:30]!r}", "7515 §4.1.4: names no key", head(kid=kid)) for kid in (
        "", " ", "KID-MAIN", "kid-main ", " kid-main", "kid-main\0", "../../../../dev/null", "/etc/passwd", "file:///dev/null", "' UNION SELECT 'x' --", "1; DROP TABLE devices",
        "kid-main\r\nSet-Cookie: a=b", "\n", '","kid":"x', "x" * 5_000, "ｋid-main", "$(id)", "{{7*7}}", "kid-single",
    )),
    *(Row(TOKEN, f"kid: {kind}", "7515 §4.1.4: a string", head(kid=value)) for kind, value in VALUES.items()),
    *(Row(TOKEN, f"kid: {kind}, one key published", "7515 §4.1.4", head(issuer="single", by="kid-single", kid=value)) for kind, value in VALUES.items()),
    Row(OK, "the second key", "7517 §5", sent(by="kid-other")),
    Row(OK, "no kid, one key", "DESIGN §3", head(issuer="single", by="kid-single", kid=ABSENT)),
    Row(OK, "no kid, one key, without an id too", "DESIGN §3", head(issuer="nameless", by="kid-nameless", kid=ABSENT)),
    Row(TOKEN, "a kid, one key, without an id", "DESIGN §3: it names none", sent(issuer="nameless", by="kid-nameless")),
    Row(TOKEN, "another kid, one key", "DESIGN §3", head(issuer="single", by="kid-single", kid="kid-other-name")),
    Row(OK, "no kid, one usable key among others", "DESIGN §3", head(issuer="lone", by="kid-single", kid=ABSENT)),
    Row(TOKEN, "no kid, signed by an unusable key beside", "DESIGN §3", head(issuer="lone", by="kid-use-enc", kid=ABSENT)),
    Row(TOKEN, "two keys of one id, the first", "DESIGN §3: exactly one", sent(issuer="twins")),
    Row(TOKEN, "two keys of one id, the second", "DESIGN §3", sent(issuer="twins", by="kid-main/kid-other")),
    Row(OK, "beside two keys of one id", "DESIGN §3: one bad entry never spoils the set", sent(issuer="twins", by="kid-third")),
    Row(OK, "two keys of one id, one of them usable", "DESIGN §3: one usable key", sent(issuer="unequal-twins", by="kid-main/kid-other")),
    Row(TOKEN, "two keys of one id, by the one not usable", "DESIGN §3", sent(issuer="unequal-twins")),
]  # fmt: skip

KEYS = [
    Row(OK, "a good key in a motley set", "7517 §5: others are passed over", sent(issuer="motley")),
    Row(OK, "exponent 65539", "DESIGN §3: odd, 65537 or more", sent(issuer="motley", by="kid-e-65539")),
    *(Row(OK, f"a usable key: {kid}", "7517 §4", sent(issuer="motley", by=kid)) for kid in USABLE),
    *(Row(TOKEN, f"an unusable key: {kid}", "7517 §4", sent(issuer="motley", by=kid)) for kid in (*UNUSABLE, "kid-private")),
    *(Row(TOKEN, f"a weak key: {kid}", "7518 §3.3, 8725 §3.2", sent(issuer="motley", by=kid)) for kid in WEAK),
    Row(LATER, "weak keys alone", "DESIGN §3: an unusable set counts as failed", sent(issuer="hopeless", by="kid-rsa-1024")),
    Row(LATER, "an empty set", "DESIGN §3", sent(issuer="empty")),
    Row(LATER, "a private key alone", "DESIGN §3", sent(issuer="only-private", by="kid-private")),
    Row(LATER, "a set that answers 500", "DESIGN §3: our outage is no verdict", sent(issuer="broken")),
    Row(LATER, "a set that is HTML", "DESIGN §3", sent(issuer="html")),
    Row(LATER, "a set that redirects", "DESIGN §3: no redirect", sent(issuer="moved")),
    Row(LATER, "a set over 256 KiB", "DESIGN §3", sent(issuer="huge")),
    Row(LATER, "metadata that names another issuer", "8414 §3.3", sent(issuer="liar")),
    Row(LATER, "no metadata", "8414 §3", sent(issuer="nowhere")),
    Row(TOKEN, "a malformed token while keys cannot be had", "DESIGN §3: nothing to fetch for", sent(issuer="broken", payload_json=b"x")),
    Row(TOKEN, "alg none while keys cannot be had", "8725 §3.1", sent(issuer="broken", header={"alg": "none"})),
]  # fmt: skip

SIGNATURE = [
    *(Row(TOKEN, f"bit flipped in byte {position}", "7515 §5.2", edited(flipped(position))) for position in (128, -1)),
    Row(TOKEN, "signature 1", "8017 §8.2.2", sent(sign=lambda _key, _data: bytes(255) + b"\1")),
    Row(TOKEN, "the modulus for a signature", "8017 §5.2.2", sent(sign=lambda private, _data: modulus(private.public_key()))),
    Row(TOKEN, "signature plus modulus", "8017 §5.2.2: below the modulus", sent(sign=lambda private, data: (int.from_bytes(private.sign(data, padding.PKCS1v15(), hashes.SHA256())) + private.public_key().public_numbers().n).to_bytes(257).removeprefix(b"\0"))),
    Row(TOKEN, "signature by the issuer's other key", "7515 §5.2", sent(by="kid-main/kid-other")),
    Row(TOKEN, "signature by another trusted issuer, under its id", "8725 §3.8: keys belong to issuers", sent(by="kid-single")),
    Row(TOKEN, "signature by another trusted issuer, no id", "8725 §3.8", sent(by="kid-single", header={"kid": ABSENT})),
    Row(TOKEN, "header of another token", "7515 §5.2", with_part_of_another(0, header={"a": 1})),
]  # fmt: skip

PAYLOAD_JSON = [
    Row(OK, "an unknown claim", "7519 §4", payload('{%,"unknown":{"a":[{"b":null}]}}')),
    Row(OK, "a hundred small objects", "7519 §4", payload('{%,"a":[' + ",".join(["{}"] * 100) + "]}")),
    *(Row(TOKEN, f"payload: {document[:24]!r}", "7519 §7.2: a JSON object", payload(document)) for document in ("[]", "[%]", '"%', "\x0b{%}", "{%}\u00a0", '{%,"\\udfff":1}', '{%,"a":"\\udc00\\ud800"}', '{%,"a":01}', '{%,"a":+1}', '{%,"a":.5}', '{%,"a":"\t"}')),
    Row(TOKEN, "payload: UTF-16", "8725 §3.7", payload("{%}", "utf-16-le")),
    Row(TOKEN, "payload: UTF-16 with a mark", "8725 §3.7", payload("\ufeff{%}", "utf-16-be")),
    *(Row(TOKEN, f"payload: {name} twice", "7519 §4: names are unique", payload(f'{{%,"{name}":{value}}}')) for name, value in (("scope", '"read:devices"'), ("\\u0073ub", '"admin"'))),
    Row(TOKEN, "payload: an unknown claim twice", "7519 §4", payload('{%,"a":1,"a":1}')),
    Row(TOKEN, "payload: a name twice further in", "8725 §2.4", payload('{%,"a":{"b":1,"b":1}}')),
    Row(TOKEN, "payload: 20 levels", "DESIGN §3: a few levels", payload(f'{{%,"a":{nested(20)}}}')),
    Row(TOKEN, "payload: 2,000 levels", "DESIGN §3", payload(f'{{%,"a":{nested(2_000)}}}')),
    Row(TOKEN, "payload: 5,000 brackets, never closed", "8259 §5", payload("[" * 5_000)),
]  # fmt: skip

TIMES = [
    *(Row(TOKEN, f"exp: {kind}", "7519 §2: NumericDate", claim(exp=NO_NUMBERS[kind])) for kind in ("false", "digits with underscores", "1e400", "-1e400", "a thousand digits")),
    *(Row(TOKEN, f"{name}: {kind}", "7519 §2: NumericDate", sent(claims={name: value})) for name in ("nbf", "iat") for kind, value in NO_NUMBERS.items()),
    Row(TOKEN, "exp: -0.0", "7519 §4.1.4", claim(exp=Json("-0.0"))),
    Row(TOKEN, "exp: 30 s ago", "7519 §4.1.4: on or after; leeway 30 s", claim(exp=Now(-30))),
    Row(OK, "exp: 20 s ago", "7519 §4.1.4: leeway 30 s", claim(exp=Now(-20))),
    Row(OK, "exp: the year 9999", "7519 §2", claim(exp=253_402_300_799)),
    Row(TOKEN, "exp: beyond the year 9999", "what no calendar shows is a mistake, as milliseconds are", claim(exp=253_402_300_800)),
    Row(TOKEN, "exp: in milliseconds", "7519 §2: seconds", claim(exp=Json("4102444800000"))),
    Row(TOKEN, "exp: 1e308", "7519 §2", claim(exp=Json("1e308"))),
    Row(OK, "nbf: absent, iat: absent", "7519 §4.1.5, §4.1.6: optional", claim(nbf=ABSENT, iat=ABSENT)),
    Row(OK, "nbf: 0, iat: 0", "7519 §4.1.5", claim(nbf=0, iat=0)),
    *(Row(answer, f"{name}: {seconds} s ahead", "7519 §4.1.5, §4.1.6: leeway 30 s", sent(claims={name: Now(seconds)})) for name in ("nbf", "iat") for seconds, answer in ((30, OK), (40, TOKEN))),
    Row(OK, "nbf: a fraction", "7519 §2", claim(nbf=Now(-0.5))),
    Row(TOKEN, "nbf: 40.5 s ahead", "7519 §4.1.5", claim(nbf=Now(40.5))),
    Row(TOKEN, "exp: a second ago, without leeway", "7519 §4.1.4", sent(issuer="kinds", claims={"exp": Now(-1)}), "strict"),
    Row(TOKEN, "exp: now, without leeway", "7519 §4.1.4: on or after", sent(issuer="kinds", claims={"exp": Now(0)}), "strict"),
    Row(TOKEN, "nbf: 10 s ahead, without leeway", "7519 §4.1.5", sent(issuer="kinds", claims={"nbf": Now(10)}), "strict"),
]  # fmt: skip

ISSUER_AND_AUDIENCE = [
    *(Row(TOKEN, f"iss: {kind}", "7519 §4.1.1: a string", claim(iss=value)) for kind, value in {"list": ["text"], "object": {"a": "b"}}.items()),
    Row(TOKEN, "iss: a stranger", "8725 §3.8", claim(iss="https://issuer.example/")),
    *(Row(TOKEN, f"iss: {what}", "8414 §2: to the character", issuer_changed(edit)) for what, edit in {
        "with another slash": lambda iss: iss + "/",
        "with the scheme in upper case": lambda iss: iss.replace("http", "HTTP"),
        "another scheme": lambda iss: iss.replace("http:", "https:"),
        "NUL after it": lambda iss: iss + "\0",
        "percent-encoded": lambda iss: iss.replace("main", "m%61in"),
        "with dots": lambda iss: iss + "../main/",
        "another name for the host": lambda iss: iss.replace("127.0.0.1", "localhost"),
    }.items()),
    Row(TOKEN, "iss: another trusted issuer", "8725 §3.8: its keys, not these", lambda world: bearer(world, claims={"iss": world.issuer("single")})),
    Row(TOKEN, "aud: object", "7519 §4.1.3", claim(aud={"a": "b"})),
    *(Row(OK, f"aud {aud!r}", "7519 §4.1.3", claim(aud=aud)) for aud in (SECOND_AUDIENCE, [AUDIENCE, AUDIENCE], [SECOND_AUDIENCE, ""], [f"aud-{n}" for n in range(100)] + [AUDIENCE])),
    *(Row(TOKEN, f"aud {aud!r}", "7519 §4.1.3: one of ours, to the character", claim(aud=aud)) for aud in (
        [[AUDIENCE], AUDIENCE], [AUDIENCE, None], [AUDIENCE, True], "https://other.example", AUDIENCE + ".evil.example", AUDIENCE + "/userinfo", f" {AUDIENCE}", f"{AUDIENCE} {SECOND_AUDIENCE}", f"{AUDIENCE},{SECOND_AUDIENCE}", "device-api.example", AUDIENCE + "\0",
    )),
]  # fmt: skip

SUBJECT_AND_IDS = [
    *(Row(TOKEN, f"sub: {kind}", "9068 §2.2: a string", claim(sub=value)) for kind, value in {"false": False, "0": 0}.items()),
    Row(TOKEN, "sub: with NUL", "a database ends the text there", claim(sub="admin\0x")),
    Row(OK, "sub: as Auth0 writes it", "7519 §4.1.2", claim(sub="auth0|0123456789abcdef")),
    Row(OK, "sub: not ASCII", "7519 §4.1.2", claim(sub="ünïcode-主-🙂", to=DEVICES)),
    Row(OK, "sub: with quotes and line breaks", "7519 §4.1.2", claim(sub="'; DROP TABLE devices; --\r\n\"", to=DEVICES)),
    Row(OK, "sub: long", "7519 §4.1.2", claim(sub="x" * 4_000, to=DEVICES)),
    *(Row(TOKEN, f"{name}: {kind}", "7519 §4.1.7, 9068 §2.2: a string", sent(claims={name: value})) for name in ("jti", "client_id", "azp") for kind, value in VALUES.items()),
    Row(OK, "jti, client_id: absent", "7519 §4.1.7", claim(jti=ABSENT, client_id=ABSENT)),
    Row(OK, "azp for client_id, as Auth0 sends it", "OpenID Core §2", claim(client_id=ABSENT, azp="client-of-the-row")),
]  # fmt: skip

SCOPE = [
    Row(OK, "the scope of the route", "6750 §3.1", claim(scope="read:devices", to=DEVICES)),
    Row(OK, "the scope among others", "6749 §3.3", claim(scope="openid read:devices offline_access", to=DEVICES)),
    Row(OK, "the scope twice", "6749 §3.3", claim(scope="read:devices read:devices", to=DEVICES)),
    Row(NOT_FOUND, "the scope of another route", "6750 §3.1", claim(scope="read:readings", to=READINGS)),
    Row(OK, "no scope, where none is asked", "6750 §3.1", claim(scope=ABSENT)),
    Row(OK, "an empty scope, where none is asked", "6749 §3.3: as no scope", claim(scope="")),
    Row(NO_DEVICES, "no scope, HEAD", "9110 §9.3.2", lambda world: bearer(world, to=DEVICES, method="HEAD", claims={"scope": ABSENT})),
    Row(NO_READINGS, "the scope for devices alone", "6750 §3.1", claim(scope="read:devices", to=READINGS)),
    *(Row(NO_DEVICES, f"scope {scope!r}", "6749 §3.3: words are compared whole, to the character", claim(scope=scope, to=DEVICES)) for scope in (
        "read:devices,read:readings", "read:*", "read", "read:readings write:devices", "read:devices:any", "read:devices/", "admin", "'read:devices'", "read:devices;",
    )),
    *(Row(TOKEN, f"scope {scope!r}", "6749 §3.3: words between single spaces", claim(scope=scope, to=DEVICES)) for scope in (
        "read:devices  read:readings", " read:devices", "read:devices ", " ", "read:devices\tread:readings", "read:devices\u00a0read:readings", "x\u3000read:devices", "x\x85read:devices", "x\x1cread:devices",
        "read:devices\nread:readings", "x\rread:devices", "read:devices\0", 'read:devices "x"', "read:devices \\", "read:devices é", "read:devices\u200b", "\x7f read:devices",
    )),
    *(Row(TOKEN, f"scope: {kind}", "6749 §3.3: a string", claim(scope=value, to=DEVICES)) for kind, value in {"empty list": [], "false": False, "0": 0}.items()),
    Row(NO_DEVICES, "scp, which is not configured", "DESIGN §3", claim(scope=ABSENT, scp=["read:devices"], to=DEVICES)),
    Row(NO_DEVICES, "permissions, which are not configured", "DESIGN §3", claim(scope=ABSENT, permissions=["read:devices"], to=DEVICES)),
    Row(NO_DEVICES, "scopes, roles, authorities", "6750 §3.1", claim(scope=ABSENT, scopes="read:devices", roles=["read:devices"], authorities=["read:devices"], to=DEVICES)),
    Row(OK, "scp and permissions of any form, not configured", "7519 §4: ignored", claim(scp=7, permissions="x")),
    Row(TOKEN, "expired, and without the scope", "6750 §3.1: the token first", claim(exp=Now(-60), scope=ABSENT, to=DEVICES)),
    Row(TOKEN, "for another API, and without the scope", "6750 §3.1", claim(aud="https://other.example", scope=ABSENT, to=DEVICES)),
]  # fmt: skip

OTHER_TOKENS = [
    Row(TOKEN, "an ID token for its client", "9068 §4: aud is the client", sent(header={"typ": "JWT"}, claims=foreign(aud="client-of-the-row", nonce="n", at_hash="h"))),
    Row(TOKEN, "an ID token with at_hash", "OpenID Core §3.1.3.6", sent(header={"typ": "JWT"}, claims=foreign(at_hash="MTIzNDU2Nzg5MDEyMzQ1Ng"))),
    Row(TOKEN, "an ID token with c_hash", "OpenID Core §3.3.2.11", sent(header={"typ": "JWT"}, claims=foreign(c_hash="MTIzNDU2Nzg5MDEyMzQ1Ng"))),
    Row(TOKEN, "an ID token with s_hash", "FAPI 1.0 part 2 §5.1", sent(header={"typ": "JWT"}, claims=foreign(s_hash="MTIzNDU2Nzg5MDEyMzQ1Ng"))),
    Row(TOKEN, "an ID token with a nonce", "OpenID Core §2: a claim of ID tokens", sent(header={"typ": "JWT"}, claims=foreign(nonce="n-0S6_WzA2Mj", auth_time=Now(-5)))),
    Row(TOKEN, "an ID token of Keycloak", "its typ claim says so", sent(header={"typ": "JWT"}, claims={"typ": "ID"})),
    Row(TOKEN, "a refresh token of Keycloak", "its typ claim says so", sent(header={"typ": "JWT"}, claims={"typ": "Refresh"})),
    Row(OK, "an access token of Keycloak", "its typ claim says so", sent(header={"typ": "JWT"}, claims={"typ": "Bearer", "azp": "client-of-the-row"})),
    Row(OK, "an access token of Auth0", "Auth0: typ JWT, azp, no client_id", sent(header={"typ": "JWT"}, claims=foreign(aud=[AUDIENCE, "https://tenant.example/userinfo"], azp="client-of-the-row"))),
    Row(TOKEN, "a logout token", "OpenID Back-Channel Logout §2.4", sent(header={"typ": "logout+jwt"}, claims=foreign(events=LOGOUT, sid="s"))),
    Row(TOKEN, "a logout token of typ JWT", "OpenID Back-Channel Logout §2.4", sent(header={"typ": "JWT"}, claims=foreign(events=LOGOUT, sid="s"))),
    Row(TOKEN, "a security event token", "8417 §2.3", sent(header={"typ": "secevent+jwt"}, claims=foreign(events={"urn:x": {}}))),
    Row(TOKEN, "a DPoP proof", "9449 §4.2", sent(header={"typ": "dpop+jwt", "jwk": {"kty": "RSA", "n": "AA", "e": "AQAB"}}, claims=foreign(htm="GET", htu="https://device-api.example/v1/me"))),
    Row(TOKEN, "a DPoP proof of typ JWT", "9449 §4.2", sent(header={"typ": "JWT"}, claims={"htm": "GET", "htu": "https://device-api.example/v1/me"})),
    *(Row(TOKEN, f"cnf {cnf!r}", "7800 §3, 9449 §7.2: bound to a key", claim(cnf=cnf)) for cnf in (Json("{}"), None, "x")),
    Row(TOKEN, "a cnf'ed token without the scope", "7800 §3", claim(cnf={"jkt": "x"}, scope=ABSENT, to=DEVICES)),
]  # fmt: skip

# What the issuer answers about each opaque token: changes to the answer about a good one, or a status.
OPAQUE: Mapping[str, Mapping[str, Any] | int] = {
    "opaque.good": {},
    "opaque.without-the-scope": {"scope": "read:readings"},
    "opaque.without-issuer-and-times": {"iss": ABSENT, "exp": ABSENT, "iat": ABSENT},
    "opaque.inactive": {"active": False},
    "opaque.without-audience": {"aud": ABSENT},
    "opaque.of-another-api": {"aud": "https://other.example"},
    "opaque.of-another-issuer": {"iss": "https://other.example/"},
    "opaque.without-subject": {"sub": ABSENT},
    "opaque.expired": {"exp": Now(-60)},
    "opaque.refresh": {"token_type": ABSENT},
    "opaque.refresh-by-name": {"token_type": "refresh_token"},
    "opaque.id-token": {"nonce": "n"},
    "opaque.bound-to-a-key": {"token_type": "DPoP", "cnf": {"jkt": "x"}},
    "opaque.bound-without-its-key": {"token_type": "DPoP"},
    "opaque.bound-to-a-certificate": {"cnf": {"x5t#S256": client_certificate(0).thumbprint}},
    "opaque.outage": 500,
    "opaque.malformed-answer": {"active": "true"},
}


def introspected(unverified_token: str, issuer: str, now: int) -> tuple[int, bytes]:
    """Return the status and the body of the issuer's answer (RFC 7662 §2.2)."""
    changes = OPAQUE.get(unverified_token, {"active": False})
    if isinstance(changes, int):
        return changes, b"{}"
    return 200, spell({"active": True, "token_type": "Bearer", **good_claims(issuer), **changes}, now)


def certificate(header: str, *, bound_to: str | None = None, name: str = "Client-Cert", opaque: str = "") -> Send:
    """Send a token that is bound to our certificate, and a header of a proxy."""

    def send(world: World) -> bytes:
        thumbprint = bound_to or client_certificate(0).thumbprint
        value = opaque or token(world, claims={"cnf": {"x5t#S256": thumbprint}})
        return http(world, f"Bearer {value}", headers=[f"{name}: {header}"] if header else [])

    return send


def ask(answer: Answer, name: str, why: str, to: str = ME) -> Row:
    return Row(answer, name, why, lambda world: http(world, f"Bearer opaque.{name}", to=to), "asking")


INTROSPECTION = [
    Row(OK, "a JWT, where opaque tokens are accepted too", "9068 §4", sent(), "asking"),
    Row(TOKEN, "an expired JWT, where opaque tokens are accepted too", "7519 §4.1.4", claim(exp=Now(-60)), "asking"),
    ask(OK, "good", "7662 §2.2"),
    ask(OK, "without-issuer-and-times", "7662 §2.2: they are optional"),
    ask(NO_DEVICES, "without-the-scope", "6750 §3.1", to=DEVICES),
    ask(TOKEN, "unknown", "7662 §2.2"),
    ask(TOKEN, "inactive", "7662 §2.2"),
    ask(TOKEN, "without-audience", "DESIGN §3: as of a JWT"),
    ask(TOKEN, "of-another-api", "7662 §4: aud has to name this API"),
    ask(TOKEN, "of-another-issuer", "7662 §2.2: iss"),
    ask(TOKEN, "without-subject", "DESIGN §3"),
    ask(TOKEN, "expired", "7662 §4"),
    ask(TOKEN, "refresh", "7662 §2.2: nothing says that it is an access token"),
    ask(TOKEN, "refresh-by-name", "7662 §2.2: token_type"),
    ask(TOKEN, "id-token", "OpenID Core §2"),
    ask(TOKEN, "bound-to-a-key", "9449 §6.2, and no DPoP here"),
    ask(TOKEN, "bound-without-its-key", "9449 §6.2"),
    ask(TOKEN, "bound-to-a-certificate", "8705 §3.2"),
    Row(OK, "an opaque token with its certificate", "8705 §3.2", certificate(client_certificate(0).client_cert, opaque="opaque.bound-to-a-certificate"), "asking"),
    ask(LATER, "outage", "7662 §2.3: says nothing of the token"),
    ask(LATER, "malformed-answer", "7662 §2.2: active is a boolean"),
    Row(REQUEST, "an opaque token with a comma", "6750 §2.1", lambda world: http(world, "Bearer opaque.good,x"), "asking"),
    Row(REQUEST, "two opaque tokens", "6750 §2", lambda world: http(world, "Bearer opaque.good", "Bearer opaque.good"), "asking"),
    Row(REQUEST, "an opaque token in the query too", "6750 §2", lambda world: http(world, "Bearer opaque.good", to=f"{ME}?access_token=opaque.good"), "asking"),
    Row(TOKEN, "an opaque token, where no issuer is asked", "7519 §7.2: no JWT", lambda world: http(world, "Bearer opaque.good")),
]  # fmt: skip

CERTIFICATES = [
    Row(OK, "its certificate", "9440 §2.2", certificate(client_certificate(0).client_cert), "asking"),
    Row(OK, "its certificate as PEM", "nginx's $ssl_client_escaped_cert", certificate(client_certificate(0).escaped_pem), "asking"),
    Row(TOKEN, "no certificate", "8705 §3", certificate(""), "asking"),
    Row(TOKEN, "another certificate", "8705 §3", certificate(client_certificate(1).client_cert), "asking"),
    Row(TOKEN, "a certificate that is not Base64", "8941 §3.3.5", certificate(":MII*:"), "asking"),
    Row(TOKEN, "two certificates", "9440 §2.2: one", certificate(f"{client_certificate(1).client_cert}, {client_certificate(0).client_cert}"), "asking"),
    Row(TOKEN, "its certificate in the chain alone", "9440 §2.3: of the authorities", certificate(client_certificate(0).client_cert, name="Client-Cert-Chain"), "asking"),
    Row(TOKEN, "its certificate in Client_Cert", "gunicorn drops it", certificate(client_certificate(0).client_cert, name="Client_Cert"), "asking"),
    Row(TOKEN, "a thumbprint with padding", "8705 §3.1: base64url without it", certificate(client_certificate(0).client_cert, bound_to=client_certificate(0).thumbprint + "="), "asking"),
    Row(OK, "a certificate with a token that is bound to none", "8705 §3", lambda world: http(world, f"Bearer {token(world)}", headers=["Client-Cert: :AAAA:"]), "asking"),
    Row(TOKEN, "its certificate, from an address that is no proxy", "9440 §4", certificate(client_certificate(0).client_cert), "mtls required"),
    Row(TOKEN, "a token that is bound to no certificate", "mutual TLS is required", sent(), "mtls required"),
    Row(TOKEN, "its certificate, where there is no mutual TLS", "8705 §3", certificate(client_certificate(0).client_cert)),
]  # fmt: skip

ROWS = [
    *HEADER_SYNTAX,
    *JWS_FORM,
    *HEADER_JSON,
    *ALGORITHM,
    *HEADER_PARAMETERS,
    *KEY_ID,
    *KEYS,
    *SIGNATURE,
    *PAYLOAD_JSON,
    *TIMES,
    *ISSUER_AND_AUDIENCE,
    *SUBJECT_AND_IDS,
    *SCOPE,
    *OTHER_TOKENS,
    *INTROSPECTION,
    *CERTIFICATES,
]
