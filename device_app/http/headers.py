"""The response headers that the program acts on: WWW-Authenticate and Retry-After."""

import datetime as dt
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from device_app.model.times import format_duration
from device_app.model.untrusted import decimal_integer

__all__ = ["challenge_parameters", "retry_after_seconds", "try_again_sentence"]

# RFC 9110 §5.6.2
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  # a grammar rule, no secret
# RFC 9110 §11.2: name=value, with the value quoted or bare; a token without a value is the name of the next scheme.
_CHALLENGE_PART: Final = re.compile(
    rf'(?P<name>{_TOKEN})[ \t]*=[ \t]*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>{_TOKEN}))|(?P<scheme>{_TOKEN})'
)


def challenge_parameters(unverified_header: str, wanted_scheme: str) -> dict[str, str]:
    """Return the parameters of the first challenge of a scheme, in lower case, in a WWW-Authenticate header.

    The header may hold several challenges (RFC 9110 §11.6.1). Names are lower-cased; the first of a repeated name
    counts. The result is empty if there is no challenge of this scheme or it has no parameters.
    """
    parameters: dict[str, str] = {}
    scheme = ""
    for part in _CHALLENGE_PART.finditer(unverified_header):
        if part["scheme"]:
            if scheme == wanted_scheme:
                break
            scheme = part["scheme"].lower()
        elif scheme == wanted_scheme:
            quoted = part["quoted"]
            value = part["bare"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            parameters.setdefault(part["name"].lower(), value)
    return parameters


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """Return the delay that Retry-After asks for in seconds (RFC 9110 §10.2.3), or None if it is absent or malformed.

    `now` is in seconds since 1970; a date in the past gives 0.
    """
    # urllib3's Retry.parse_retry_after reads the system's clock, raises on malformed values and accepts
    # January 99 as a date.
    unverified_value = headers.get("Retry-After", "").strip()
    delay_seconds = decimal_integer(unverified_value)
    if delay_seconds is not None:
        return float(delay_seconds)
    try:
        moment = parsedate_to_datetime(unverified_value)
        if moment.tzinfo is None:  # the zone "-0000": UTC (RFC 5322 §3.3)
            moment = moment.replace(tzinfo=dt.UTC)
    except (ValueError, OverflowError):  # OverflowError: a zone of many digits
        return None
    return max(0.0, moment.timestamp() - now)


def try_again_sentence(headers: Mapping[str, str], now: float) -> str:
    """Return "Try again in …", or "Try again later." without a usable Retry-After. `now` is in seconds since 1970."""
    wait_seconds = retry_after_seconds(headers, now)
    return "Try again later." if wait_seconds is None else f"Try again in {format_duration(wait_seconds)}."
