"""Nonces that the API gives out for proofs (RFC 9449 §8 and §9): a MAC over the time, so that nothing is stored.

Every process with the same secret accepts what another one gave.
"""

import base64
import hashlib
import hmac

MIN_SECRET_BYTES = 32  # RFC 2104 §3: at least the length of the hash
# A nonce is given out for so long, and then accepted for as long again.
NONCE_SECONDS = 300
# So that the secret can serve other purposes too.
_PURPOSE = b"DPoP-Nonce:"


class Nonces:
    """Makes and checks nonces. `secret` has at least 32 bytes. Times are in seconds since 1970."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        # The nonces of the present period, with its number; replaced as a whole.
        self._present: tuple[int, str, frozenset[str]] = self._period(0)

    def current(self, now: float) -> str:
        """Return the nonce to give out."""
        return self._at(now)[1]

    def accepts(self, unverified_nonce: str, now: float) -> bool:
        """Return whether this nonce was given out within the last two periods, 300 s each.

        Also that of the next period: the clock of the process that gave it may be ahead.
        """
        # A look-up in a set: a nonce is no secret, every client gets the same.
        return unverified_nonce in self._at(now)[2]

    def _at(self, now: float) -> tuple[int, str, frozenset[str]]:
        number = int(now // NONCE_SECONDS)
        present = self._present
        if present[0] != number:
            present = self._present = self._period(number)
        return present

    def _period(self, number: int) -> tuple[int, str, frozenset[str]]:
        accepted = frozenset(self._nonce(one) for one in (number - 1, number, number + 1))
        return number, self._nonce(number), accepted

    def _nonce(self, number: int) -> str:
        mac = hmac.digest(self._secret, _PURPOSE + str(number).encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
