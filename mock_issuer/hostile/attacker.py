"""The attacker's keys, which no issuer publishes, their signatures, and encodings of the issuer's public key."""

import base64
import datetime as dt
import functools
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from mock_issuer.hostile.tokens import SignFunction, base64url

# The key id in the attacker's own key set.
ATTACKERS_KID = "attacker"
_P256_COORDINATE_BYTES = 32  # RFC 7518 §3.4: of R and of S


# The keys are cached: making an RSA key takes about 100 ms.


@functools.cache
def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@functools.cache
def _ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@functools.cache
def _ed25519_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def public_jwk() -> dict[str, Any]:
    """Return the attacker's public RSA key as a JWK (RFC 7517 §4, RFC 7518 §6.3)."""
    numbers = _rsa_key().public_key().public_numbers()
    n, e = (base64url(number.to_bytes((number.bit_length() + 7) // 8)) for number in (numbers.n, numbers.e))
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": ATTACKERS_KID, "n": n, "e": e}


@functools.cache
def certificate() -> x509.Certificate:
    """Return a self-signed certificate of the attacker's RSA key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "attacker.invalid")])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, _rsa_key().public_key(), x509.random_serial_number())
    dated = builder.not_valid_before(start).not_valid_after(start.replace(year=2049))
    return dated.sign(_rsa_key(), SHA256())


def sign_rs256(signing_input: bytes) -> bytes:
    """Sign with RS256 (RFC 7518 §3.3)."""
    return rsa_signer(SHA256())(signing_input)


def rsa_signer(algorithm: HashAlgorithm) -> SignFunction:
    """Return a function that signs with RSASSA-PKCS1-v1_5 and this hash (RFC 7518 §3.3)."""
    return lambda signing_input: _rsa_key().sign(signing_input, padding.PKCS1v15(), algorithm)


def sign_ps256(signing_input: bytes) -> bytes:
    """Sign with PS256 (RFC 7518 §3.5)."""
    pss = padding.PSS(padding.MGF1(SHA256()), SHA256.digest_size)
    return _rsa_key().sign(signing_input, pss, SHA256())


def sign_ecdsa_der(signing_input: bytes) -> bytes:
    """Sign with ECDSA, encoded as ASN.1 DER, which JWS does not allow."""
    return _ec_key().sign(signing_input, ec.ECDSA(SHA256()))


def sign_es256(signing_input: bytes) -> bytes:
    """Sign with ES256 (RFC 7518 §3.4)."""
    r, s = decode_dss_signature(sign_ecdsa_der(signing_input))
    return r.to_bytes(_P256_COORDINATE_BYTES) + s.to_bytes(_P256_COORDINATE_BYTES)


def sign_eddsa(signing_input: bytes) -> bytes:
    """Sign with Ed25519 (RFC 8037 §3.1)."""
    return _ed25519_key().sign(signing_input)


def hs256_signer(secret: bytes) -> SignFunction:
    """Return a function that signs with HS256 and this secret (RFC 7518 §3.2)."""
    return lambda signing_input: hmac.digest(secret, signing_input, hashlib.sha256)


def public_key_encodings(jwk: Mapping[str, str]) -> dict[str, bytes]:
    """Return the encodings of a public RSA key that a verifier may mistake for an HMAC secret (RFC 8725 §2.1)."""
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
