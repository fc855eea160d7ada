"""What the check found: which requests were sent, and the mistake in each answer."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mock_issuer.hostile.check.sender import Exchange
from mock_issuer.hostile.request import HostileRequest
from mock_issuer.hostile.verdict import Mistake, Severity, find_failure, find_mistake

# Exit statuses.
PASSED, FAILED, NOT_CHECKED = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A request that was sent, what is wrong with the answer, None if nothing, and the seconds until the answer."""

    request: HostileRequest
    mistake: Mistake | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All that was found.

    Args:
        results: of the requests that were sent.
        not_sent: the requests that the API was not there to answer.
        left_out: how many requests `--only` and `--skip` left out.
        stops: how many times the API stopped.
        fail_on: the severities that make the exit status 1.
    """

    results: tuple[Result, ...]
    not_sent: tuple[HostileRequest, ...]
    left_out: int
    stops: int
    fail_on: frozenset[Severity]

    @property
    def right(self) -> int:
        """How many of the requests that were sent have an acceptable answer."""
        return sum(result.mistake is None for result in self.results)

    @property
    def counts(self) -> dict[Severity, int]:
        """How many mistakes there are of each severity."""
        found = Counter(result.mistake.severity for result in self.results if result.mistake)
        return {severity: found[severity] for severity in Severity}

    @property
    def exit_status(self) -> int:
        """1 if there is a mistake of a severity in `fail_on`; otherwise 2 if a request was not sent, 0 if all were."""
        if any(self.counts[severity] for severity in self.fail_on):
            return FAILED
        return NOT_CHECKED if self.not_sent else PASSED


def judge(exchanges: Iterable[Exchange], fetched: Callable[[str], bool]) -> tuple[Result, ...]:
    """Return the result of each exchange.

    Args:
        exchanges: what was sent and received.
        fetched: takes a request's name; tells whether the API connected to the attacker's server for it.
    """
    results = []
    for exchange in exchanges:
        request, response = exchange.request, exchange.response
        has_fetched = fetched(request.name)
        if response is None:
            words = "no answer, then stopped" if exchange.stopped else f"no answer ({exchange.failure})"
            mistake: Mistake | None = find_failure(request, words, fetched=has_fetched)
        else:
            mistake = find_mistake(request, response.status, response.challenges, fetched=has_fetched)
        results.append(Result(request=request, mistake=mistake, seconds=exchange.seconds))
    return tuple(results)
