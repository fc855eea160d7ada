"""How gunicorn serves the API, a reason beside each setting: gunicorn -c gunicorn.conf.py "api:create_app()"."""

import atexit
import os
import shutil
import sys
import tempfile

from gunicorn.arbiter import Arbiter


def _make_metrics_directory() -> None:
    """Give the workers a place for their counts, which /metrics adds up, and take it away when the arbiter ends."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        return
    directory = tempfile.mkdtemp(prefix="device-api-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
    arbiter = os.getpid()
    # Workers inherit this and must leave the others' counts alone.
    atexit.register(lambda: os.getpid() == arbiter and shutil.rmtree(directory, ignore_errors=True))


# Before the API is imported, which looks for the place then.
_make_metrics_directory()

from api.settings import SettingsError, load_settings  # noqa: E402  # likewise

_mistakes = []


def _number(variable: str, default: int, highest: int) -> int:
    """Return a setting of the server's own; a wrong one is told with the API's, by `on_starting`."""
    text = os.environ.get(variable) or str(default)
    if text.isascii() and text.isdecimal() and len(text) <= len(str(highest)) and int(text) <= highest:
        return int(text)
    _mistakes.append(f"{variable}: must be a whole number from 0 to {highest}.")
    return default


# Loopback unless told otherwise: what faces a network should do so by decision.
host, port = os.environ.get("HOST") or "127.0.0.1", _number("PORT", 8000, 65_535)
bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

# A process a core: verifying tokens is CPU work.
workers = _number("WEB_CONCURRENCY", 0, 999) or os.cpu_count() or 1
# Threads, since requests also wait for the database; sync workers would stand still for one slow client each. Ours is
# gthread, with problem details where gunicorn has an HTML page.
worker_class = "api.operations.worker.ProblemWorker"
threads = 8

# Behind a balancer that keeps connections open, closing them first would make it send requests into closed ones:
# most keep theirs idle for 60 s.
keepalive = 65
# A worker whose main loop stands still for this long is replaced; threads that wait for a slow client do not count.
timeout = 30
# What is under way at a stop has this long to end; platforms kill after 30 s.
graceful_timeout = 25

# Each worker loads the application itself: threads and database connections do not survive a fork.
preload_app = False
# The heartbeat files belong in memory: on a disk that stalls, workers would be taken for hung.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112, S108  # a mount, not a temporary file

# An access token may have 8,000 characters; with its header's name it must fit into one field.
limit_request_field_size = 8190
# No route has more than a path and a cursor.
limit_request_line = 4094
limit_request_fields = 64

# X-Forwarded-Proto is believed from a proxy on this machine alone; others are named in FORWARDED_ALLOW_IPS.
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")
# gunicorn would also take SCRIPT_NAME from a header that such a proxy passes on: a client could then ask for
# /x/metrics and be answered with /metrics, which the proxy keeps from it, or name another path and get a 500.
forwarder_headers = ""

# The API logs each request itself, without its query; errors of the server go to standard error beside it.
accesslog = None
errorlog = "-"
loglevel = "warning"
# Nobody here uses the runtime control socket, and what is not open cannot be talked to.
control_socket_disable = True


def on_starting(_server: Arbiter) -> None:
    """Stop before any worker starts where the settings are wrong: otherwise each would tell so, again and again."""
    mistakes = list(_mistakes)
    try:
        load_settings()
    except SettingsError as exc:
        mistakes[:0] = exc.mistakes
    if mistakes:
        print(f"The device API does not start. {SettingsError(mistakes)}", file=sys.stderr)  # noqa: T201  # there is no log yet
        sys.exit(2)
