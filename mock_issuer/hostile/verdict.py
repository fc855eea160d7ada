"""Judges an API's answer to a hostile request: which mistake it is, how severe, and by which section of an RFC."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mock_issuer.hostile.request import Answer, HostileRequest, Level, find_section

_UNAUTHORIZED = 401
# The statuses of RFC 6750 §3.1: those whose challenge is described.
_WITH_CHALLENGE = frozenset({400, 401, 403})
_SERVER_ERROR = 500
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

_CHALLENGED = "An answer that refuses a request has a Bearer challenge in WWW-Authenticate, RFC 6750 §3."
_CHALLENGED_DPOP = (
    "An answer that refuses a proof or its token has a DPoP challenge in WWW-Authenticate, RFC 9449 §7.1."
)
_CODES_DPOP = "RFC 9449 §7.1 has the status 401, and invalid_dpop_proof or invalid_token in the challenge."
_READABLE = "WWW-Authenticate is a list of challenges, each a scheme with its parameters, RFC 9110 §11.6.1."
_ONE_CHALLENGE = "The challenge tells the client one error, RFC 6750 §3.1; with two, it has to guess."
_CODES = "RFC 6750 §3.1 recommends the status, and the error code of the challenge; without credentials, no code."
_ANSWERED = "A refused token is the client's error, RFC 6750 §3.1, and never the server's, RFC 9110 §15.6."
_FETCHED = "An address in a token whose signature is not verified is not fetched, RFC 8725 §3.10."


class Severity(StrEnum):
    """What kind of mistake an answer is, the most severe first."""

    ACCEPTS = "accepts"
    CRASHES = "crashes"
    REFUSES = "refuses"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A wrong answer.

    Args:
        severity: which kind.
        level: whether an RFC requires another answer (MUST) or recommends it (SHOULD).
        why: the reason, with the section of the RFC.
        received: the answer in words; contains no token.
    """

    severity: Severity
    level: Level
    why: str
    received: str

    @property
    def section(self) -> str:
        """The first section of an RFC that `why` names."""
        return find_section(self.why)


def find_mistake(request: HostileRequest, status: int, challenges: Sequence[str], *, fetched: bool) -> Mistake | None:
    """Return what is wrong with an answer, None for an acceptable one (RFC 6750 §3).

    Args:
        request: the request that was sent.
        status: the status of the answer.
        challenges: the values of its `WWW-Authenticate` headers.
        fetched: whether the API connected to the attacker's server that the request names.

    Does not check the body.
    """
    mistake = _find_wrong_answer(request, status, challenges)
    if not fetched:
        return mistake
    is_accepted = mistake is not None and mistake.severity is Severity.ACCEPTS
    received = f"{mistake.received if mistake else _describe_received(request, status, challenges)} after a fetch"
    if is_accepted:
        return Mistake(severity=Severity.ACCEPTS, level="MUST", why=request.why, received=received)
    return Mistake(severity=Severity.ACCEPTS, level="SHOULD", why=_FETCHED, received=received)


def find_failure(request: HostileRequest, failure: str, *, fetched: bool) -> Mistake:
    """Return the mistake of an API that did not answer.

    Args:
        request: the request that was sent.
        failure: what happened, in words.
        fetched: whether the API connected to the attacker's server that the request names.
    """
    mistake = _crash(request, failure)
    if not fetched:
        return mistake
    return Mistake(severity=Severity.ACCEPTS, level="SHOULD", why=_FETCHED, received=f"{failure} after a fetch")


def _find_wrong_answer(request: HostileRequest, status: int, challenges: Sequence[str]) -> Mistake | None:
    if 200 <= status <= 299:  # noqa: PLR2004  # 200 stands for any 2xx
        if (200, None) in request.answers:
            return None
        # Only what an RFC forbids is something that the API must not accept.
        severity = Severity.ACCEPTS if request.level == "MUST" else Severity.DIFFERS
        return Mistake(severity=severity, level=request.level, why=request.why, received=str(status))
    if status >= _SERVER_ERROR:
        return _crash(request, str(status))
    received = _describe_received(request, status, challenges)
    if request.accepted:
        return Mistake(severity=Severity.REFUSES, level=request.level, why=request.why, received=received)
    return _find_wrong_refusal(request, status, challenges, received)


def _crash(request: HostileRequest, received: str) -> Mistake:
    if request.accepted:
        return Mistake(severity=Severity.CRASHES, level=request.level, why=request.why, received=received)
    return Mistake(severity=Severity.CRASHES, level="SHOULD", why=_ANSWERED, received=received)


def _find_wrong_refusal(
    request: HostileRequest, status: int, challenges: Sequence[str], received: str
) -> Mistake | None:
    found = _challenges_for(request, challenges)
    level: Level = "MUST"
    if found is None:
        why = _READABLE
    elif len(found) > 1:
        level, why = "SHOULD", _ONE_CHALLENGE
    elif (status, found[0].get("error") if found else None) in request.answers and (found or status != _UNAUTHORIZED):
        return None
    elif found:
        level, why = "SHOULD", _CODES_DPOP if request.challenge == "DPoP" else _CODES
    else:
        why = _CHALLENGED_DPOP if request.challenge == "DPoP" else _CHALLENGED
    return Mistake(severity=Severity.DIFFERS, level=level, why=why, received=received)


def _challenges_for(request: HostileRequest, values: Sequence[str]) -> list[dict[str, str]] | None:
    bearer = find_challenges(values, "bearer")
    dpop = find_challenges(values, "dpop") if request.challenge == "DPoP" else []
    # An API with both schemes says the error in either challenge, or in both (RFC 9449 §7.1, §7.2).
    with_error = [one for one in (*(dpop or ()), *(bearer or ())) if "error" in one]
    return with_error[:1] or dpop or bearer if request.challenge == "DPoP" else bearer


def _describe_received(request: HostileRequest, status: int, challenges: Sequence[str]) -> str:
    if status not in _WITH_CHALLENGE:
        return str(status)
    found = _challenges_for(request, challenges)
    if found is None:
        return f"{status} with an unreadable challenge"
    if len(found) > 1:
        return f"{status} with {len(found)} {request.challenge} challenges"
    if not found:
        return f"{status} without a {request.challenge} challenge" if challenges else f"{status} without a challenge"
    error = found[0].get("error")
    if error is not None and _ERROR_CODE.fullmatch(error) is None:
        error = "with another error"
    return f"{status} {error}" if error else f"{status} without error"


def find_challenges(values: Iterable[str], wanted_scheme: str) -> list[dict[str, str]] | None:
    """Return the parameters of each challenge of a scheme (in lower case), None if a value is not parseable.

    RFC 9110 §11.6.1.
    """
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
    return [parameters for scheme, parameters in found if scheme == wanted_scheme]


def describe_answers(request: HostileRequest) -> str:
    """Return the acceptable answers in words, the recommended one first."""
    return " or ".join(_describe(answer) for answer in request.answers)


def describe_refusal(request: HostileRequest) -> str:
    """Return the recommended answer of those that refuse, in words; 2xx if none is acceptable."""
    refusals = [answer for answer in request.answers if answer != (200, None)]
    return _describe((refusals or list(request.answers))[0])


def _describe(answer: Answer) -> str:
    status, error = answer
    if status == 200:  # noqa: PLR2004  # stands for any 2xx
        return "2xx"
    if status == _UNAUTHORIZED and error is None:
        return "401 without error"
    return f"{status} {error}" if error else str(status)
