"""`python -m mock_issuer check URL`: send an API every hostile request, and tell what it answered wrong."""

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

from mock_issuer.hostile import GOOD_TOKEN, HostileRequest, from_json
from mock_issuer.hostile.verdict import find_mistake, spell_answers

ALL_RIGHT, SOMETHING_WRONG, NOT_CHECKED = 0, 1, 2

_TIMEOUT_SECONDS = 10
_MAX_TABLE_BYTES = 16 * 1024 * 1024
_WIDTH = 100
_COLUMNS = (32, 30, 34)  # with two spaces between them, the width


# A request, and what the API answered in place of what is right.
_Mistake = tuple[HostileRequest, str]


class _NotCheckedError(Exception):
    """The check cannot be made; the text says what to look at."""


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    challenges: tuple[str, ...]
    body: bytes


def main(argv: Sequence[str]) -> int:
    """Check an API by the arguments of a command line, and return the exit status.

    0 where every answer was right, 1 where one was not, 2 where nothing could be checked. No token is printed.

    Raises SystemExit as argparse does: status 2 for usage, 0 for help.
    """
    options = _parse(argv)
    try:
        requests = _fetch_requests(options.issuer, options.audience, options.scope)
        _check_set_up(options.url, requests)
    except _NotCheckedError as exc:
        print(textwrap.fill(f"Nothing was checked. {exc}", _WIDTH), file=sys.stderr)  # noqa: T201  # a command line talks
        return NOT_CHECKED
    tried, mistakes = _try_all(options.url, requests)
    if mistakes:
        print("\n".join(_table(mistakes)))  # noqa: T201  # a command line talks
    if tried < len(requests):
        print(f"The API answers no more; {len(requests) - tried} requests were not sent.")  # noqa: T201  # a command line talks
    print(f"{tried - len(mistakes)} of {len(requests)} right")  # noqa: T201  # a command line talks
    return SOMETHING_WRONG if mistakes else ALL_RIGHT


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m mock_issuer check",
        description="Try a protected API with hostile and odd requests, and tell what it answers wrong.",
    )
    parser.add_argument("url", metavar="URL", type=_url, help="a route of the API that answers GET with 2xx")
    parser.add_argument("--scope", default="", help="the scope that the route needs; none where any token will do")
    parser.add_argument("--audience", help="the API's identifier (that of the issuer's first API)")
    parser.add_argument(
        "--issuer",
        metavar="URL",
        type=_url,
        default="http://127.0.0.1:9000/",
        help="where the mock issuer listens, which the API has to trust (%(default)s)",
    )
    return parser.parse_args(argv)


def _url(text: str) -> SplitResult:
    mistake = argparse.ArgumentTypeError("not an http or https URL")
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError as exc:
        raise mistake from exc
    # It goes into a request line as it is.
    if not good or "@" in parts.netloc or not text.isascii() or any(character <= " " for character in text):
        raise mistake
    return parts


def _fetch_requests(issuer: SplitResult, audience: str | None, scope: str) -> list[HostileRequest]:
    query = urlencode({"scope": scope} if audience is None else {"scope": scope, "audience": audience})
    address = issuer._replace(path=f"{issuer.path.rstrip('/')}/_mock/hostile", query="", fragment="")
    try:
        response = _get(address, (), query, body_bytes=_MAX_TABLE_BYTES)
    except (OSError, HTTPException) as exc:
        raise _NotCheckedError(
            f"No answer from the mock issuer at {issuer.geturl()} ({_reason(exc)}). "
            "Does it run? Or name another by --issuer."
        ) from exc
    if response.status != 200:  # noqa: PLR2004  # the answer that has what was asked for
        raise _NotCheckedError(
            f"The mock issuer answered {response.status} to GET {address.path}. Is --issuer, {issuer.geturl()}, a mock "
            "issuer whose controls are open? They are for loopback unless it was told otherwise."
        )
    stranger = _NotCheckedError(f"What listens at --issuer, {issuer.geturl()}, is no mock issuer of this version.")
    try:
        requests = [from_json(members) for members in json.loads(response.body)["requests"]]
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise stranger from exc
    if not requests or requests[0].name != GOOD_TOKEN:
        raise stranger
    return requests


def _check_set_up(url: SplitResult, requests: Sequence[HostileRequest]) -> None:
    """Raise _NotCheckedError unless the API lets the plain good token in: all other answers would mean nothing."""
    good = requests[0]
    try:
        response = _get(url, good.headers, good.query)
    except (OSError, HTTPException) as exc:
        raise _NotCheckedError(f"No answer from the API at {url.geturl()} ({_reason(exc)}).") from exc
    mistake = find_mistake(good, response.status, response.challenges)
    if mistake is None:
        return
    hints = {
        401: "Compare what the API trusts with what the mock issuer signs: its issuer has to be the mock issuer's "
        "identifier, slash included, and its audience the one of --audience.",
        403: "Look at --scope: the route needs a scope that the good token has not.",
        503: "Can the API reach the mock issuer's keys? Look at the issuer that it was told.",
    }
    hint = hints.get(response.status, "Look at the URL: it has to be a route that answers GET with 2xx.")
    raise _NotCheckedError(f"The API does not accept a good token: it answered {mistake}. {hint}")


def _try_all(url: SplitResult, requests: Sequence[HostileRequest]) -> tuple[int, list[_Mistake]]:
    """Return how many requests were sent and what was wrong. Ends once a good token has no answer either."""
    mistakes: list[_Mistake] = []
    for tried, request in enumerate(requests, start=1):
        try:
            response = _get(url, request.headers, request.query)
        except (OSError, HTTPException) as exc:
            mistakes.append((request, f"no answer ({_reason(exc)})"))
            try:
                _get(url, requests[0].headers, requests[0].query)
            except (OSError, HTTPException):
                return tried, mistakes
            continue
        mistake = find_mistake(request, response.status, response.challenges)
        if mistake is not None:
            mistakes.append((request, mistake))
    return len(requests), mistakes


def _reason(exc: Exception) -> str:
    if isinstance(exc, SSLCertVerificationError):
        return "its certificate is not trusted; the environment's SSL_CERT_FILE can name a CA's file"
    # A library's text may quote what was sent.
    return "timed out" if isinstance(exc, TimeoutError) else type(exc).__name__


def _get(url: SplitResult, headers: Iterable[tuple[str, str]], query: str, *, body_bytes: int = 0) -> _Response:
    """Send a GET request with these headers and no redirect followed; a connection of its own each time.

    Of the answer's body no more than `body_bytes` are read.

    Raises OSError or HTTPException where no answer comes.
    """
    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    whole_query = "&".join(filter(None, (url.query, query)))
    target = (url.path or "/") + (f"?{whole_query}" if whole_query else "")
    fields = (("Host", url.netloc), *headers, ("Accept", "*/*"), ("Connection", "close"))
    # By hand: http.client refuses to send what is to be refused.
    request = "".join(f"{name}: {value}\r\n" for name, value in fields)
    connection = kind(url.hostname or "", url.port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.connect()
        # A server that has read enough of a long header answers and hangs up before it was sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sock.sendall(f"GET {target} HTTP/1.1\r\n{request}\r\n".encode("latin-1"))
        with contextlib.closing(HTTPResponse(connection.sock, method="GET")) as response:
            response.begin()
            challenges = tuple(response.headers.get_all("WWW-Authenticate", []))
            return _Response(response.status, challenges, response.read(body_bytes))
    finally:
        connection.close()


def _table(mistakes: Iterable[_Mistake]) -> list[str]:
    lines = [*_row("request", "right", "the API's answer"), "-" * _WIDTH]
    for request, mistake in mistakes:
        lines += _row(request.name, spell_answers(request), mistake)
        lines += textwrap.wrap(request.why, _WIDTH, initial_indent="    ", subsequent_indent="    ")
    return [*lines, ""]


def _row(*cells: str) -> list[str]:
    wrapped = [textwrap.wrap(cell, width) for cell, width in zip(cells, _COLUMNS, strict=True)]
    return [
        "  ".join(f"{text:{width}}" for text, width in zip(line, _COLUMNS, strict=True)).rstrip()
        for line in zip_longest(*wrapped, fillvalue="")
    ]
