"""Send requests with wrk, and read what CPU time the server's processes used for them."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = Path(__file__).with_name("tokens.lua")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk did in one run, and what it cost; times in seconds."""

    requests: int
    seconds: float
    server_cpu_seconds: float
    client_cpu_seconds: float

    @property
    def microseconds_per_request(self) -> float:
        """Return the CPU time of the server's processes per request, in microseconds."""
        return self.server_cpu_seconds / self.requests * 1e6

    @property
    def requests_per_second(self) -> float:
        """Return the throughput."""
        return self.requests / self.seconds


@dataclass(slots=True)
class Client:
    """Sends requests to `url` from `cores`, as `taskset` names them, over 16 connections that are kept alive.

    Each has the next token of the file `tokens`. `process` is the server's first process.
    """

    url: str
    tokens: Path
    cores: str
    process: int
    sent: int = 0

    def send(self, seconds: int) -> Load:
        """Send requests for some time. Raises RuntimeError if one fails or is not answered with 200."""
        connections = f"-c{CONNECTIONS}"
        command = ["wrk", "-t1", connections, f"-d{seconds}s", "-s", str(_SCRIPT), self.url]
        environment = {**os.environ, "BENCH_TOKENS": str(self.tokens), "BENCH_FIRST_TOKEN": str(self.sent)}
        server_before, client_before = cpu_seconds(self.process), os.times()
        ended = subprocess.run(
            ["taskset", "-c", self.cores, *command], env=environment, capture_output=True, text=True, check=True
        )
        server_after, client_after = cpu_seconds(self.process), os.times()
        result = json.loads(ended.stdout.splitlines()[-1])
        if result["failed"] or not result["requests"]:
            raise RuntimeError(f"{self.url}: {result}")
        self.sent += result["requests"]
        client = sum(client_after[2:4]) - sum(client_before[2:4])
        return Load(result["requests"], result["microseconds"] / 1e6, server_after - server_before, client)


def cpu_seconds(process: int) -> float:
    """Return the CPU time, user and system, of a process with its threads and, recursively, its children.

    Children that ended are included once their parent has waited for them.
    """
    ticks = 0
    for one in (process, *_descendants(process)):
        # After the name in brackets, which may contain anything: man 5 proc. utime, stime, cutime, cstime.
        fields = Path(f"/proc/{one}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / _TICKS_PER_SECOND


def children(process: int) -> list[int]:
    """Return the children of a process, whichever of its threads started them."""
    return [
        int(child)
        for task in Path(f"/proc/{process}/task").iterdir()
        for child in (task / "children").read_text(encoding="utf-8").split()
    ]


def _descendants(process: int) -> list[int]:
    own = children(process)
    return [*own, *(grandchild for child in own for grandchild in _descendants(child))]
