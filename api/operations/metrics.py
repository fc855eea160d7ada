"""/metrics: what the API counts, for Prometheus. Labels come from closed sets: nothing that a client sends is one."""

import os

from flask import Blueprint, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    multiprocess,
)

# Where several processes serve together, each keeps its counts here, and whichever is asked adds them up.
MULTIPROCESS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

metrics = Blueprint("metrics", __name__)

REQUEST_SECONDS = Histogram(
    "api_request_seconds",
    "Time from the first look at a request to its answer.",
    ("method", "route", "status"),
    # A remembered token and an index take a millisecond; an unknown key id waits three seconds at most.
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 3, 10),
)
TOKENS_ACCEPTED = Counter("api_tokens_accepted", "Tokens that opened the door.", ("remembered",))
TOKENS_REFUSED = Counter("api_tokens_refused", "Credentials that did not, or could not be judged.", ("reason",))
KEY_FETCHES = Counter("api_key_fetches", "Fetches of an issuer's keys.", ("issuer", "outcome"))
STALE_KEYS_USED = Counter("api_stale_keys_used", "Tokens judged with keys past their freshness.", ("issuer",))
REDIS_MISSED = Counter(
    "api_redis_missed", "Requests not limited, and revocations not asked for, for want of Redis.", ("use",)
)
RATE_LIMITED = Counter("api_rate_limited", "Requests refused because their caller sent too many.")


@metrics.get("/metrics")
def show() -> Response:
    """Answer with everything that was counted, by all processes."""
    registry = REGISTRY
    if os.environ.get(MULTIPROCESS_DIRECTORY):
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # theirs
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})
