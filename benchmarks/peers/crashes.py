"""Tells who can cause a crash: whoever has a token of the issuer, or anybody."""

import base64
import contextlib
import json
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import SplitResult

from mock_issuer.hostile.check.sender import NO_ANSWER, send
from mock_issuer.hostile.request import HostileRequest

_SERVER_ERROR = 500
_POLLS, _POLL_SECONDS = 300, 0.1
_SIGNED = re.compile(r"([\w+/=~%-]+\.[\w+/=~%-]*\.)[\w+/=~%-]+")
# As long as the signature of a 2048-bit key, and made by none.
_NO_SIGNATURE = base64.urlsafe_b64encode(b"\x01" * 256).rstrip(b"=").decode()


def find_crashes(
    url: SplitResult, table: Mapping[str, HostileRequest], report: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return of each crash in a check: the answer, the unusual part of the request, and whether anybody can cause it.

    Each is repeated with a signature that no key has made: anybody can send such a token. A DPoP proof stays as it is,
    since anybody can sign one. Names are left out.

    Args:
        url: the protected route, whose service runs.
        table: the requests by name.
        report: the check's report as JSON.
    """
    good = table["good-token"]
    found = []
    for row in report["requests"]:
        if row["verdict"] != "crashes":
            continue
        request = table.get(row["name"])
        # What is not in the table is for the attacker's servers: signed by the attacker.
        anybody = request is None or _crashes(url, _without_signature(request), good)
        part = "header of the token" if request is None else _unusual_part(request, good)
        found.append({"received": row["received"], "part": part, "anybody": anybody})
    return found


def _without_signature(request: HostileRequest) -> list[tuple[str, str]]:
    return [
        (name, value if name == "DPoP" else _SIGNED.sub(rf"\g<1>{_NO_SIGNATURE}", value))
        for name, value in request.headers
    ]


def _crashes(url: SplitResult, headers: Iterable[tuple[str, str]], good: HostileRequest) -> bool:
    """Return whether the service answers 5xx or not at all."""
    _wait_for(url, good)
    try:
        return send(url, headers, "").status >= _SERVER_ERROR
    except NO_ANSWER:
        return True


def _wait_for(url: SplitResult, good: HostileRequest) -> None:
    """Wait until the valid token is answered: a service that stopped needs time to start."""
    for _ in range(_POLLS):
        with contextlib.suppress(*NO_ANSWER):
            if send(url, good.headers, "").status < _SERVER_ERROR:
                return
        time.sleep(_POLL_SECONDS)


def _unusual_part(request: HostileRequest, good: HostileRequest) -> str:
    if request.challenge == "DPoP":
        return "proof, or token with a proof"
    values = [value for name, value in request.headers if name == "Authorization"]
    token = values[0].removeprefix("Bearer ") if len(values) == 1 else ""
    if re.fullmatch(r"[\w-]+\.[\w-]*\.[\w-]*", token) is None:
        return "form of the credentials"
    if _header(token) != _header(good.headers[0][1].removeprefix("Bearer ")):
        return "header of the token"
    return "claims of the token"


def _header(token: str) -> Any:
    segment = token.partition(".")[0]
    try:
        return json.loads(base64.urlsafe_b64decode(f"{segment}=="))
    except (ValueError, RecursionError):
        return None
