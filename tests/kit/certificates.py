"""Client certificates made at run time, and the headers in which proxies hand them on."""

import base64
import datetime as dt
import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.kit.signing import b64


@dataclass(frozen=True)
class ClientCertificate:
    """A self-signed certificate with its key (RFC 8705 §2.2)."""

    certificate: x509.Certificate
    private_key: ec.EllipticCurvePrivateKey

    @property
    def thumbprint(self) -> str:
        """Return `x5t#S256`."""
        return b64(hashlib.sha256(self.certificate.public_bytes(Encoding.DER)).digest())

    @property
    def client_cert(self) -> str:
        """Return the header of RFC 9440."""
        return f":{base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()}:"

    @property
    def escaped_pem(self) -> str:
        """Return nginx's `$ssl_client_escaped_cert`."""
        return quote(self.certificate.public_bytes(Encoding.PEM), safe="")

    def write(self, path: Path) -> Path:
        """Write the key and the certificate into one file, as HTTP clients read them."""
        key = self.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(key + self.certificate.public_bytes(Encoding.PEM))
        return path


@functools.cache
def client_certificate(number: int = 0) -> ClientCertificate:
    """Return a certificate, the same one for the same number."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"device-{number}")])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
    )
    return ClientCertificate(builder.sign(key, hashes.SHA256()), key)
