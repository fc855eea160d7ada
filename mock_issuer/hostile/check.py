"""`mock-issuer check URL`: sends every hostile request to an API and reports its wrong answers."""

import argparse
import contextlib
import json
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from itertools import zip_longest
from ssl import SSLCertVerificationError
from urllib.parse import SplitResult, urlencode, urlsplit

from mock_issuer.hostile.request import GOOD_TOKEN, HostileRequest, from_json
from mock_issuer.hostile.verdict import describe_answers, find_mismatch

# Exit statuses.
ALL_CORRECT, SOME_WRONG, NOT_CHECKED = 0, 1, 2

_TIMEOUT_SECONDS = 10
_MAX_TABLE_BYTES = 16 * 1024 * 1024
_WIDTH = 100
_COLUMNS = (32, 30, 34)  # with two spaces between columns: _WIDTH

# A request, and a description of the API's wrong answer.
_Mistake = tuple[HostileRequest, str]


class _CannotCheck(Exception):
    """The check cannot run; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    challenges: tuple[str, ...]
    body: bytes


def main(argv: Sequence[str]) -> int:
    """Run `mock-issuer check` with these arguments and return the exit status.

    0: every answer is correct. 1: some are wrong. 2: the check could not run. Tokens are never printed.

    Raises SystemExit as argparse does: status 2 for wrong usage, 0 for help.
    """
    options = _parse(argv)
    try:
        requests = _fetch_requests(options.issuer, options.audience, options.scope)
        _check_good_token(options.url, requests)
    except _CannotCheck as exc:
        print(textwrap.fill(f"Nothing was checked. {exc}", _WIDTH), file=sys.stderr)  # noqa: T201  # output of a command
        return NOT_CHECKED
    sent, mistakes = _send_all(options.url, requests)
    if mistakes:
        print("\n".join(_table(mistakes)))  # noqa: T201  # output of a command
    if sent < len(requests):
        print(f"The API stopped answering; {len(requests) - sent} requests were not sent.")  # noqa: T201  # output of a command
    print(f"{sent - len(mistakes)} of {len(requests)} correct")  # noqa: T201  # output of a command
    return SOME_WRONG if mistakes else ALL_CORRECT


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mock-issuer check",
        description="Send hostile and unusual requests to a protected API and report the wrong answers. "
        "The mock issuer must be running, and the API must trust it.",
        epilog="Exit status: 0 if every answer is correct, 1 if some are wrong, 2 if the check could not run.",
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
    return parser.parse_args(argv)


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


def _fetch_requests(issuer: SplitResult, audience: str | None, scope: str) -> list[HostileRequest]:
    query = urlencode({"scope": scope} if audience is None else {"scope": scope, "audience": audience})
    address = issuer._replace(path=f"{issuer.path.rstrip('/')}/_mock/hostile", query="", fragment="")
    try:
        response = _get(address, (), query, body_bytes=_MAX_TABLE_BYTES)
    except (OSError, HTTPException) as exc:
        raise _CannotCheck(
            f"No answer from the mock issuer at {issuer.geturl()} ({_reason(exc)}). "
            "Start it, or give its address with --issuer."
        ) from exc
    if response.status != 200:  # noqa: PLR2004  # the only answer that has the table
        raise _CannotCheck(
            f"The mock issuer at {issuer.geturl()} answered {response.status} to GET {address.path}. Check --issuer; "
            "a mock issuer that does not listen on loopback needs --allow-control."
        )
    not_ours = _CannotCheck(f"The server at {issuer.geturl()} is not a mock issuer of this version. Check --issuer.")
    try:
        requests = [from_json(members) for members in json.loads(response.body)["requests"]]
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise not_ours from exc
    if not requests or requests[0].name != GOOD_TOKEN:
        raise not_ours
    return requests


def _check_good_token(url: SplitResult, requests: Sequence[HostileRequest]) -> None:
    """Raise _CannotCheck unless the API accepts the valid token; otherwise, its refusals prove nothing."""
    good = requests[0]
    try:
        response = _get(url, good.headers, good.query)
    except (OSError, HTTPException) as exc:
        raise _CannotCheck(f"No answer from the API at {url.geturl()} ({_reason(exc)}).") from exc
    mistake = find_mismatch(good, response.status, response.challenges)
    if mistake is None:
        return
    hints = {
        401: "Check the API's settings: its issuer must be the mock issuer's identifier, trailing slash included, and "
        "its audience must be the one of --audience.",
        403: "Check --scope: the route requires a scope that the token does not have.",
        503: "Check that the API can fetch the mock issuer's keys.",
    }
    hint = hints.get(response.status, "Check the URL: it must be a route that answers GET with 2xx.")
    raise _CannotCheck(f"The API does not accept a valid token: it answered {mistake}. {hint}")


def _send_all(url: SplitResult, requests: Sequence[HostileRequest]) -> tuple[int, list[_Mistake]]:
    """Return the number of requests sent and the wrong answers; stop when the valid token gets no answer either."""
    mistakes: list[_Mistake] = []
    for sent, request in enumerate(requests, start=1):
        try:
            response = _get(url, request.headers, request.query)
        except (OSError, HTTPException) as exc:
            mistakes.append((request, f"no answer ({_reason(exc)})"))
            try:
                _get(url, requests[0].headers, requests[0].query)
            except (OSError, HTTPException):
                return sent, mistakes
            continue
        mistake = find_mismatch(request, response.status, response.challenges)
        if mistake is not None:
            mistakes.append((request, mistake))
    return len(requests), mistakes


def _reason(exc: Exception) -> str:
    if isinstance(exc, SSLCertVerificationError):
        return "its certificate is not trusted; set SSL_CERT_FILE to the file of its CA"
    # Not str(exc), which may quote a token.
    return "timed out" if isinstance(exc, TimeoutError) else type(exc).__name__


def _get(url: SplitResult, headers: Iterable[tuple[str, str]], query: str, *, body_bytes: int = 0) -> _Response:
    """Send a GET request on a new connection; do not follow redirects.

    Args:
        url: where to send it.
        headers: sent as they are, in this order.
        query: appended to the query of `url`.
        body_bytes: how much of the answer's body to read.

    Raises OSError or HTTPException if there is no answer.
    """
    connection_class = HTTPSConnection if url.scheme == "https" else HTTPConnection
    whole_query = "&".join(filter(None, (url.query, query)))
    target = (url.path or "/") + (f"?{whole_query}" if whole_query else "")
    fields = (("Host", url.netloc), *headers, ("Accept", "*/*"), ("Connection", "close"))
    # Written by hand, since http.client refuses to send invalid headers.
    request = "".join(f"{name}: {value}\r\n" for name, value in fields)
    connection = connection_class(url.hostname or "", url.port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.connect()
        # A server may answer a long header and close the connection before it has read all of it.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sock.sendall(f"GET {target} HTTP/1.1\r\n{request}\r\n".encode("latin-1"))
        with contextlib.closing(HTTPResponse(connection.sock, method="GET")) as response:
            response.begin()
            challenges = tuple(response.headers.get_all("WWW-Authenticate", []))
            return _Response(response.status, challenges, response.read(body_bytes))
    finally:
        connection.close()


def _table(mistakes: Iterable[_Mistake]) -> list[str]:
    lines = [*_row("request", "expected", "received"), "-" * _WIDTH]
    for request, mistake in mistakes:
        lines += _row(request.name, describe_answers(request), mistake)
        lines += textwrap.wrap(request.why, _WIDTH, initial_indent="    ", subsequent_indent="    ")
    return [*lines, ""]


def _row(*cells: str) -> list[str]:
    wrapped = [textwrap.wrap(cell, width) for cell, width in zip(cells, _COLUMNS, strict=True)]
    return [
        "  ".join(f"{text:{width}}" for text, width in zip(line, _COLUMNS, strict=True)).rstrip()
        for line in zip_longest(*wrapped, fillvalue="")
    ]
