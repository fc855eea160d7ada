"""The report as JSON."""

import json
from typing import Any
from urllib.parse import SplitResult

from mock_issuer.hostile.check.results import Results
from mock_issuer.hostile.check.shell_command import shell_command
from mock_issuer.hostile.request import HostileRequest
from mock_issuer.hostile.verdict import Mistake, describe_answers


def json_report(results: Results, url: SplitResult) -> str:
    """Return the report: the counts, and each request with its verdict."""
    requests = [_entry(url, result.request, result.mistake) for result in results.results]
    requests += [_entry(url, request, None) | {"verdict": "not sent"} for request in results.not_sent]
    report = {
        "url": url.geturl(),
        "sent": len(results.results),
        "right": results.right,
        "wrong": dict(results.counts),
        "not_sent": len(results.not_sent),
        "left_out": results.left_out,
        "stops": results.stops,
        "fail_on": [severity for severity in results.counts if severity in results.fail_on],
        "exit_status": results.exit_status,
        "requests": requests,
    }
    return json.dumps(report, indent=1, ensure_ascii=False) + "\n"


def _entry(url: SplitResult, request: HostileRequest, mistake: Mistake | None) -> dict[str, Any]:
    entry = {"name": request.name, "verdict": "right", "expected": describe_answers(request)}
    rule: HostileRequest | Mistake = request
    if mistake is not None:
        entry |= {"verdict": mistake.severity, "received": mistake.received}
        rule = mistake
    return entry | {
        "level": rule.level,
        "section": rule.section,
        "why": rule.why,
        "command": shell_command(url, request),
    }
