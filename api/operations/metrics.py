"""/metrics for Prometheus. Labels come from closed sets, never from a request."""

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

from api.auth import open_to_all

# The directory where gunicorn's workers write their counts; the worker that serves /metrics adds them up.
MULTIPROCESS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

metrics = Blueprint("metrics", __name__)

REQUEST_SECONDS = Histogram(
    "api_request_seconds",
    "Time to answer a request, in seconds.",
    ("method", "route", "status"),
    # A cached token and an index lookup take 1 ms; an unknown key id waits 3 s at most.
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 3, 10),
)
TOKENS_ACCEPTED = Counter(
    "api_tokens_accepted", "Accepted access tokens; remembered is yes if the token was in the cache.", ("remembered",)
)
TOKENS_REFUSED = Counter(
    "api_tokens_refused",
    "Requests refused for their credentials, or because keys or revocations were not available.",
    ("reason",),
)
KEY_FETCHES = Counter("api_key_fetches", "Fetches of an issuer's keys.", ("issuer", "outcome"))
KEY_SET_FAULTS = Counter("api_key_set_faults", "Fetched key sets that have a fault.", ("issuer", "fault"))
STALE_KEYS_USED = Counter("api_stale_keys_used", "Tokens verified with keys past their freshness.", ("issuer",))
REDIS_MISSED = Counter(
    "api_redis_missed",
    "Requests not counted for the rate limit, and refreshes of revocations not done, while Redis was down.",
    ("use",),
)
RATE_LIMITED = Counter("api_rate_limited", "Requests refused because their caller exceeded the rate limit.")


@metrics.get("/metrics")
@open_to_all
def show() -> Response:
    """Return the metrics of all processes in Prometheus's text format."""
    registry = REGISTRY
    if os.environ.get(MULTIPROCESS_DIRECTORY):
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library has no types here
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})
