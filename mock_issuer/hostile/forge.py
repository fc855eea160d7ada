"""Tokens that no library would make: any bytes in header and payload, and any signature over them."""

import base64
import datetime as dt
import functools
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

# A member that is left out.
ABSENT: Final = object()
# How long a good token lives.
LIFETIME_SECONDS = 3600
_COORDINATE_BYTES = 32  # RFC 7518 §3.4: of R and of S, for P-256

Sign = Callable[[bytes], bytes]


class Signer(Protocol):
    """Who signs for the issuer. An API that trusts the issuer has its `jwks()`."""

    @property
    def kid(self) -> str:
        """The id of the key that signs."""

    def sign_raw(self, signing_input: bytes) -> bytes:
        """Sign any bytes with RS256."""

    def jwks(self) -> dict[str, Any]:
        """Return the published JWK Set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forge:
    """Makes tokens that are good but for what is asked for.

    `scope` is what the tried route needs, words with single spaces; empty where any valid token will do. `now` is a
    NumericDate.
    """

    signer: Signer
    issuer: str
    audience: str
    scope: str
    now: int

    def header(self, **changes: Any) -> dict[str, Any]:
        """Return the header of a good token (RFC 9068 §2.1) with these parameters in place of its own."""
        return _changed({"alg": "RS256", "typ": "at+jwt", "kid": self.signer.kid}, changes)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a good token (RFC 9068 §2.2) with these in place of its own."""
        usual = {
            "iss": self.issuer,
            "sub": "hostile|tester",
            "aud": self.audience,
            "iat": self.now,
            "exp": self.now + LIFETIME_SECONDS,
            "client_id": "hostile-check",
            "jti": secrets.token_urlsafe(8),
            "scope": self.scope or ABSENT,
        }
        return _changed(usual, changes)

    def token(
        self,
        header: Mapping[str, Any] | bytes | None = None,
        payload: Mapping[str, Any] | bytes | None = None,
        sign: Sign | None = None,
    ) -> str:
        """Return a compact JWS; bytes stand for themselves, and what is left out is that of a good token."""
        parts = (self.header() if header is None else header, self.claims() if payload is None else payload)
        return self.signed(".".join(segment(part if isinstance(part, bytes) else spell(part)) for part in parts), sign)

    def signed(self, signing_input: str, sign: Sign | None = None) -> str:
        """Return a token of two segments and a signature, by the issuer's key where `sign` is left out."""
        return f"{signing_input}.{segment((sign or self.signer.sign_raw)(signing_input.encode()))}"

    def with_claims(self, **changes: Any) -> str:
        """Return a token with these claims changed."""
        return self.token(payload=self.claims(**changes))

    def with_header(self, sign: Sign | None = None, **changes: Any) -> str:
        """Return a token with these header parameters changed."""
        return self.token(self.header(**changes), sign=sign)


def _changed(usual: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**usual, **changes}.items() if value is not ABSENT}


def segment(raw: bytes) -> str:
    """Return base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def spell(members: Mapping[str, Any], *more: str) -> bytes:
    """Return the JSON of an object, with further members that are spelled already, repeated names included."""
    return f"{json.dumps(members)[:-1]}{''.join(f', {member}' for member in more)}}}".encode()


# --- The attacker's keys: made once per process ---------------------------------------------------------------------


@functools.cache
def attackers_key() -> rsa.RSAPrivateKey:
    """Return an RSA key that no issuer publishes."""
    return rsa.generate_private_key(65537, 2048)


@functools.cache
def _ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@functools.cache
def _ed25519_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def attackers_jwk() -> dict[str, Any]:
    """Return the public JWK of `attackers_key`."""
    numbers = attackers_key().public_key().public_numbers()
    n, e = (segment(number.to_bytes((number.bit_length() + 7) // 8)) for number in (numbers.n, numbers.e))
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "attacker", "n": n, "e": e}


@functools.cache
def attackers_certificate() -> x509.Certificate:
    """Return a certificate that the attacker's key made for itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "attacker.invalid")])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, attackers_key().public_key(), x509.random_serial_number())
    dated = builder.not_valid_before(start).not_valid_after(start.replace(year=2049))
    return dated.sign(attackers_key(), SHA256())


# --- Signatures -----------------------------------------------------------------------------------------------------


def by_attacker(signing_input: bytes) -> bytes:
    """Sign with RS256 and the attacker's key."""
    return rsa_by_attacker(SHA256())(signing_input)


def rsa_by_attacker(algorithm: HashAlgorithm) -> Sign:
    """Sign with the attacker's RSA key, PKCS #1 v1.5 and this hash."""
    return lambda signing_input: attackers_key().sign(signing_input, padding.PKCS1v15(), algorithm)


def ps256_by_attacker(signing_input: bytes) -> bytes:
    """Sign with PS256 and the attacker's RSA key."""
    pss = padding.PSS(padding.MGF1(SHA256()), SHA256.digest_size)
    return attackers_key().sign(signing_input, pss, SHA256())


def der_by_attacker(signing_input: bytes) -> bytes:
    """Sign with ECDSA, as the ASN.1 that X.509 has and JWS has not."""
    return _ec_key().sign(signing_input, ec.ECDSA(SHA256()))


def es256_by_attacker(signing_input: bytes) -> bytes:
    """Sign with ES256 and a key of the attacker's."""
    r, s = decode_dss_signature(der_by_attacker(signing_input))
    return r.to_bytes(_COORDINATE_BYTES) + s.to_bytes(_COORDINATE_BYTES)


def eddsa_by_attacker(signing_input: bytes) -> bytes:
    """Sign with Ed25519 and a key of the attacker's."""
    return _ed25519_key().sign(signing_input)


def hs256(secret: bytes) -> Sign:
    """Sign with HMAC and SHA-256."""
    return lambda signing_input: hmac.digest(secret, signing_input, hashlib.sha256)


def public_secrets(jwk: Mapping[str, str]) -> dict[str, bytes]:
    """Return what a confused verifier may use as the secret of an HMAC: the spellings of a public RSA key."""
    n, e = (int.from_bytes(base64.urlsafe_b64decode(f"{jwk[name]}==")) for name in ("n", "e"))
    key = rsa.RSAPublicNumbers(e, n).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return {
        "pem": pem,
        "pem-stripped": pem.strip(),
        "pkcs1-pem": key.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        "der": key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "jwk": json.dumps(jwk).encode(),
        "modulus": n.to_bytes((n.bit_length() + 7) // 8),
        "modulus-text": jwk["n"].encode(),
    }
