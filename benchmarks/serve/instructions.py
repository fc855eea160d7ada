"""Count the instructions of a server's worker per request, with valgrind's callgrind.

The count does not depend on what else a machine does; the time of the same code does. It leaves out the kernel's part.
"""

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from .load import children
from .services import Running

_WARM_UP_REQUESTS = 150
_COUNTED_REQUESTS = 300
_TIMEOUT_SECONDS = 120
# As callgrind writes it at the end of a file.
_TOTAL = re.compile(r"^totals: (\d+)$", re.MULTILINE)


def under_callgrind(directory: Path) -> tuple[str, ...]:
    """Return the command that runs a server under callgrind, which counts nothing yet and writes into `directory`."""
    return (
        *("valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no", "--trace-children=yes"),
        f"--callgrind-out-file={directory}/callgrind.%p",
    )


def count(running: Running, path: str, tokens: list[str], directory: Path) -> float:
    """Return the instructions per request of a server with one worker, which `under_callgrind` runs.

    The requests are sent one after another on one connection, each with the next of `tokens`. All tokens are sent
    before anything is counted.

    Raises RuntimeError if one is not answered with 200.
    """
    (worker,) = children(running.process)
    address = urlsplit(running.url)
    with closing(HTTPConnection(str(address.hostname), address.port, timeout=_TIMEOUT_SECONDS)) as connection:
        # At least once each.
        _send(connection, path, tokens, max(_WARM_UP_REQUESTS, len(tokens)))
        _control(worker, "--instr=on")
        _send(connection, path, tokens, _COUNTED_REQUESTS)
        _control(worker, "--instr=off")
    _control(worker, "--dump")
    return sum(_totals(directory, worker)) / _COUNTED_REQUESTS


def _send(connection: HTTPConnection, path: str, tokens: list[str], requests: int) -> None:
    for number in range(requests):
        # The headers that wrk sends.
        connection.putrequest("GET", path, skip_accept_encoding=True)
        connection.putheader("Authorization", f"Bearer {tokens[number % len(tokens)]}")
        connection.endheaders()
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:  # noqa: PLR2004
            raise RuntimeError(f"{path}: {response.status} {body[:200]!r}")


def _control(worker: int, option: str) -> None:
    subprocess.run(["callgrind_control", option, str(worker)], check=True, capture_output=True)


def _totals(directory: Path, worker: int) -> Iterator[int]:
    """Yield the count of each file that the worker has written. Raises RuntimeError if there is none in time."""
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        texts = [file.read_text(encoding="utf-8") for file in directory.glob(f"callgrind.{worker}*")]
        totals = [int(total) for text in texts for total in _TOTAL.findall(text)]
        if totals:
            yield from totals
            return
        time.sleep(0.1)
    raise RuntimeError(f"callgrind wrote nothing about process {worker}")
