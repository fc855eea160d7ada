"""`python -m benchmarks.peers [NAME …]`: check these stacks, or all, and write docs/peers.md."""

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mock_issuer import Config, Server

from .crashes import find_crashes
from .environment import ENVIRONMENTS, ROOT, CannotRun, install
from .page import page
from .service import running
from .stacks import STACKS, Stack

SCOPE, AUDIENCE = "read:devices", "https://device-api.example"
_CHECK_SECONDS = 1800
_RESULTS = ENVIRONMENTS / "results"
_PAGE = ROOT / "docs" / "peers.md"


def main() -> int:
    """Check the stacks, keep their results, and write the page as soon as each stack has one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="Check known stacks.")
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"any of {', '.join(stack.name for stack in STACKS)}")
    names = parser.parse_args().names
    if unknown := set(names) - {stack.name for stack in STACKS}:
        parser.error(f"there is no {', '.join(sorted(unknown))}; {parser.format_help()}")
    chosen = [stack for stack in STACKS if not names or stack.name in names]
    _RESULTS.mkdir(parents=True, exist_ok=True)
    failed = False
    for stack in chosen:
        result = _check(stack)
        failed |= "failure" in result
        _result_file(stack).write_text(json.dumps(result, indent=1), "utf-8")
        print(f"{stack.name}: {_summary(result)}", flush=True)
    missing = [stack.name for stack in STACKS if not _result_file(stack).exists()]
    if missing:
        print(f"{_PAGE.relative_to(ROOT)} is left as it is: no result yet of {', '.join(missing)}.")
    else:
        results = {stack.name: json.loads(_result_file(stack).read_text("utf-8")) for stack in STACKS}
        _PAGE.write_text(page(STACKS, results), "utf-8")
    return int(failed)


def _result_file(stack: Stack) -> Path:
    return _RESULTS / f"{stack.name}.json"


def _check(stack: Stack) -> dict[str, Any]:
    result: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "tools": _tools(stack),
        "versions": stack.versions,
    }
    try:
        directory = install(stack)
        with Server(Config(), tls=stack.tls) as issuer:
            return result | _checked(stack, directory, issuer)
    except CannotRun as exc:
        return result | {"failure": str(exc)}


def _checked(stack: Stack, directory: Path, issuer: Server) -> dict[str, Any]:
    scope = SCOPE if stack.checks_scope else ""
    trust = {"SSL_CERT_FILE": str(issuer.ca_file)} if issuer.ca_file else {}
    variables = {
        "ISSUER": issuer.url,
        "JWKS_URL": f"{issuer.url}.well-known/jwks.json",
        "AUDIENCE": AUDIENCE,
        "SCOPE": scope,
        "STRICT": "true" if stack.strict else "false",
        **trust,
    }
    file = directory / f"{stack.name}.json"
    file.unlink(missing_ok=True)
    with running(stack, directory, variables) as url:
        options = ["--issuer", issuer.url, "--audience", AUDIENCE, "--scope", scope, "--fail-on", "none"]
        command = [sys.executable, "-m", "mock_issuer", "check", url, *options, "--wait", "60", "--json", str(file)]
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=os.environ | trust,
                capture_output=True,
                text=True,
                timeout=_CHECK_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise CannotRun(f"The check did not finish within {_CHECK_SECONDS} seconds.") from exc
        if not file.exists():
            raise CannotRun(" ".join(done.stderr.split()))
        report = json.loads(file.read_text("utf-8"))
        table = {request.name: request for request in issuer.hostile(audience=AUDIENCE, scope=scope)}
        crashes = find_crashes(urlsplit(url), table, report)
    # The commands hold tokens, and the address a port, which are different each time.
    report = {name: value for name, value in report.items() if name != "url"}
    report["requests"] = [
        {name: value for name, value in row.items() if name != "command"} for row in report["requests"]
    ]
    return {"report": report, "crashes": crashes}


def _tools(stack: Stack) -> str:
    if stack.kind != "node":
        return f"Python {platform.python_version()}"
    try:
        version = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return "Node.js"
    return f"Node.js {version.strip().removeprefix('v')}"


def _summary(result: dict[str, Any]) -> str:
    if "failure" in result:
        return f"not checked: {result['failure']}"
    report = result["report"]
    wrong = ", ".join(f"{count} {severity}" for severity, count in report["wrong"].items())
    return f"{report['sent']} sent, {report['right']} right, {wrong}"


if __name__ == "__main__":
    sys.exit(main())
