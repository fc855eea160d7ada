"""Whether an API's answer is one of those that are right, and how either is told."""

import re
from collections.abc import Iterable, Sequence

from mock_issuer.hostile.request import Answer, HostileRequest

# Statuses with a Bearer challenge that says why (RFC 6750 §3.1); others are judged by themselves.
_WITH_CHALLENGE = frozenset({400, 401, 403})
_UNAUTHORIZED = 401
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105  # RFC 9110 §5.6.2
_QUOTED = r'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*"'
_PARAMETER = rf"(?P<name>{_TOKEN})[ \t]*=[ \t]*(?P<value>{_TOKEN}|{_QUOTED})"
# RFC 9110 §11.6.1: challenges and their parameters are elements of one list, so an element may start a challenge, go on
# with one, or both.
_ELEMENT = re.compile(
    rf"[ \t]*(?:(?:(?P<scheme>{_TOKEN}) +)?{_PARAMETER}|(?P<other>{_TOKEN})(?: +[A-Za-z0-9\-._~+/]+=*)?)?[ \t]*(?:,|$)"
)
# What is safe to print of an API's own words.
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")


def find_mistake(request: HostileRequest, status: int, challenges: Sequence[str]) -> str | None:
    """Return what was wrong about an answer, or None where it is one of the right ones.

    `challenges` are the values of its `WWW-Authenticate` headers. Does not look at the body.
    """
    if status not in _WITH_CHALLENGE:
        told = 200 if 200 <= status <= 299 else status  # noqa: PLR2004  # what counts as success
        return None if (told, None) in request.answers else str(status)
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
    return _spell((status, error))


def bearer_challenges(values: Iterable[str]) -> list[dict[str, str]] | None:
    """Return the parameters of each Bearer challenge, None where the values are no challenges (RFC 9110 §11.6.1)."""
    found: list[tuple[str, dict[str, str]]] = []
    for value in values:
        position, continued = 0, False
        while position < len(value):
            element = _ELEMENT.match(value, position)
            if element is None:
                return None
            position = element.end()
            scheme, name = element["scheme"] or element["other"], element["name"]
            if scheme:
                found.append((scheme.lower(), {}))
                continued = True
            if name:
                # No parameter without a scheme before it, and none twice (RFC 9110 §11.2).
                if not continued or name.lower() in found[-1][1]:
                    return None
                text = element["value"]
                plain = re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
                found[-1][1][name.lower()] = plain
    return [parameters for scheme, parameters in found if scheme == "bearer"]


def spell_answers(request: HostileRequest) -> str:
    """Return the right answers in words, the recommended one first."""
    return " or ".join(_spell(answer) for answer in request.answers)


def _spell(answer: Answer) -> str:
    status, error = answer
    if status == 200:  # noqa: PLR2004  # stands for all of them
        return "2xx"
    if status == _UNAUTHORIZED and error is None:
        return "401 without error"
    return f"{status} {error}" if error else str(status)
