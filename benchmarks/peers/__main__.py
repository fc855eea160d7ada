"""`python -m benchmarks.peers [--dpop] [NAME …]`: check these stacks, or all, and write docs/peers.md."""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mock_issuer import Config, Server

from .crashes import find_crashes
from .environment import ENVIRONMENTS, ROOT, CannotRun, install
from .page import bearer_part, dpop_part, split_page
from .service import running
from .stacks import STACKS, Stack

SCOPE, AUDIENCE = "read:devices", "https://device-api.example"
_CHECK_SECONDS = 1800
_RESULTS = ENVIRONMENTS / "results"
_PAGE = ROOT / "docs" / "peers.md"
# The requests that are about proofs; two names that look so are of bearer tokens, and in the first part.
DPOP_OPTIONS = ("--dpop", "--only", "dpop-*", "--skip", "dpop-proof", "--skip", "dpop-scheme")


def main() -> int:
    """Check the stacks, keep their results, and write each part of the page as soon as its stacks have one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="Check known stacks.")
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"any of {', '.join(stack.name for stack in STACKS)}")
    parser.add_argument("--dpop", action="store_true", help="check DPoP alone, of those that verify proofs")
    options = parser.parse_args()
    if unknown := set(options.names) - {stack.name for stack in STACKS}:
        parser.error(f"there is no {', '.join(sorted(unknown))}; {parser.format_help()}")
    chosen = [stack for stack in STACKS if not options.names or stack.name in options.names]
    if options.dpop and not any(stack.dpop for stack in chosen):
        parser.error(f"none of these verifies DPoP proofs: {', '.join(stack.name for stack in chosen)}")
    _RESULTS.mkdir(parents=True, exist_ok=True)
    failed = False
    for dpop in (True,) if options.dpop else (False, True):
        if stacks := [stack for stack in chosen if stack.dpop or not dpop]:
            failed |= _check_all(stacks, dpop=dpop)
            _write_part(dpop=dpop)
    return int(failed)


def _check_all(stacks: Iterable[Stack], *, dpop: bool) -> bool:
    """Check these stacks and keep their results; return whether one could not be checked."""
    failed = False
    for stack in stacks:
        result = _check(stack, dpop=dpop)
        failed |= "failure" in result
        _result_file(stack, dpop=dpop).write_text(json.dumps(result, indent=1), "utf-8")
        print(f"{stack.name}{', DPoP' if dpop else ''}: {_summary(result)}", flush=True)
    return failed


def _write_part(*, dpop: bool) -> None:
    """Write one part of the page from the results; the other one stays as it is."""
    stacks = [stack for stack in STACKS if stack.dpop or not dpop]
    missing = [stack.name for stack in stacks if not _result_file(stack, dpop=dpop).exists()]
    if missing:
        part = "DPoP in " if dpop else ""
        print(f"{part}{_PAGE.relative_to(ROOT)} is left as it is: no result yet of {', '.join(missing)}.")
        return
    results = {stack.name: json.loads(_result_file(stack, dpop=dpop).read_text("utf-8")) for stack in stacks}
    old_bearer, old_dpop = split_page(_PAGE.read_text("utf-8"))
    text = old_bearer + dpop_part(stacks, results) if dpop else bearer_part(stacks, results) + old_dpop
    _PAGE.write_text(text, "utf-8")


def _result_file(stack: Stack, *, dpop: bool) -> Path:
    return _RESULTS / f"{stack.name}{'-dpop' if dpop else ''}.json"


def _check(stack: Stack, *, dpop: bool) -> dict[str, Any]:
    result: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "tools": _tools(stack),
        "versions": stack.versions,
    }
    try:
        directory = install(stack)
        with Server(Config(), tls=stack.tls) as issuer:
            return result | _checked(stack, directory, issuer, dpop=dpop)
    except CannotRun as exc:
        return result | {"failure": str(exc)}


def _checked(stack: Stack, directory: Path, issuer: Server, *, dpop: bool) -> dict[str, Any]:
    scope = SCOPE if stack.checks_scope else ""
    trust = {"SSL_CERT_FILE": str(issuer.ca_file)} if issuer.ca_file else {}
    variables = {
        "ISSUER": issuer.url,
        "JWKS_URL": f"{issuer.url}.well-known/jwks.json",
        "AUDIENCE": AUDIENCE,
        "SCOPE": scope,
        "STRICT": "true" if stack.strict else "false",
        "DPOP": "true" if dpop else "false",
        **trust,
    }
    file = directory / f"{stack.name}.json"
    file.unlink(missing_ok=True)
    with running(stack, directory, variables) as url:
        options = ["--issuer", issuer.url, "--audience", AUDIENCE, "--scope", scope, "--fail-on", "none"]
        options += DPOP_OPTIONS if dpop else ()
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
        requests = issuer.hostile(audience=AUDIENCE, scope=scope, dpop_url=url if dpop else "")
        table = {request.name: request for request in requests}
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
