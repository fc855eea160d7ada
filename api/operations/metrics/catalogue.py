"""Every metric. Labels come from closed sets, never from a request."""

from .kinds import AnyMetric, Counter, Gauge, Histogram

REQUEST_SECONDS = Histogram(
    "api_request_seconds",
    "Time to answer a request, in seconds.",
    ("method", "route", "status"),
    # A cached token and an index lookup take 1 ms; an unknown key id waits 3 s at most.
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 3, 10),
)
REQUESTS_IN_FLIGHT = Gauge("api_requests_in_flight", "Requests that are being answered.", across="sum")
REJECTED_REQUESTS = Counter(
    "api_rejected_requests", "Requests that the server refused before the application saw them.", ("status",)
)
THREADS = Gauge("api_threads", "Threads that answer requests.", across="sum")
THREADS_BUSY = Gauge("api_threads_busy", "Of these threads, those occupied by a connection.", across="sum")

TOKENS_ACCEPTED = Counter(
    "api_tokens_accepted", "Accepted access tokens; remembered is yes if the token was in the cache.", ("remembered",)
)
TOKENS_REFUSED = Counter(
    "api_tokens_refused",
    "Requests refused for their credentials, or because keys, an issuer's answer or revocations were not available.",
    ("reason",),
)
KEY_FETCHES = Counter("api_key_fetches", "Fetches of an issuer's keys.", ("issuer", "outcome"))
KEY_SET_FAULTS = Counter("api_key_set_faults", "Fetched key sets that have a fault.", ("issuer", "fault"))
KEYS_FETCHED_TIMESTAMP = Gauge(
    "api_keys_fetched_timestamp_seconds",
    "When the keys in use were fetched, in the process where they are oldest; Unix time.",
    ("issuer",),
    across="min",
)
STALE_KEYS_USED = Counter("api_stale_keys_used", "Tokens verified with keys past their freshness.", ("issuer",))
INTROSPECTIONS = Counter("api_introspections", "Questions to an issuer about a token.", ("issuer", "outcome"))

REDIS_UP = Gauge("api_redis_up", "1 if Redis answered every process that last used it, else 0.", across="min")
REDIS_MISSED = Counter(
    "api_redis_missed",
    "Requests not counted for the rate limit, DPoP proofs refused, refreshes of revocations not done; Redis was down.",
    ("use",),
)
RATE_LIMITED = Counter("api_rate_limited", "Requests refused because their caller exceeded the rate limit.")

DATABASE_UP = Gauge(
    "api_database_up", "1 if the database answered the last use of every process, else 0.", across="min"
)
DATABASE_CONNECTIONS_LIMIT = Gauge(
    "api_database_connections_limit", "Connections to the database that may be in use at once.", across="sum"
)
DATABASE_CONNECTIONS_IN_USE = Gauge(
    "api_database_connections_in_use", "Connections to the database that are in use.", across="sum"
)
DATABASE_WAIT_SECONDS = Histogram(
    "api_database_wait_seconds",
    "Time that requests waited for a connection to the database, in seconds; only those that had to wait.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),  # nobody waits longer
)
DATABASE_REFUSED = Counter(
    "api_database_refused", "Requests refused because all connections to the database were in use for too long."
)

LOG_LINES_DROPPED = Counter("api_log_lines_dropped", "Log lines that could not be written.")

WORKER_STARTS = Counter("api_worker_starts", "Worker processes that were started.")
WORKER_DEATHS = Counter(
    "api_worker_deaths",
    "Worker processes that ended although nobody had asked them to; signal is none if no signal ended them.",
    ("signal",),
)
BUILD_INFO = Gauge("api_build_info", "1, with the API's version.", ("version",), across="max")

# The names above, and no imported ones.
METRICS: tuple[AnyMetric, ...] = tuple(
    value for value in tuple(globals().values()) if isinstance(value, Counter | Gauge | Histogram)
)
