"""Tokens that are bound to a client certificate (RFC 8705 §3). Nothing else needs this module.

A proxy terminates TLS, demands the certificate, and hands it on in a header. The header proves something only if it
comes from that proxy, and if the proxy removes what clients send under the same name.
"""

import hashlib
import hmac
import ipaddress
import re
from base64 import urlsafe_b64encode
from binascii import a2b_base64
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from urllib.parse import unquote_to_bytes

from .claims import AccessToken
from .config import ConfigError
from .errors import InvalidToken
from .possession import UnverifiedRequest
from .reasons import Reason

# RFC 9440 §2.2.
DEFAULT_HEADER = "Client-Cert"
# A proxy that connects by a Unix socket has no address.
UNIX = "unix"

# RFC 9110 §5.1, without the characters that WSGI cannot tell apart or servers drop.
_HEADER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
# RFC 7468 §5.1, as OpenSSL writes it.
_PEM_BEGIN = b"-----BEGIN CERTIFICATE-----\n"
_PEM_END = b"\n-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class MutualTLS:
    """Accepts tokens with `cnf["x5t#S256"]` from whoever has that client certificate (RFC 8705 §3.1).

    `proxies` are the IP addresses and networks whose header is believed, compared with the address that the connection
    comes from; `unix` stands for Unix sockets. From others, the header is ignored. `header` has the certificate, as in
    RFC 9440 (`:` Base64 `:`), or as percent-encoded PEM (nginx's `$ssl_client_escaped_cert`). `required` refuses tokens
    that are bound to no certificate.

    Does not verify the certificate: the proxy does, or lets in every one that its sender has the key of (RFC 8705
    §2.2), as its issuer knows it by the thumbprint.

    Raises ConfigError.
    """

    proxies: tuple[str, ...]
    header: str = DEFAULT_HEADER
    required: bool = False
    _networks: tuple[IPv4Network | IPv6Network, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        mistakes: list[str] = []
        networks = []
        if not isinstance(self.proxies, tuple) or not self.proxies:
            mistakes.append('proxies must be a tuple of addresses, also of one: ("127.0.0.1",).')
        else:
            for proxy in self.proxies:
                try:
                    networks += [] if proxy == UNIX else [ipaddress.ip_network(proxy)]
                except ValueError:
                    mistakes.append(
                        f"proxies: {proxy!r} is no IP address, no network such as 10.0.0.0/8, and not unix."
                    )
        if not isinstance(self.header, str) or _HEADER_NAME.fullmatch(self.header) is None:
            mistakes.append("header must be the name of a header, of letters, digits and hyphens.")
        if not isinstance(self.required, bool):
            mistakes.append("required must be True or False.")
        if mistakes:
            raise ConfigError(mistakes)
        object.__setattr__(self, "_networks", tuple(networks))

    def check(self, token: AccessToken, request: UnverifiedRequest) -> None:
        """Raise InvalidToken unless a trusted proxy says that the client has the certificate of `token` (RFC 8705 §3).

        `token` has a `certificate_thumbprint`.
        """
        unverified_header = request.header(self.header) if self.trusts(request.peer_address) else None
        if not unverified_header:
            raise InvalidToken(Reason.CERTIFICATE_MISSING, claim="cnf")
        try:
            thumbprint = thumbprint_of(unverified_header)
        except ValueError as exc:
            raise InvalidToken(Reason.CERTIFICATE_MALFORMED, claim="cnf") from exc
        if not hmac.compare_digest(thumbprint, str(token.certificate_thumbprint).encode()):
            raise InvalidToken(Reason.CERTIFICATE_MISMATCH, claim="cnf")

    def trusts(self, peer_address: str | None) -> bool:
        """Return whether a connection from this address comes from one of the proxies."""
        if not peer_address:
            return UNIX in self.proxies
        try:
            address = ipaddress.ip_address(peer_address)
        except ValueError:
            return False
        # A socket that listens for both families shows an IPv4 address so.
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


def thumbprint_of(unverified_header: str) -> bytes:
    """Return the SHA-256 thumbprint of the certificate in a header, in base64url (RFC 8705 §3.1).

    Raises ValueError if the header is neither a byte sequence (RFC 8941 §3.3.5) nor a percent-encoded PEM certificate,
    one alone. Does not read the certificate: another one has another thumbprint, whatever it says.
    """
    if unverified_header.startswith(":"):
        # One colon alone is both, and no certificate.
        if not unverified_header.endswith(":"):
            raise ValueError("not a byte sequence")
        der = a2b_base64(unverified_header[1:-1], strict_mode=True)
    else:
        pem = unquote_to_bytes(unverified_header).removesuffix(b"\n")
        if not (pem.startswith(_PEM_BEGIN) and pem.endswith(_PEM_END)):
            raise ValueError("not a PEM certificate")
        der = a2b_base64(pem[len(_PEM_BEGIN) : -len(_PEM_END)].replace(b"\n", b""), strict_mode=True)
    if not der:
        raise ValueError("no certificate")
    return urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=")
