"""The report as JUnit XML, which CI servers show: each request is a test case."""

from urllib.parse import SplitResult
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from mock_issuer.hostile.check.results import Results
from mock_issuer.hostile.check.shell_command import shell_command
from mock_issuer.hostile.verdict import describe_answers


def junit_report(results: Results, url: SplitResult) -> str:
    """Return the report. Mistakes of a severity in `fail_on` are failures; others are output of a passed test case.

    Requests that were not sent are skipped test cases.
    """
    failures = sum(results.counts[severity] for severity in results.fail_on)
    seconds = sum(result.seconds for result in results.results)
    counts = {
        "tests": str(len(results.results) + len(results.not_sent)),
        "failures": str(failures),
        "errors": "0",
        "skipped": str(len(results.not_sent)),
        "time": f"{seconds:.3f}",
    }
    root = Element("testsuites", counts)
    suite = SubElement(root, "testsuite", {"name": "mock-issuer check", **counts})
    for result in results.results:
        case = _case(suite, result.request.name, result.seconds)
        mistake = result.mistake
        if mistake is None:
            continue
        title = f"{mistake.received}; expected {describe_answers(result.request)}"
        lines = (f"{mistake.severity}, {mistake.level}: {mistake.why}", shell_command(url, result.request))
        if mistake.severity in results.fail_on:
            SubElement(case, "failure", {"message": title, "type": mistake.severity}).text = "\n".join(lines)
        else:
            SubElement(case, "system-out").text = "\n".join((title, *lines))
    for request in results.not_sent:
        SubElement(_case(suite, request.name, 0), "skipped", {"message": "The API stopped: not sent."})
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _case(suite: Element, name: str, seconds: float) -> Element:
    return SubElement(suite, "testcase", {"classname": "mock_issuer.check", "name": name, "time": f"{seconds:.3f}"})
