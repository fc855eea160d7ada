"""User codes: generated to be easy to read and type, compared regardless of case and punctuation (RFC 8628 §6.1)."""

import secrets
import unicodedata

from mock_issuer.config import UserCodeCharset

# RFC 8628 §6.1: without vowels, codes form no words; without digits, no letter is mistaken for one.
_CHARACTERS: dict[UserCodeCharset, str] = {"base20": "BCDFGHJKLMNPQRSTVWXZ", "digits": "0123456789"}
# Twice the longest mask. Bounds the time that NFKC takes.
_MAX_INPUT_LENGTH = 64


def generate(charset: UserCodeCharset, mask: str) -> str:
    """Return a user code: the mask with a random character for each `*`."""
    return "".join(secrets.choice(_CHARACTERS[charset]) if place == "*" else place for place in mask)


def normalize(entered_code: str) -> str:
    """Return the letters and digits of an entered code in upper case, for comparison (RFC 8628 §6.1).

    Full-width characters, as East Asian keyboards send them, become ASCII (NFKC).
    """
    narrow = unicodedata.normalize("NFKC", entered_code[:_MAX_INPUT_LENGTH])
    kept = (letter for letter in narrow if unicodedata.category(letter)[0] in "LN")
    return "".join(kept).upper()
