"""Where the server listens, and with how many processes."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where the server listens, and with how many processes; all servers take them from the same variables."""

    host: str
    port: int
    workers: int


def read_server_settings() -> tuple[ServerSettings, list[str]]:
    """Return HOST, PORT and WEB_CONCURRENCY, and a sentence for each that is invalid, whose default is returned.

    Loopback by default: listening on a network should be a decision. One process per CPU that may be used: verifying
    tokens is CPU work.
    """
    mistakes: list[str] = []

    def number(variable: str, default: int, highest: int) -> int:
        text = os.environ.get(variable) or str(default)
        if text.isascii() and text.isdecimal() and len(text) <= len(str(highest)) and int(text) <= highest:
            return int(text)
        mistakes.append(f"{variable}: must be a whole number from 0 to {highest}.")
        return default

    port = number("PORT", 8000, 65_535)
    workers = number("WEB_CONCURRENCY", 0, 999) or len(usable_cpus())
    return ServerSettings(os.environ.get("HOST") or "127.0.0.1", port, workers), mistakes


def usable_cpus() -> list[int]:
    """Return the numbers of the CPUs that this process may use: not all, in some containers and under `taskset`.

    Where the system does not tell, all.
    """
    try:
        return sorted(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # macOS; a container that forbids the call
        return list(range(os.cpu_count() or 1))
