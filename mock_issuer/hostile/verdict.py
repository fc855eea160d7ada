"""Compares an API's answer with the acceptable ones, and describes them."""

import re
from collections.abc import Iterable, Sequence

from mock_issuer.hostile.request import Answer, HostileRequest

# For these, the error code of the Bearer challenge counts too (RFC 6750 §3.1); for others the status alone.
_WITH_CHALLENGE = frozenset({400, 401, 403})
_UNAUTHORIZED = 401
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105  # RFC 9110 §5.6.2
_QUOTED = r'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*"'
_PARAMETER = rf"(?P<name>{_TOKEN})[ \t]*=[ \t]*(?P<value>{_TOKEN}|{_QUOTED})"
# RFC 9110 §11.6.1: challenges and their parameters are elements of one comma-separated list. An element is a scheme, a
# parameter, or a scheme with its first parameter.
_ELEMENT = re.compile(
    rf"[ \t]*(?:(?:(?P<scheme>{_TOKEN}) +)?{_PARAMETER}|(?P<other>{_TOKEN})(?: +[A-Za-z0-9\-._~+/]+=*)?)?[ \t]*(?:,|$)"
)
# An error code that is safe to print: no token, no control character.
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")


def find_mismatch(request: HostileRequest, status: int, challenges: Sequence[str]) -> str | None:
    """Return a description of an answer that is not acceptable, None for an acceptable one (RFC 6750 §3).

    Args:
        request: the request that was sent.
        status: the status of the answer.
        challenges: the values of its `WWW-Authenticate` headers.

    Does not check the body.
    """
    if status not in _WITH_CHALLENGE:
        comparable = 200 if 200 <= status <= 299 else status  # noqa: PLR2004  # 200 stands for any 2xx
        return None if (comparable, None) in request.answers else str(status)
    found = bearer_challenges(challenges)
    if found is None:
        return f"{status} with an unreadable challenge"
    if len(found) > 1:
        return f"{status} with {len(found)} Bearer challenges"
    if status == _UNAUTHORIZED and not found:
        return "401 without a Bearer challenge" if challenges else "401 without a challenge"
    error = found[0].get("error") if found else None
    if (status, error) in request.answers:
        return None
    if error is not None and _ERROR_CODE.fullmatch(error) is None:
        error = "with another error"
    return _describe((status, error))


def bearer_challenges(values: Iterable[str]) -> list[dict[str, str]] | None:
    """Return the parameters of each Bearer challenge, None if a value is not parseable (RFC 9110 §11.6.1)."""
    found: list[tuple[str, dict[str, str]]] = []
    for value in values:
        position, has_scheme = 0, False
        while position < len(value):
            element = _ELEMENT.match(value, position)
            if element is None:
                return None
            position = element.end()
            scheme, name = element["scheme"] or element["other"], element["name"]
            if scheme:
                found.append((scheme.lower(), {}))
                has_scheme = True
            if name:
                # A parameter follows a scheme and occurs once (RFC 9110 §11.2).
                if not has_scheme or name.lower() in found[-1][1]:
                    return None
                text = element["value"]
                plain = re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
                found[-1][1][name.lower()] = plain
    return [parameters for scheme, parameters in found if scheme == "bearer"]


def describe_answers(request: HostileRequest) -> str:
    """Return the acceptable answers in words, the recommended one first."""
    return " or ".join(_describe(answer) for answer in request.answers)


def _describe(answer: Answer) -> str:
    status, error = answer
    if status == 200:  # noqa: PLR2004  # stands for any 2xx
        return "2xx"
    if status == _UNAUTHORIZED and error is None:
        return "401 without error"
    return f"{status} {error}" if error else str(status)
