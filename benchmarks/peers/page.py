"""Writes docs/peers.md from the results."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mock_issuer.hostile.verdict import Severity

from .stacks import Stack

_MAX_NAMES = 8
_TIMES = "\u00d7"  # the sign of multiplication
_HEADINGS = {
    "accepts": "accepts what it must not",
    "crashes": "answers 5xx, or not at all",
    "refuses": "refuses what is good",
    "differs": "answers unlike the RFC",
}
_HEAD = """\
# What known stacks answer

`make peers` installs each stack at a pinned version, starts it with the code of its vendor's quickstart (in our words,
[`benchmarks/peers/`](../benchmarks/peers/)), has it trust a new mock issuer, and runs
[`mock-issuer check`](../mock_issuer/README.md#try-your-own-api) on it. This page is what it wrote;
`make peers ARGS="jose pyjwt"` checks some of them again.

The rows of the check stand for sentences of the RFCs, not for exploits: each mistake below names its section, and
whether that says MUST or SHOULD. A configuration other than the quickstart's may answer otherwise. WSGI applications
run under gunicorn and ASGI applications under uvicorn, whose answers to malformed HTTP count too. Where a stack has no
means to require a scope, the rows about scopes are not sent.
"""

_DPOP_HEADING = "\n## DPoP\n"
_DPOP_HEAD = """
The stacks above that verify DPoP proofs (RFC 9449), with the requests of `mock-issuer check --dpop` that are about
proofs. Each service accepts bearer tokens too: the vendors' quickstarts do both as they are, ours with `DPoP()` or
`API_DPOP=optional`. express-oauth2-jwt-bearer is checked with its defaults alone; the libraries of the other stacks
have no DPoP. `make peers ARGS=--dpop` checks this part again.
"""


def split_page(text: str) -> tuple[str, str]:
    """Return the two parts of the page: of bearer tokens, and of DPoP; empty if it has none."""
    bearer, heading, dpop = text.partition(_DPOP_HEADING)
    return bearer, heading + dpop


def bearer_part(stacks: Iterable[Stack], results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page's first part.

    Args:
        stacks: in their order on the page.
        results: by the name of the stack: `date`, `tools`, `versions`, and either `failure`, a sentence, or `report`,
            the check's JSON, and `crashes`.
    """
    shown = [(stack, results[stack.name]) for stack in stacks]
    legend = "; ".join(f"`{name}`: {text}" for name, text in _HEADINGS.items()) + "."
    lines = [_HEAD, *_table(shown), "", legend]
    for stack, result in shown:
        lines += ["", f"## {stack.title}", "", *_section(stack, result)]
    return _text(lines)


def dpop_part(stacks: Iterable[Stack], results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page's second part, with its heading; the arguments are those of `bearer_part`."""
    shown = [(stack, results[stack.name]) for stack in stacks]
    lines = [_DPOP_HEADING + _DPOP_HEAD, *_table(shown)]
    for stack, result in shown:
        lines += ["", f"### {stack.title}", "", *_section(stack, result)]
    return _text(lines)


def _text(lines: Iterable[str]) -> str:
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines).rstrip()) + "\n"


def _table(shown: Iterable[tuple[Stack, Mapping[str, Any]]]) -> Iterator[str]:
    names = [f"{severity}" for severity in Severity]
    yield f"| stack | versions | sent | wrong | {' | '.join(f'`{name}`' for name in names)} | checked |"
    yield f"|---|---|{'---:|' * (len(names) + 2)}---|"
    for stack, result in shown:
        versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        if "failure" in result:
            counts = [""] * (len(names) + 2)
        else:
            report = result["report"]
            wrong = [report["wrong"][name] for name in names]
            counts = [str(number) for number in (report["sent"], sum(wrong), *wrong)]
        yield f"| {stack.title} | {versions} | {' | '.join(counts)} | {result['date']} |"


def _section(stack: Stack, result: Mapping[str, Any]) -> Iterator[str]:
    folder = f"benchmarks/peers/{stack.folder}" if not stack.folder.startswith("..") else "api"
    yield f"Service: [`{folder}`](../{folder}/). Run with {result['tools']}. {stack.note}".rstrip()
    yield ""
    if "failure" in result:
        yield f"Not checked: {result['failure']}"
        return
    report = result["report"]
    groups = _groups(report["requests"])
    if not groups and not result["crashes"]:
        yield f"{report['sent']} sent, none wrong."
    for severity in Severity:
        if not report["wrong"][severity]:
            continue
        heading = _HEADINGS[severity]
        yield f"{heading[0].upper()}{heading[1:]}: {report['wrong'][severity]}"
        yield ""
        if severity is Severity.CRASHES:
            yield from _crashes(result["crashes"], report["stops"])
        else:
            yield from (_entry(group) for group in groups if group[0]["verdict"] == severity)
        yield ""
    if report["not_sent"]:
        yield f"{report['not_sent']} not sent: the service stopped and did not come back."
        yield ""


def _groups(rows: Iterable[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["verdict"] in _HEADINGS and row["verdict"] != Severity.CRASHES:
            expected = "" if row["verdict"] == Severity.DIFFERS else row["expected"]
            key = (row["verdict"], row["level"], row["why"], row["received"], expected)
            groups.setdefault(key, []).append(row)
    return sorted(groups.values(), key=lambda group: (group[0]["level"] != "MUST", -len(group)))


def _entry(group: list[Mapping[str, Any]]) -> str:
    first = group[0]
    names = [f"`{row['name']}`" for row in group]
    more = len(names) - _MAX_NAMES
    listed = ", ".join(names) if more <= 1 else f"{', '.join(names[:_MAX_NAMES])} and {more} more"
    expected = "" if first["verdict"] == Severity.DIFFERS else f", expected {first['expected']}"
    return f"- {len(group)} {_TIMES} {first['received']}{expected}. {first['level']}: {first['why']} {listed}"


def _crashes(crashes: Iterable[Mapping[str, Any]], stops: int) -> Iterator[str]:
    counts: dict[tuple[str, str, bool], int] = {}
    for crash in crashes:
        key = (crash["received"], crash["part"], crash["anybody"])
        counts[key] = counts.get(key, 0) + 1
    for (received, part, anybody), count in sorted(counts.items()):
        who = "by anybody: no signature of the issuer is needed" if anybody else "with a token that the issuer signed"
        yield f"- {count} {_TIMES} {received}; unusual {part}, {who}"
    if stops:
        yield f"- the service stopped {'once' if stops == 1 else f'{stops} times'} and was started again"
