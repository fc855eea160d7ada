"""User codes: made to be read from a television and typed on a phone (RFC 8628 §6.1)."""

import secrets
import unicodedata

from mock_issuer.config import UserCodeCharset

# RFC 8628 §6.1: consonants only, so that no words come about and nothing looks like a digit.
_CHARACTERS: dict[UserCodeCharset, str] = {"base20": "BCDFGHJKLMNPQRSTVWXZ", "digits": "0123456789"}
# Longer input is no code however it is typed; cutting it bounds the work and what a page shows back.
_LONGEST_TYPED = 64


def generate(charset: UserCodeCharset, mask: str) -> str:
    """Make a user code: a random character for each `*` of the mask, the rest of it as it stands."""
    return "".join(secrets.choice(_CHARACTERS[charset]) if place == "*" else place for place in mask)


def normalize(typed: str) -> str:
    """Reduce what a person typed to what is compared: capital letters and digits, without spaces and dashes.

    The wide ones of East Asian keyboards count as the narrow ones (NFKC).
    """
    narrow = unicodedata.normalize("NFKC", typed[:_LONGEST_TYPED])
    kept = (letter for letter in narrow if unicodedata.category(letter)[0] in "LN")
    return "".join(kept).upper()
