"""The report for a terminal: equal mistakes are one entry, the most severe first."""

import re
import textwrap
from collections.abc import Iterator
from urllib.parse import SplitResult

from mock_issuer.hostile.check.results import Result, Results
from mock_issuer.hostile.check.shell_command import shell_command
from mock_issuer.hostile.verdict import Mistake, Severity, describe_answers, describe_refusal

WIDTH = 80
_MAX_NAMES = 8
_INDENT = " " * 6
_HEADINGS = {
    Severity.ACCEPTS: "accepts what it must not",
    Severity.CRASHES: "crashes or answers 5xx",
    Severity.REFUSES: "refuses what is good",
    Severity.DIFFERS: "answers unlike the RFC",
}
_SECTION = re.compile(r"RFC \d+ §[\d.]+")
_Group = tuple[Mistake, str, list[Result]]


def text_report(results: Results, url: SplitResult, *, with_commands: bool) -> str:
    """Return the report; with `with_commands`, each entry has the shell command that repeats its first request."""
    lines: list[str] = []
    groups = _groups(results)
    for severity in Severity:
        count = results.counts[severity]
        if count:
            lines += [f"{_HEADINGS[severity]} ({severity}): {count}", ""]
            for group in groups:
                if group[0].severity is severity:
                    lines += _entry(group)
                    lines += [shell_command(url, group[2][0].request)] if with_commands else []
                    lines.append("")
    lines += _summary(results)
    if groups and not with_commands:
        lines.append("To repeat one: --only NAME --curl")
    return "\n".join(lines)


def _groups(results: Results) -> list[_Group]:
    groups: dict[tuple[Mistake, str], list[Result]] = {}
    for result in results.results:
        if result.mistake is not None:
            groups.setdefault((result.mistake, _expected(result)), []).append(result)
    found = [(mistake, expected, members) for (mistake, expected), members in groups.items()]
    return sorted(found, key=lambda group: (group[0].level != "MUST", -len(group[2])))


def _expected(result: Result) -> str:
    """Return what to print as expected, empty for nothing: the same for equal mistakes of different requests."""
    severity = result.mistake.severity if result.mistake else None
    if severity is Severity.CRASHES:
        return ""
    if severity is Severity.DIFFERS:
        return describe_refusal(result.request)
    return describe_answers(result.request)


def _entry(group: _Group) -> Iterator[str]:
    mistake, expected, members = group
    answers = f"{mistake.received}; expected {expected}" if expected else mistake.received
    yield from _wrap(f"{f'{len(members)} x':6}{answers}", "", _INDENT)
    yield from _wrap(f"{mistake.level}: {mistake.why}", _INDENT, _INDENT)
    names = [member.request.name for member in members]
    more = len(names) - _MAX_NAMES
    # One name more is shorter than "and 1 more".
    listed = ", ".join(names) if more <= 1 else f"{', '.join(names[:_MAX_NAMES])} and {more} more"
    yield from _wrap(listed, _INDENT, _INDENT)


def _wrap(text: str, first: str, others: str) -> list[str]:
    # A section stays in one line: textwrap does not break at this space.
    joined = _SECTION.sub(lambda found: found.group().replace(" ", "\xa0"), text)
    lines = textwrap.wrap(joined, WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)
    return [line.replace("\xa0", " ") for line in lines]


def _summary(results: Results) -> Iterator[str]:
    sent = len(results.results)
    wrong = sent - results.right
    details = ", ".join(f"{count} {severity}" for severity, count in results.counts.items() if count)
    summary = f"{sent} sent, {results.right} right"
    yield f"{summary}, {wrong} wrong: {details}" if wrong else summary
    if results.stops:
        yield f"The API stopped {_times(results.stops)}."
    if results.not_sent:
        yield f"{len(results.not_sent)} not sent: the API stopped and did not come back."
    if results.left_out:
        yield f"{results.left_out} left out by --only or --skip"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
