"""The metrics, and the memory where all processes of a server count. What is counted where is not here."""

from .catalogue import (
    BUILD_INFO,
    DATABASE_CONNECTIONS_IN_USE,
    DATABASE_CONNECTIONS_LIMIT,
    DATABASE_REFUSED,
    DATABASE_UP,
    DATABASE_WAIT_SECONDS,
    INTROSPECTIONS,
    KEY_FETCHES,
    KEY_SET_FAULTS,
    KEYS_FETCHED_TIMESTAMP,
    LOG_LINES_DROPPED,
    METRICS,
    RATE_LIMITED,
    REDIS_MISSED,
    REDIS_UP,
    REJECTED_REQUESTS,
    REQUEST_SECONDS,
    REQUESTS_IN_FLIGHT,
    STALE_KEYS_USED,
    THREADS,
    THREADS_BUSY,
    TOKENS_ACCEPTED,
    TOKENS_REFUSED,
    WORKER_DEATHS,
    WORKER_STARTS,
)
from .kinds import MEMORY

__all__ = [
    "BUILD_INFO",
    "DATABASE_CONNECTIONS_IN_USE",
    "DATABASE_CONNECTIONS_LIMIT",
    "DATABASE_REFUSED",
    "DATABASE_UP",
    "DATABASE_WAIT_SECONDS",
    "INTROSPECTIONS",
    "KEYS_FETCHED_TIMESTAMP",
    "KEY_FETCHES",
    "KEY_SET_FAULTS",
    "LOG_LINES_DROPPED",
    "METRICS",
    "RATE_LIMITED",
    "REDIS_MISSED",
    "REDIS_UP",
    "REJECTED_REQUESTS",
    "REQUESTS_IN_FLIGHT",
    "REQUEST_SECONDS",
    "STALE_KEYS_USED",
    "THREADS",
    "THREADS_BUSY",
    "TOKENS_ACCEPTED",
    "TOKENS_REFUSED",
    "WORKER_DEATHS",
    "WORKER_STARTS",
    "share_between_processes",
]


def share_between_processes(workers: int) -> bool:
    """Let this process and up to `workers` processes that it forks from now on count together.

    Returns False if there is no memory for it; each process then counts for itself, as one that is spawned does. The
    process that starts the others calls this, before it starts them. A second call does nothing.
    """
    return MEMORY.share(workers)
