"""`mock-issuer check URL`: sends every hostile request to an API and reports its wrong answers."""

import argparse
import ipaddress
import json
import sys
import textwrap
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import SplitResult, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

from mock_issuer.hostile.addresses import address_requests, decode_good_token
from mock_issuer.hostile.check.attackers_servers import AttackersServers
from mock_issuer.hostile.check.json_report import json_report
from mock_issuer.hostile.check.junit_report import junit_report
from mock_issuer.hostile.check.results import NOT_CHECKED, Results, judge
from mock_issuer.hostile.check.sender import NO_ANSWER, reason, send, send_all
from mock_issuer.hostile.check.text_report import WIDTH, text_report
from mock_issuer.hostile.proofs import GOOD_PROOF
from mock_issuer.hostile.request import GOOD_TOKEN, HostileRequest, from_json
from mock_issuer.hostile.verdict import Severity, find_mistake

_MAX_TABLE_BYTES = 16 * 1024 * 1024
# An API may fetch after its answer. The requests with addresses come first: most such fetches happen during the check.
_LATE_FETCH_SECONDS = 0.3
_WAIT_SECONDS = 30.0
_FAIL_ON = f"{Severity.ACCEPTS},{Severity.CRASHES},{Severity.REFUSES}"
_STDOUT = "-"
_LOOPBACK = "127.0.0.1"
_UNSEEN = (
    "No fetch was seen, but this proves nothing here: {reasons}. The attacker's servers listen on this machine's "
    f"{_LOOPBACK}; an API elsewhere, in a container or behind an HTTP proxy cannot reach them."
)


class _CannotCheck(Exception):
    """The check cannot run; the text says why and what to do."""


def main(argv: Sequence[str]) -> int:
    """Run `mock-issuer check` with these arguments and return the exit status.

    0: no mistake of a severity in `--fail-on`. 1: at least one. 2: the check could not run, or a request was not sent.
    Tokens are printed only for `--curl`, `--json` and `--junit`.

    Raises SystemExit as argparse does: status 2 for wrong usage, 0 for help.
    """
    options = _parse(argv)
    try:
        results = _check(options)
        _write_reports(options, results)
    except _CannotCheck as exc:
        print(textwrap.fill(str(exc), WIDTH), file=sys.stderr)  # noqa: T201  # output of a command
        return NOT_CHECKED
    return results.exit_status


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mock-issuer check",
        description="Send hostile and unusual requests to a protected API and report the wrong answers. "
        "The mock issuer must be running, and the API must trust it.",
        epilog="Exit status: 0 if no answer is a mistake of a severity in --fail-on, 1 if one is, 2 if the check could "
        "not run or not send all requests.",
    )
    parser.add_argument("url", metavar="URL", type=_url, help="a protected route of the API that answers GET with 2xx")
    parser.add_argument("--scope", default="", help="the scope that the route requires (default: none)")
    parser.add_argument("--audience", help="the API's identifier (default: the mock issuer's first API)")
    parser.add_argument(
        "--issuer",
        metavar="URL",
        type=_url,
        default="http://127.0.0.1:9000/",
        help="the mock issuer's address (default: %(default)s)",
    )
    parser.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        default=[],
        help="send only the requests of this name; * stands for any characters; may be repeated",
    )
    parser.add_argument(
        "--skip",
        metavar="NAME",
        action="append",
        default=[],
        help="leave out the requests of this name; * stands for any characters; may be repeated",
    )
    parser.add_argument(
        "--fail-on",
        metavar="SEVERITIES",
        type=_severities,
        default=_FAIL_ON,
        help=f"exit with status 1 for mistakes of these severities: any of {', '.join(Severity)}, separated by commas; "
        "or all, or none (default: %(default)s)",
    )
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=_seconds,
        default=_WAIT_SECONDS,
        help="how long to wait for an API that stopped to accept a valid token again (default: %(default)g)",
    )
    parser.add_argument(
        "--dpop",
        action="store_true",
        help="also send tokens that are bound to a key, with DPoP proofs (RFC 9449); the API must accept both kinds",
    )
    parser.add_argument(
        "--dpop-url",
        metavar="URL",
        type=_url,
        help="the address that the proofs name, if the API knows itself by another than the tested one; implies --dpop",
    )
    parser.add_argument("--curl", action="store_true", help="print a shell command that repeats the request")
    parser.add_argument("--json", metavar="FILE", help="write the results as JSON; - is stdout, in place of the text")
    parser.add_argument(
        "--junit", metavar="FILE", help="write the results as JUnit XML; - is stdout, in place of the text"
    )
    options = parser.parse_args(argv)
    if options.json == options.junit == _STDOUT:
        parser.error("only one of --json and --junit can be -")
    return options


def _url(text: str) -> SplitResult:
    mistake = argparse.ArgumentTypeError("not an http or https URL")
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError as exc:
        raise mistake from exc
    # The URL is written to the request line unchanged.
    if not good or "@" in parts.netloc or not text.isascii() or any(character <= " " for character in text):
        raise mistake
    return parts


def _severities(text: str) -> frozenset[Severity]:
    if text in {"all", "none"}:
        return frozenset(Severity if text == "all" else ())
    try:
        return frozenset(Severity(name.strip()) for name in text.split(","))
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of {', '.join(Severity)}, or all, or none") from exc


def _seconds(text: str) -> float:
    mistake = argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 3600")
    try:
        seconds = float(text)
    except ValueError as exc:
        raise mistake from exc
    if not 0 <= seconds <= 3600:  # noqa: PLR2004  # an hour
        raise mistake
    return seconds


def _check(options: argparse.Namespace) -> Results:
    dpop_url = options.dpop_url or (options.url if options.dpop else None)
    table = _fetch_table(options, dpop_url)
    good = table[0]
    try:
        header, claims = decode_good_token(good)
    except (ValueError, KeyError, IndexError) as exc:
        raise _other_server(options.issuer) from exc
    with AttackersServers(kid=str(header.get("kid")), issuer=claims["iss"]) as servers:
        if dpop_url:
            # First, or else what it refuses would be said to be the proof.
            _check_good_token(options.url, good)
            # Anew: the good proof is used up by then, and the others may need the API's nonce.
            table = [good, *_fetch_table(options, dpop_url, _check_good_proof(options.url, table))[1:]]
        # Those with proofs first, which are valid for a short time.
        proofs = [request for request in table if request.challenge == "DPoP"]
        others = [request for request in table[1:] if request.challenge != "DPoP"]
        requests = [good, *proofs, *address_requests(good, servers.open_port), *others]
        chosen = _choose(requests, options.only, options.skip)
        _check_good_token(options.url, good)
        exchanges = send_all(options.url, chosen, good, wait_seconds=options.wait)
        if any(servers.has_server(request.name) for request in chosen):
            time.sleep(_LATE_FETCH_SECONDS)
            unseen = not any(servers.fetched(request.name) for request in chosen)
            if unseen and (reasons := _reasons_to_see_nothing(options.url, claims["iss"])):
                hint = _UNSEEN.format(reasons="; ".join(reasons))
                print(textwrap.fill(hint, WIDTH), file=sys.stderr)  # noqa: T201  # output of a command
        return Results(
            results=judge(exchanges, servers.fetched),
            not_sent=tuple(chosen[len(exchanges) :]),
            left_out=len(requests) - len(chosen),
            stops=sum(exchange.stopped for exchange in exchanges),
            fail_on=options.fail_on,
        )


def _choose(requests: Sequence[HostileRequest], only: Sequence[str], skip: Sequence[str]) -> list[HostileRequest]:
    for pattern in (*only, *skip):
        # A misspelt name must not pass the check.
        if not any(fnmatchcase(request.name, pattern) for request in requests):
            raise _CannotCheck(f"Nothing was checked. No request has the name {pattern}.")
    chosen = [
        request
        for request in requests
        if (not only or any(fnmatchcase(request.name, pattern) for pattern in only))
        and not any(fnmatchcase(request.name, pattern) for pattern in skip)
    ]
    if not chosen:
        raise _CannotCheck("Nothing was checked. --only and --skip leave no request.")
    return chosen


def _fetch_table(
    options: argparse.Namespace, dpop_url: SplitResult | None, dpop_nonce: str = ""
) -> list[HostileRequest]:
    issuer: SplitResult = options.issuer
    parameters = {
        "scope": options.scope,
        "audience": options.audience,
        "dpop_url": dpop_url and dpop_url._replace(path=dpop_url.path or "/", query="", fragment="").geturl(),
        "dpop_nonce": dpop_nonce or None,
    }
    query = urlencode({name: value for name, value in parameters.items() if value is not None})
    address = issuer._replace(path=f"{issuer.path.rstrip('/')}/_mock/hostile", query="", fragment="")
    try:
        response = send(address, (), query, body_bytes=_MAX_TABLE_BYTES)
    except NO_ANSWER as exc:
        raise _CannotCheck(
            f"Nothing was checked. No answer from the mock issuer at {issuer.geturl()} ({reason(exc)}). "
            "Start it, or give its address with --issuer."
        ) from exc
    if response.status != 200:  # noqa: PLR2004  # the only answer that has the table
        raise _CannotCheck(
            f"Nothing was checked. The mock issuer at {issuer.geturl()} answered {response.status} to GET "
            f"{address.path}. Check --issuer; a mock issuer that does not listen on loopback needs --allow-control."
        )
    try:
        requests = [from_json(members) for members in json.loads(response.body)["requests"]]
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise _other_server(issuer) from exc
    if not requests or requests[0].name != GOOD_TOKEN:
        raise _other_server(issuer)
    return requests


def _other_server(issuer: SplitResult) -> _CannotCheck:
    return _CannotCheck(
        f"Nothing was checked. The server at {issuer.geturl()} is not a mock issuer of this version. Check --issuer."
    )


def _check_good_token(url: SplitResult, good: HostileRequest) -> None:
    """Raise _CannotCheck unless the API accepts the valid token; otherwise, its refusals prove nothing."""
    try:
        response = send(url, good.headers, good.query)
    except NO_ANSWER as exc:
        raise _CannotCheck(f"Nothing was checked. No answer from the API at {url.geturl()} ({reason(exc)}).") from exc
    mistake = find_mistake(good, response.status, response.challenges, fetched=False)
    if mistake is None:
        return
    hints = {
        401: "Check the API's settings: its issuer must be the mock issuer's identifier, trailing slash included, and "
        "its audience must be the one of --audience.",
        403: "Check --scope: the route requires a scope that the token does not have.",
        503: "Check that the API can fetch the mock issuer's keys.",
    }
    hint = hints.get(response.status, "Check the URL: it must be a route that answers GET with 2xx.")
    raise _CannotCheck(
        f"Nothing was checked. The API does not accept a valid token: it answered {mistake.received}. {hint}"
    )


def _check_good_proof(url: SplitResult, table: Sequence[HostileRequest]) -> str:
    """Return the API's nonce, empty if it has none. Raise _CannotCheck unless it accepts or wants one for a good proof.

    Whether it accepts one with its nonce shows in the check itself.
    """
    good = next(request for request in table if request.name == GOOD_PROOF)
    try:
        response = send(url, good.headers, good.query)
    except NO_ANSWER as exc:
        raise _CannotCheck(f"Nothing was checked. No answer from the API at {url.geturl()} ({reason(exc)}).") from exc
    mistake = find_mistake(good, response.status, response.challenges, fetched=False)
    if mistake is None or response.nonce:
        return response.nonce
    raise _CannotCheck(
        f"Nothing was checked. The API does not accept a valid DPoP proof: it answered {mistake.received}. Check that "
        "DPoP is turned on and that the API knows itself by the tested URL; --dpop-url names another one."
    )


def _write_reports(options: argparse.Namespace, results: Results) -> None:
    for file, make_report in ((options.json, json_report), (options.junit, junit_report)):
        if file == _STDOUT:
            sys.stdout.write(make_report(results, options.url))
        elif file is not None:
            try:
                Path(file).write_text(make_report(results, options.url), encoding="utf-8")
            except OSError as exc:
                raise _CannotCheck(f"The API was checked, but {file} cannot be written: {exc.strerror}.") from exc
    if _STDOUT not in {options.json, options.junit}:
        print(text_report(results, options.url, with_commands=options.curl))  # noqa: T201  # output of a command


def _reasons_to_see_nothing(url: SplitResult, issuer: str) -> list[str]:
    """Return why the API may fetch from the attacker's servers unseen, in words without a part of a proxy's address."""
    reasons = []
    if not _is_loopback(url.hostname):
        reasons.append("the API's address is not a loopback address")
    if not _is_loopback(name := urlsplit(issuer).hostname):
        reasons.append(f"the issuer's name {name} is not a loopback address, so the API may run elsewhere")
    if {"http", "https", "all"} & getproxies().keys() and not proxy_bypass(_LOOPBACK):
        reasons.append(f"HTTP_PROXY or HTTPS_PROXY is set, without {_LOOPBACK} in NO_PROXY")
    return reasons


def _is_loopback(host: str | None) -> bool:
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"
