"""The WWW-Authenticate header of a refused request (RFC 9110 §11.6.1, RFC 6750 §3)."""

import re
from typing import Final

__all__ = ["bearer_parameters"]

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# A parameter with a quoted or bare value, or else the name of a scheme.
_PART: Final = re.compile(
    rf'(?P<name>{_WORD})[ \t]*=[ \t]*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>{_WORD}))|(?P<scheme>{_WORD})'
)


def bearer_parameters(unverified_header: str) -> dict[str, str]:
    """Return the parameters of the first Bearer challenge in a header that may hold several.

    Names are in lower case. The result is empty where there is no such challenge or it has no parameters.
    """
    parameters: dict[str, str] = {}
    scheme = ""
    for part in _PART.finditer(unverified_header):
        if part["scheme"]:
            if scheme == "bearer":
                break
            scheme = part["scheme"].lower()
        elif scheme == "bearer":
            quoted = part["quoted"]
            value = part["bare"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            parameters.setdefault(part["name"].lower(), value)
    return parameters
