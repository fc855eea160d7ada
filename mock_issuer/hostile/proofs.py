"""Requests with DPoP proofs, for APIs that accept tokens bound to a key (RFC 9449 §4.3, §7)."""

import functools
import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from mock_issuer.hostile.attacker import hs256_signer
from mock_issuer.hostile.request import (
    ACCEPTED,
    INVALID_PROOF,
    MALFORMED_PROOF,
    NO_PROOF,
    NONCE_NEEDED,
    NOT_BOUND,
    Answers,
    HostileRequest,
    Level,
)
from mock_issuer.hostile.tokens import OMIT, SignFunction, TokenFactory, base64url, encode_json

# The request with a valid proof. An API that rejects it has no DPoP, another address, or wants a nonce.
GOOD_PROOF = "dpop-good-proof"

_COORDINATE_BYTES = 32  # RFC 7518 §6.2.1.2
_WEAK_RSA_BITS = 1024
_ALLOWED_RSA_BITS = 2048  # RFC 7518 §3.3: at least
_DAY_SECONDS = 86_400
# JSON has no largest number (RFC 8259 §6). Each of these is too large for one more type of a program's times.
_BEYOND_DATES = 10**18  # 64 bits can hold it
_BEYOND_64_BITS = 10**300  # a float can hold it
_BEYOND_FLOATS = 10**400
_METHOD = "GET"
_MUST: Level = "MUST"
_SHOULD: Level = "SHOULD"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    """A client's key: its public and private JWK, its algorithm, and how it signs."""

    algorithm: str
    jwk: Mapping[str, str]
    private_members: Mapping[str, str]
    sign: SignFunction = field(repr=False)

    @property
    def thumbprint(self) -> str:
        # RFC 7638 §3: the required members in lexicographic order, without white space.
        return base64url(hashlib.sha256(encode_json(dict(sorted(self.jwk.items()))).replace(b" ", b"")).digest())


@functools.cache
def _p256_key(_owner: str) -> _Key:
    key = ec.generate_private_key(ec.SECP256R1())
    numbers = key.private_numbers()
    x, y, d = (
        base64url(number.to_bytes(_COORDINATE_BYTES))
        for number in (numbers.public_numbers.x, numbers.public_numbers.y, numbers.private_value)
    )

    def sign(signing_input: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(signing_input, ec.ECDSA(SHA256())))
        return r.to_bytes(_COORDINATE_BYTES) + s.to_bytes(_COORDINATE_BYTES)

    return _Key(
        algorithm="ES256", jwk={"kty": "EC", "crv": "P-256", "x": x, "y": y}, private_members={"d": d}, sign=sign
    )


@functools.cache
def _weak_rsa_key(shown_bits: int) -> _Key:
    """Return a key that is too small; zero bytes before its modulus make it as long as one of `shown_bits`."""
    key = rsa.generate_private_key(65537, _WEAK_RSA_BITS)  # weak on purpose
    numbers = key.public_key().public_numbers()
    return _Key(
        algorithm="RS256",
        jwk={"kty": "RSA", "n": base64url(numbers.n.to_bytes(shown_bits // 8)), "e": "AQAB"},
        private_members={},
        sign=lambda signing_input: key.sign(signing_input, padding.PKCS1v15(), SHA256()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofFactory:
    """Makes requests that are valid except for the changes in the arguments.

    Args:
        tokens: makes the access tokens, and knows the time.
        url: the tested URL, without query and fragment.
        nonce: the API's nonce (RFC 9449 §9); empty for none.
    """

    tokens: TokenFactory
    url: str
    nonce: str = ""

    def token(self, key: _Key, **claims: Any) -> str:
        """Return an access token that is bound to a key."""
        return self.tokens.with_claims(cnf={"jkt": key.thumbprint}, **claims)

    def proof(
        self,
        token: str,
        key: _Key,
        *,
        header: Mapping[str, Any] | bytes | None = None,
        sign: SignFunction | None = None,
        **changes: Any,
    ) -> str:
        """Return a proof for a token.

        Args:
            token: the access token that it is sent with.
            key: the key in its header, which also signs it unless `sign` is given.
            header: members that replace or add to those of a valid header, or the bytes to encode in its place.
            sign: makes the signature.
            changes: claims that replace or add to those of a valid proof.

        OMIT removes a member.
        """
        usual_header = {"typ": "dpop+jwt", "alg": key.algorithm, "jwk": dict(key.jwk)}
        usual_claims = {
            "jti": secrets.token_urlsafe(16),
            "htm": _METHOD,
            "htu": self.url,
            "iat": self.tokens.now,
            "ath": base64url(hashlib.sha256(token.encode()).digest()),
            "nonce": self.nonce or OMIT,
        }
        header_json = header if isinstance(header, bytes) else _encode(usual_header | dict(header or {}))
        signing_input = f"{base64url(header_json)}.{base64url(_encode(usual_claims | changes))}"
        return self.tokens.add_signature(signing_input, sign or key.sign)


def _encode(members: Mapping[str, Any]) -> bytes:
    return encode_json({name: value for name, value in members.items() if value is not OMIT})


def proof_requests(proofs: ProofFactory) -> Iterator[HostileRequest]:
    """Yield the requests, the one with a valid proof first."""
    device = _p256_key("device")
    yield from _accepted(proofs, device)
    yield from _number_of_proofs(proofs, device)
    yield from _wrong_headers(proofs, device)
    yield from _wrong_keys(proofs, device)
    yield from _wrong_claims(proofs, device)
    yield from _wrong_schemes(proofs, device)
    if proofs.nonce:
        why = "A proof without the nonce that the API gave out is refused, RFC 9449 §9 and §4.3."
        for name, nonce in (("dpop-nonce-missing", OMIT), ("dpop-nonce-wrong", "x")):
            token = proofs.token(device)
            yield _request(name, NONCE_NEEDED, why, token, proofs.proof(token, device, nonce=nonce))


def _request(
    name: str,
    answers: Answers,
    why: str,
    token: str,
    *unverified_proofs: str,
    scheme: str = "DPoP",
    level: Level = _MUST,
    times: int = 1,
) -> HostileRequest:
    headers = (("Authorization", f"{scheme} {token}"), *(("DPoP", proof) for proof in unverified_proofs))
    return HostileRequest(
        name=name, headers=headers, answers=answers, why=why, level=level, challenge="DPoP", times=times
    )


def _accepted(proofs: ProofFactory, device: _Key) -> Iterator[HostileRequest]:
    for name, scheme, why in (
        (GOOD_PROOF, "DPoP", "A token that is bound to a key, with a valid proof, RFC 9449 §7.1."),
        ("dpop-scheme-lower-case", "dpop", "Schemes are case-insensitive, RFC 9110 §11.1."),
        ("dpop-scheme-upper-case", "DPOP", "Schemes are case-insensitive, RFC 9110 §11.1."),
    ):
        token = proofs.token(device)
        yield _request(name, ACCEPTED, why, token, proofs.proof(token, device), scheme=scheme)


def _number_of_proofs(proofs: ProofFactory, device: _Key) -> Iterator[HostileRequest]:
    token = proofs.token(device)

    def proof() -> str:
        return proofs.proof(token, device)

    one = "A request has one header DPoP with one proof, RFC 9449 §4.3."
    yield _request("dpop-no-proof", NO_PROOF, "A token that is bound to a key needs a proof, RFC 9449 §7.1.", token)
    yield _request("dpop-proof-empty", MALFORMED_PROOF, one, token, "")
    yield _request("dpop-two-proofs", MALFORMED_PROOF, one, token, proof(), proof())
    yield _request("dpop-two-proofs-in-one-header", MALFORMED_PROOF, one, token, f"{proof()}, {proof()}")
    bad_and_good = (proofs.proof(token, device, htm="POST"), proof())
    yield _request("dpop-two-proofs-bad-and-good", MALFORMED_PROOF, one, token, *bad_and_good)
    yield _request("dpop-two-proofs-good-and-bad", MALFORMED_PROOF, one, token, *reversed(bad_and_good))
    jwt = "A proof is one well-formed JWT, RFC 9449 §4.3."
    yield _request("dpop-proof-no-jwt", MALFORMED_PROOF, jwt, token, "x")
    yield _request("dpop-proof-dots-alone", MALFORMED_PROOF, jwt, token, "..")
    yield _request("dpop-proof-quoted", MALFORMED_PROOF, jwt, token, f'"{proof()}"')
    yield _request("dpop-token-as-proof", INVALID_PROOF, "The typ of a proof is dpop+jwt, RFC 9449 §4.3.", token, token)
    again = "A proof is for one request; an API can remember its jti, RFC 9449 §11.1."
    yield _request("dpop-proof-replayed", INVALID_PROOF, again, token, proof(), level=_SHOULD, times=2)


def _wrong_headers(proofs: ProofFactory, device: _Key) -> Iterator[HostileRequest]:
    typ = "The typ of a proof is dpop+jwt, so that no other JWT can be one, RFC 9449 §4.3."
    algorithm = "The alg of a proof is of an asymmetric signature, not none, and supported, RFC 9449 §4.3."
    crit = "A critical parameter that the API does not know makes a JWS invalid, RFC 7515 §4.1.11."
    for name, why, header in (
        ("typ-jwt", typ, {"typ": "JWT"}),
        ("typ-at-jwt", typ, {"typ": "at+jwt"}),
        ("typ-missing", typ, {"typ": OMIT}),
        ("alg-missing", algorithm, {"alg": OMIT}),
        ("alg-of-no-signature", algorithm, {"alg": "RSA-OAEP"}),
        ("alg-lower-case", algorithm, {"alg": "es256"}),
        ("crit-unknown", crit, {"crit": ["https://issuer.example/x"], "https://issuer.example/x": 1}),
    ):
        token = proofs.token(device)
        yield _request(f"dpop-{name}", INVALID_PROOF, why, token, proofs.proof(token, device, header=header))
    parsed = "A proof is one well-formed JWT, RFC 9449 §4.3, whose header is one JSON object, RFC 7515 §5.2."
    # With the names of the parameters: a program that only asks whether these are in it goes on to read them.
    for name, raw in (("list", b'["typ", "alg", "jwk"]'), ("string", b'"typ alg jwk"')):
        token = proofs.token(device)
        yield _request(f"dpop-header-{name}", MALFORMED_PROOF, parsed, token, proofs.proof(token, device, header=raw))
    secret = secrets.token_bytes(32)
    symmetric = {"alg": "HS256", "jwk": {"kty": "oct", "k": base64url(secret)}}
    signers: tuple[tuple[str, Mapping[str, Any], Callable[[bytes], bytes]], ...] = (
        ("alg-none", {"alg": "none"}, lambda _: b""),
        ("alg-none-signed", {"alg": "none"}, device.sign),
        ("alg-hs256", symmetric, hs256_signer(secret)),
        ("alg-hs256-with-the-public-key", {"alg": "HS256"}, hs256_signer(encode_json(device.jwk))),
    )
    for name, changes, sign in signers:
        token = proofs.token(device)
        sent = proofs.proof(token, device, header=changes, sign=sign)
        yield _request(f"dpop-{name}", INVALID_PROOF, algorithm, token, sent)


def _wrong_keys(proofs: ProofFactory, device: _Key) -> Iterator[HostileRequest]:
    thief = _p256_key("thief")
    bound = "The key of the proof is the one that the token is bound to, RFC 9449 §4.3."
    token = proofs.token(device)
    yield _request("dpop-key-of-another", INVALID_PROOF, bound, token, proofs.proof(token, thief))
    signed = "The signature of a proof verifies with its jwk, RFC 9449 §4.3."
    token = proofs.token(device)
    stolen = proofs.proof(token, device, sign=thief.sign)
    yield _request("dpop-signed-by-another", INVALID_PROOF, signed, token, stolen)
    token = proofs.token(device)
    head, _, _ = proofs.proof(token, device).rpartition(".")
    yield _request("dpop-signature-missing", INVALID_PROOF, signed, token, f"{head}.")
    zeros = f"{head}.{base64url(bytes(2 * _COORDINATE_BYTES))}"
    yield _request("dpop-signature-of-zeros", INVALID_PROOF, signed, token, zeros)
    public = "The jwk of a proof is the public key, without private members, RFC 9449 §4.3."
    needed = "A proof has all parameters of RFC 9449 §4.2: typ, alg, and jwk with the public key."
    for name, why, jwk in (
        ("jwk-private", public, {**device.jwk, **device.private_members}),
        ("jwk-missing", needed, OMIT),
        ("jwk-empty", needed, {}),
        ("jwk-string", needed, "x"),
        ("jwk-off-the-curve", needed, {**device.jwk, "y": base64url(bytes(_COORDINATE_BYTES))}),
    ):
        token = proofs.token(device)
        yield _request(f"dpop-{name}", INVALID_PROOF, why, token, proofs.proof(token, device, header={"jwk": jwk}))
    small = "An RSA key for signatures has 2048 bits or more, RFC 7518 §3.3."
    # The padded one seems to have enough bits where its characters are counted. Its token is bound to the JWK as sent.
    for name, bits in (("small-rsa-key", _WEAK_RSA_BITS), ("small-rsa-key-padded", _ALLOWED_RSA_BITS)):
        weak = _weak_rsa_key(bits)
        token = proofs.token(weak)
        yield _request(f"dpop-{name}", INVALID_PROOF, small, token, proofs.proof(token, weak))


def _wrong_claims(proofs: ProofFactory, device: _Key) -> Iterator[HostileRequest]:
    now = proofs.tokens.now
    method = "The htm of a proof is the method of the request, RFC 9449 §4.3, which is case-sensitive."
    address = "The htu of a proof is the URI of the request, without query and fragment, RFC 9449 §4.3."
    time = "The iat of a proof is within an acceptable window, RFC 9449 §4.3."
    digest = "The ath of a proof is the hash of the access token that it comes with, RFC 9449 §4.3."
    needed = "A proof has all claims of RFC 9449 §4.2: jti, htm, htu, iat, and ath with an access token."
    other = base64url(hashlib.sha256(b"another token").digest())
    for name, why, changes in (
        ("htm-missing", method, {"htm": OMIT}),
        ("htm-post", method, {"htm": "POST"}),
        ("htm-lower-case", method, {"htm": "get"}),
        ("htu-missing", address, {"htu": OMIT}),
        ("htu-other-path", address, {"htu": f"{proofs.url}/other"}),
        ("htu-other-host", address, {"htu": "https://attacker.invalid/"}),
        ("htu-path-alone", address, {"htu": "/"}),
        ("htu-number", address, {"htu": 1}),
        ("iat-missing", time, {"iat": OMIT}),
        ("iat-a-day-ago", time, {"iat": now - _DAY_SECONDS}),
        ("iat-in-a-day", time, {"iat": now + _DAY_SECONDS}),
        ("iat-string", time, {"iat": str(now)}),
        ("iat-beyond-dates", time, {"iat": _BEYOND_DATES}),
        ("iat-beyond-64-bits", time, {"iat": _BEYOND_64_BITS}),
        ("iat-beyond-floats", time, {"iat": _BEYOND_FLOATS}),
        ("ath-missing", digest, {"ath": OMIT}),
        ("ath-empty", digest, {"ath": ""}),
        ("ath-of-another-token", digest, {"ath": other}),
        ("jti-missing", needed, {"jti": OMIT}),
    ):
        token = proofs.token(device)
        yield _request(f"dpop-{name}", INVALID_PROOF, why, token, proofs.proof(token, device, **changes))


def _wrong_schemes(proofs: ProofFactory, device: _Key) -> Iterator[HostileRequest]:
    downgraded = "An API that supports DPoP refuses a token that is bound to a key as a Bearer token, RFC 9449 §7.2."
    token = proofs.token(device)
    yield _request("dpop-token-as-bearer", NOT_BOUND, downgraded, token, scheme="Bearer")
    sent = proofs.proof(token, device)
    yield _request("dpop-token-as-bearer-with-proof", NOT_BOUND, downgraded, token, sent, scheme="Bearer")
    bound = "With the scheme DPoP, the token is bound to the key of the proof, RFC 9449 §7.1 and §4.3."
    for name, token in (
        ("dpop-bearer-token", proofs.tokens.token()),
        ("dpop-jkt-empty", proofs.tokens.with_claims(cnf={"jkt": ""})),
        ("dpop-jkt-null", proofs.tokens.with_claims(cnf={"jkt": None})),
        ("dpop-cnf-empty", proofs.tokens.with_claims(cnf={})),
    ):
        yield _request(name, NOT_BOUND, bound, token, proofs.proof(token, device))
    expired = "A proof does not revive an expired token, RFC 7519 §4.1.4 and RFC 9449 §7.1."
    token = proofs.token(device, exp=proofs.tokens.now - 3600)
    yield _request("dpop-token-expired", NOT_BOUND, expired, token, proofs.proof(token, device))
    forged = f"{proofs.token(device).rpartition('.')[0]}.{base64url(bytes(256))}"
    unsigned = "A proof does not replace the issuer's signature, RFC 7515 §5.2 and RFC 9449 §7.1."
    yield _request("dpop-token-forged", NOT_BOUND, unsigned, forged, proofs.proof(forged, device))
