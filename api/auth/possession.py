"""Whether whoever sends a token holds the key that it is bound to (RFC 7800 §3).

What proofs of both kinds have in common; the proofs themselves are in modules of their own, which a copy may leave out.
A plain bearer token has nothing to do with all of this.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from .claims import AccessToken
from .errors import DPoPChallenge, InvalidToken, Scheme
from .reasons import Reason


class UnverifiedRequest(NamedTuple):
    """What of a request a proof of possession is compared with.

    `method` is its HTTP method. `url` is the address as the client knows it, in front of all proxies; query and
    fragment do not matter. `header` returns the value of a header, repeated ones joined with commas (RFC 9110 §5.3),
    None if it is missing. `peer_address` is the IP address that the connection comes from, None if unknown.
    `offer_nonce` is called with a nonce that the answer is to have in the header `DPoP-Nonce`.
    """

    method: str
    url: str
    header: Callable[[str], str | None]
    peer_address: str | None = None
    offer_nonce: Callable[[str], None] | None = None


class KeyProof(DPoPChallenge, Protocol):
    """Checks proofs for tokens with `cnf.jkt`: DPoP (RFC 9449)."""

    @abstractmethod
    def check(self, token: AccessToken, unverified_token: str, request: UnverifiedRequest) -> None:
        """Raise AuthError unless `request` has a proof for `token`, which has a `key_thumbprint`."""


class CertificateProof(Protocol):
    """Checks client certificates for tokens with `cnf["x5t#S256"]`: mutual TLS (RFC 8705 §3)."""

    @property
    @abstractmethod
    def required(self) -> bool:
        """Return whether tokens without it are refused."""

    @abstractmethod
    def check(self, token: AccessToken, request: UnverifiedRequest) -> None:
        """Raise AuthError unless `request` came with the certificate that `token` has the thumbprint of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """How whoever sends a request may prove that a token is theirs.

    `request` returns what the proofs need of the request. It is called for tokens that are bound to a key, and for the
    scheme DPoP, and no others: one object can serve all requests. Without `dpop` or `mtls`, tokens that need that kind
    of proof are refused.
    """

    request: Callable[[], UnverifiedRequest]
    dpop: KeyProof | None = None
    mtls: CertificateProof | None = None

    def check(self, token: AccessToken, unverified_token: str, scheme: Scheme) -> None:
        """Raise AuthError unless the sender holds every key that a verified token is bound to.

        Also if the scheme does not fit the token (RFC 9449 §7.1 and §7.2), or a kind of binding is required.
        """
        request: UnverifiedRequest | None = None
        if token.key_thumbprint is not None:
            # RFC 9449 §7.2: a token for DPoP must not be accepted as a bearer token.
            if self.dpop is None or scheme != "DPoP":
                raise InvalidToken(Reason.KEY_BOUND, claim="cnf")
            request = self.request()
            self.dpop.check(token, unverified_token, request)
        elif scheme == "DPoP" or (self.dpop is not None and self.dpop.required):
            raise InvalidToken(Reason.NOT_KEY_BOUND, claim="cnf")
        if token.certificate_thumbprint is not None:
            if self.mtls is None:
                raise InvalidToken(Reason.KEY_BOUND, claim="cnf")
            self.mtls.check(token, request or self.request())
        elif self.mtls is not None and self.mtls.required:
            raise InvalidToken(Reason.NOT_CERTIFICATE_BOUND, claim="cnf")
