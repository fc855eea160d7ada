"""Requests with a token that is bound to a key: each check of RFC 9449 §4.3, and what must be let in.

test_proof_rejections.py sends them over HTTP. All other rows for DPoP are beside the tests of the modules.
"""
# ruff: noqa: E501  # a row is a line

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from api.auth import Reason
from tests.api.auth.rejections import other_eddsa_spelling
from tests.kit.proofs import proof, public_jwk, thumbprint
from tests.kit.signing import SigningKey, b64, claims, ec_key, ed25519_key, rsa_key, rsa_private_key

ISSUERS_KEY = rsa_key(0, "key-1")
# Values of several types, for one member each.
NO_KEYS: tuple[Any, ...] = ("x", {}, [], {"kty": "EC"}, 1)
NO_URLS: tuple[Any, ...] = (None, 1, [])
NO_TIMES: tuple[Any, ...] = (None, True, "1", [], 0, 1e300)
NO_HASHES: tuple[Any, ...] = (None, "", "x", 1, "ä")
DEVICE, OTHER_DEVICE = ec_key(), ec_key()
RSA_DEVICE, ED_DEVICE = rsa_key(4), ed25519_key()
P384 = SigningKey(ec.generate_private_key(ec.SECP384R1()), None, "ES384")
WEAK = SigningKey(rsa_private_key(bits=1024), None, "RS256")
SMALL_EXPONENT = SigningKey(rsa_private_key(exponent=3), None, "RS256")
PATH = "/v1/me"

# None: let in.
OK = None
INVALID_TOKEN, INVALID_PROOF = "invalid_token", "invalid_dpop_proof"


@dataclass(frozen=True)
class World:
    """Where the API listens, the address that it has for its clients, its issuer, and the present time."""

    public_url: str
    issuer: str
    now: int

    @property
    def url(self) -> str:
        return self.public_url + PATH


Headers = list[tuple[str, str]]
Send = Callable[[World], Headers]


class Row(NamedTuple):
    reason: Reason | None
    what: str
    why: str
    send: Send
    method: str = "GET"
    path: str = PATH


def bound_token(world: World, key: SigningKey = DEVICE, **changes: Any) -> str:
    return ISSUERS_KEY.sign(claims(world.now, iss=world.issuer, **{"cnf": {"jkt": thumbprint(key)}, **changes}))


def sent(
    *,
    by: SigningKey = DEVICE,
    bound_to: SigningKey | None = None,
    scheme: str = "DPoP",
    method: str = "GET",
    edit: Callable[[str], str] = str,
    token_claims: Mapping[str, Any] | None = None,
    url: Callable[[World], str] | None = None,
    iat: float = 0,
    **changes: Any,
) -> Send:
    """Send a good token and a proof by `by` with these changes; `iat` is in seconds from now."""

    def send(world: World) -> Headers:
        token = bound_token(world, bound_to or by, **(token_claims or {}))
        made = proof(by, token, method=method, url=url(world) if url else world.url, now=world.now + iat, **changes)
        return [("Authorization", f"{scheme} {token}"), ("DPoP", edit(made))]

    return send


def head(**parameters: Any) -> Send:
    return sent(header=parameters)


def jwk(key: SigningKey = DEVICE, **members: Any) -> Send:
    return sent(by=key, header={"jwk": public_jwk(key, **members)})


def headers(*names_and_values: tuple[str, str]) -> Send:
    """Send these headers, with `{token}` and `{proof}` filled in."""

    def send(world: World) -> Headers:
        token = bound_token(world)
        filled = {"token": token, "proof": proof(DEVICE, token, url=world.url, now=world.now)}
        return [(name, value.format(**filled)) for name, value in names_and_values]

    return send


def plain(scheme: str) -> Send:
    """Send a token that is bound to no key, with a proof."""

    def send(world: World) -> Headers:
        token = ISSUERS_KEY.sign(claims(world.now, iss=world.issuer))
        return [("Authorization", f"{scheme} {token}"), ("DPoP", proof(DEVICE, token, url=world.url, now=world.now))]

    return send


def for_another_token(world: World) -> Headers:
    token, other = bound_token(world), bound_token(world, jti="another")
    return [("Authorization", f"DPoP {token}"), ("DPoP", proof(DEVICE, other, url=world.url, now=world.now))]


def at(iat: Any) -> Send:
    """Send a proof with this `iat`."""

    def send(world: World) -> Headers:
        token = bound_token(world)
        return [("Authorization", f"DPoP {token}"), ("DPoP", proof(DEVICE, token, url=world.url, iat=iat))]

    return send


def segment(index: int, change: Callable[[str], str]) -> Callable[[str], str]:
    def edit(text: str) -> str:
        parts = text.split(".")
        parts[index] = change(parts[index])
        return ".".join(parts)

    return edit


def private_jwk() -> dict[str, Any]:
    whole: Any = jwt.get_algorithm_by_name("ES256")
    return {name: value for name, value in json.loads(whole.to_jwk(DEVICE.private_key)).items() if name != "key_ops"}


def signed_by_another_key() -> Send:
    """Send a proof with the key of the token, signed by another one."""
    return sent(by=OTHER_DEVICE, bound_to=DEVICE, header={"jwk": public_jwk(DEVICE)})


def symmetric(world: World) -> Headers:
    secret = b"k" * 32
    token = bound_token(world)
    header = {"typ": "dpop+jwt", "jwk": {"kty": "oct", "k": b64(secret)}}
    made = jwt.encode({"jti": "1", "htm": "GET", "htu": world.url, "iat": world.now}, secret, "HS256", headers=header)
    return [("Authorization", f"DPoP {token}"), ("DPoP", made)]


def with_path(change: Callable[[str], str]) -> Callable[[World], str]:
    """Change the address that the proof names."""
    return lambda world: change(world.url)


SCHEMES = [
    Row(OK, "P-256", "9449 §7.1", sent()),
    Row(OK, "Ed25519, as EdDSA", "9449 §5.1", sent(by=ED_DEVICE)),
    Row(OK, "Ed25519, by its new name", "9864 §2.2", sent(by=ED_DEVICE, header={"alg": "Ed25519"})),
    Row(OK, "Ed25519, the key's alg by its new name", "9864 §2.2", sent(by=ED_DEVICE, header={"alg": "Ed25519", "jwk": public_jwk(ED_DEVICE, alg="Ed25519")})),
    Row(OK, "RS256", "9449 §5.1", sent(by=RSA_DEVICE)),
    Row(OK, "PS256", "9449 §5.1", sent(by=SigningKey(RSA_DEVICE.private_key, None, "PS256"))),
    Row(OK, "the scheme in lower case", "9110 §11.1", sent(scheme="dpop")),
    Row(OK, "other members in cnf", "Keycloak sends some", sent(token_claims={"cnf": {"jkt": thumbprint(DEVICE), "kid": 7}})),
    Row(OK, "a plain bearer token, and a header DPoP", "9449 §7.2: both kinds", plain("Bearer")),
    Row(Reason.KEY_BOUND, "a bound token as Bearer, with its proof", "9449 §7.2", sent(scheme="Bearer")),
    Row(Reason.KEY_BOUND, "a bound token as Bearer, without a proof", "9449 §7.2: stolen", headers(("Authorization", "Bearer {token}"))),
    Row(Reason.NOT_KEY_BOUND, "a plain token as DPoP", "9449 §7.1", plain("DPoP")),
    Row(Reason.DPOP_HEADER_MALFORMED, "DPoP and no token", "9449 §7.1", headers(("Authorization", "DPoP"), ("DPoP", "{proof}"))),
    Row(Reason.DPOP_HEADER_MALFORMED, "DPoP and two words", "9449 §7.1", headers(("Authorization", "DPoP {token} x"), ("DPoP", "{proof}"))),
    Row(Reason.SEVERAL_METHODS, "a token in the query too", "6750 §2", sent(), path=f"{PATH}?access_token=x"),
    Row(Reason.KEY_BOUND, "cnf names a key of another kind", "7800 §3.1", sent(token_claims={"cnf": {"jwk": {}}})),
    Row(Reason.EXPIRED, "an expired token, with a good proof", "9449 §7.1", sent(token_claims={"exp": 1})),
]  # fmt: skip

FORM = [
    Row(Reason.PROOF_MISSING, "no proof", "9449 §4.3, 1", headers(("Authorization", "DPoP {token}"))),
    Row(Reason.PROOF_MALFORMED, "the proof twice", "9449 §4.3, 1", headers(("Authorization", "DPoP {token}"), ("DPoP", "{proof}"), ("DPoP", "{proof}"))),
    Row(Reason.PROOF_MALFORMED, "two proofs in one header", "9449 §4.3, 1", headers(("Authorization", "DPoP {token}"), ("DPoP", "{proof}, {proof}"))),
    Row(Reason.PROOF_MALFORMED, "an empty header", "9449 §4.3, 2", headers(("Authorization", "DPoP {token}"), ("DPoP", ""))),
    Row(Reason.PROOF_MALFORMED, "no JWT", "9449 §4.3, 2", headers(("Authorization", "DPoP {token}"), ("DPoP", "x"))),
    Row(Reason.PROOF_MALFORMED, "the token as its proof", "9449 §4.3, 4", headers(("Authorization", "DPoP {token}"), ("DPoP", "{token}"))),
    Row(Reason.PROOF_MALFORMED, "four segments", "7515 §3.1", sent(edit=lambda text: text + ".AAAA")),
    Row(Reason.PROOF_MALFORMED, "padding", "7515 §2", sent(edit=lambda text: text + "=")),
    Row(Reason.PROOF_MALFORMED, "over 8,000 characters", "checked before anything is decoded", sent(x="x" * 5_700)),
    Row(Reason.PROOF_MALFORMED, "a member twice", "7515 §4", sent(payload_json=b'{"jti":"1","jti":"2"}')),
    Row(Reason.PROOF_MALFORMED, "a header member twice", "7515 §4", sent(header_json=b'{"typ":"dpop+jwt","alg":"ES256","alg":"ES256"}')),
    Row(Reason.PROOF_MALFORMED, "a payload that is a list", "7519 §7.2", sent(payload_json=b"[]")),
    *(Row(Reason.PROOF_MALFORMED, f"jti {jti!r}", "9449 §4.3, 3", sent(jti=jti)) for jti in (None, "", 1, ["a"], "x" * 257)),
    Row(OK, "a jti of 256 characters", "9449 §4.2", sent(jti="y" * 256)),
    *(Row(Reason.PROOF_MALFORMED, f"typ {typ!r}", "9449 §4.3, 4", head(typ=typ)) for typ in (None, "JWT", "at+jwt", "dpop", "dpop+jwt ", 1)),
    *(Row(OK, f"typ {typ!r}", "7515 §4.1.9", head(typ=typ)) for typ in ("DPoP+JWT", "application/dpop+jwt")),
    Row(Reason.PROOF_MALFORMED, "crit", "7515 §4.1.11", head(crit=["exp"])),
    Row(Reason.PROOF_MALFORMED, "b64", "7797 §3", head(b64=False)),
    Row(OK, "kid and unknown members", "7515 §4: ignored", sent(header={"kid": "x", "x": 1}, x={"y": 1})),
]  # fmt: skip

KEYS = [
    *(Row(Reason.PROOF_ALGORITHM, f"alg {alg!r}", "9449 §4.3, 5", head(alg=alg)) for alg in (None, "none", "HS256", "es256", "ES384", "RS512", 1)),
    Row(Reason.PROOF_ALGORITHM, "HS256 with a symmetric jwk", "9449 §4.3, 5", symmetric),
    Row(Reason.PROOF_ALGORITHM, "P-384", "DPoP(algorithms=…)", sent(by=P384)),
    Row(Reason.PROOF_KEY, "no jwk", "9449 §4.3, 3", head(jwk=None)),
    *(Row(Reason.PROOF_KEY, f"jwk {value!r}", "7517 §4", head(jwk=value)) for value in NO_KEYS),
    Row(Reason.PROOF_KEY, "a private key", "9449 §4.3, 7", head(jwk=private_jwk())),
    Row(Reason.PROOF_KEY, "a private member that is null", "9449 §4.3, 7", sent(header={"jwk": {**public_jwk(DEVICE), "d": None}})),
    Row(Reason.PROOF_KEY, "a symmetric key beside", "9449 §4.3, 7", jwk(k="AAAA")),
    Row(Reason.PROOF_KEY, "RSA of 1024 bits", "7518 §3.3", sent(by=WEAK, bound_to=DEVICE)),
    Row(Reason.PROOF_KEY, "RSA with exponent 3", "8725 §3.2", sent(by=SMALL_EXPONENT)),
    Row(Reason.PROOF_KEY, "an alg of another kind of key", "8725 §3.1", head(alg="RS256")),
    Row(Reason.PROOF_KEY, "a P-384 key said to be for ES256", "7518 §3.4", sent(by=P384, header={"alg": "ES256"})),
    Row(Reason.PROOF_KEY, "a key for encryption", "7517 §4.2", jwk(use="enc")),
    Row(Reason.PROOF_KEY, "a key whose alg is another", "7517 §4.4", jwk(alg="ES384")),
    Row(Reason.PROOF_KEY, "a point that is not on the curve", "7518 §6.2.1", jwk(y=b64(bytes(32)))),
    *(Row(Reason.PROOF_KEY, f"{name} with a character that is skipped", "7515 §2", sent(by=key, bound_to=DEVICE, header={"jwk": {**public_jwk(key), name: "!!!!" + public_jwk(key)[name]}})) for key, name in ((RSA_DEVICE, "e"), (RSA_DEVICE, "n"), (DEVICE, "y"), (ED_DEVICE, "x"))),
    Row(Reason.PROOF_KEY, "a coordinate with characters that are skipped", "7515 §2", sent(header={"jwk": {**public_jwk(DEVICE), "x": "!!!!" + public_jwk(DEVICE)["x"]}})),
    Row(OK, "the members that browsers add", "WebCrypto: exportKey", jwk(key_ops=["verify"], ext=True)),
    Row(OK, "use sig", "7517 §4.2", jwk(use="sig")),
    Row(Reason.KEY_MISMATCH, "a proof by the thief's own key", "9449 §4.3, 12", sent(by=OTHER_DEVICE, bound_to=DEVICE)),
    Row(Reason.PROOF_SIGNATURE, "the token's key, signed by another", "9449 §4.3, 6", signed_by_another_key()),
    Row(Reason.PROOF_SIGNATURE, "another payload", "9449 §4.3, 6", sent(edit=segment(1, lambda _: b64(b"{}")))),
    Row(Reason.PROOF_SIGNATURE, "a signature of zeros", "7518 §3.4", sent(edit=segment(2, lambda _: b64(bytes(64))))),
    Row(Reason.PROOF_SIGNATURE, "Ed25519, a second spelling of S", "8032 §5.1.7", sent(by=ED_DEVICE, edit=segment(2, lambda text: b64(other_eddsa_spelling(jwt.utils.base64url_decode(text)))))),
]  # fmt: skip

REQUEST = [
    *(Row(Reason.PROOF_METHOD, f"htm {htm!r}", "9449 §4.3, 8", sent(htm=htm)) for htm in (None, "POST", "get", "", 1, ["GET"])),
    Row(OK, "HEAD", "9449 §4.3, 8", sent(method="HEAD"), "HEAD"),
    Row(Reason.PROOF_METHOD, "HEAD with a proof for GET", "9449 §4.3, 8", sent(), "HEAD"),
    Row(OK, "a query that the proof does not name", "9449 §4.3, 9", sent(url=with_path(lambda url: url.replace("me", "devices"))), path="/v1/devices?limit=5"),
    *(Row(OK, f"htu {what}", "9449 §4.3, 9; 3986 §6.2", sent(url=with_path(change))) for what, change in {
        "with a query": lambda url: url + "?a=b#c",
        "with host and scheme in upper case": lambda url: url.replace("https://api.example", "HTTPS://API.EXAMPLE"),
        "with the default port": lambda url: url.replace("api.example", "api.example:443"),
        "with an empty port": lambda url: url.replace("api.example", "api.example:"),
        "with dot segments": lambda url: url.replace("/v1/me", "/x/../v1/./me"),
        "with needless percent-encoding": lambda url: url.replace("me", "%6De"),
    }.items()),
    *(Row(Reason.PROOF_URL, f"htu {what}", "9449 §4.3, 9", sent(url=with_path(change))) for what, change in {
        "of another route": lambda url: url.replace("/me", "/devices"),
        "of another host": lambda url: url.replace("api.example", "evil.example"),
        "of a host that begins the same": lambda url: url.replace("api.example", "api.example.evil.example"),
        "with user information": lambda url: url.replace("api.example", "api.example@evil.example"),
        "over http": lambda url: url.replace("https", "http"),
        "with another port": lambda url: url.replace("api.example", "api.example:8443"),
        "with a slash at the end": lambda url: url + "/",
        "in another case": lambda url: url.replace("me", "Me"),
        "of the path alone": lambda _: PATH,
        "without the path of the API": lambda url: url.replace("/below", ""),
        "with malformed percent-encoding": lambda url: url.replace("me", "%6"),
        "that is not ASCII": lambda url: url + "ä",
        "that is empty": lambda _: "",
    }.items()),
    *(Row(Reason.PROOF_URL, f"htu {htu!r}", "9449 §4.3, 3", sent(htu=htu)) for htu in NO_URLS),
    *(Row(Reason.PROOF_TOKEN, f"ath {value!r}", "9449 §4.3, 12", sent(ath=value)) for value in NO_HASHES),
    Row(Reason.PROOF_TOKEN, "ath of another token", "9449 §4.3, 12", for_another_token),
]  # fmt: skip

TIMES = [
    *(Row(OK, f"iat: {seconds} s from now", "9449 §11.1: 60 s", sent(iat=seconds)) for seconds in (-50, 50)),
    *(Row(Reason.PROOF_TIME, f"iat: {seconds} s from now", "9449 §4.3, 11", sent(iat=seconds)) for seconds in (-70, 70, -86_400)),
    *(Row(Reason.PROOF_TIME, f"iat {value!r}", "9449 §4.3, 3; 7519 §2", at(value)) for value in NO_TIMES),
    Row(Reason.PROOF_TIME, "an exp that has passed", "7519 §4.1.4", sent(exp=1)),
    Row(Reason.PROOF_TIME, "an nbf to come", "7519 §4.1.5", sent(nbf=9_999_999_999)),
    Row(Reason.PROOF_TIME, "an exp that is a string", "7519 §4.1.4", sent(exp="never")),
    Row(OK, "exp and nbf that hold", "7519 §4.1.4", sent(exp=9_999_999_999, nbf=1)),
]  # fmt: skip

ROWS = [*SCHEMES, *FORM, *KEYS, *REQUEST, *TIMES]
