"""The configuration of gunicorn, with a reason for each setting: gunicorn -c gunicorn.conf.py "api:create_app()"."""

import atexit
import os
import shutil
import sys
import tempfile

from gunicorn.arbiter import Arbiter


def _make_metrics_directory() -> None:
    """Create the directory where workers write their metrics, and remove it when the arbiter ends."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        return
    directory = tempfile.mkdtemp(prefix="device-api-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
    arbiter = os.getpid()
    # Workers inherit this handler, and must not delete the other workers' metrics.
    atexit.register(lambda: os.getpid() == arbiter and shutil.rmtree(directory, ignore_errors=True))


# Before the import of the API: prometheus_client reads the variable on import.
_make_metrics_directory()

from api.settings import SettingsError, load_settings  # noqa: E402  # after the directory, as above

_mistakes = []


def _number(variable: str, default: int, highest: int) -> int:
    """Return a number from the environment; `on_starting` reports an invalid one with the API's settings."""
    text = os.environ.get(variable) or str(default)
    if text.isascii() and text.isdecimal() and len(text) <= len(str(highest)) and int(text) <= highest:
        return int(text)
    _mistakes.append(f"{variable}: must be a whole number from 0 to {highest}.")
    return default


# Loopback by default: listening on a network should be a decision.
host, port = os.environ.get("HOST") or "127.0.0.1", _number("PORT", 8000, 65_535)
bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

# One process per core: verifying tokens is CPU work.
workers = _number("WEB_CONCURRENCY", 0, 999) or os.cpu_count() or 1
# Threads, because requests wait for the database, and one slow client blocks a sync worker. Our class is gthread with
# problem details instead of gunicorn's HTML pages.
worker_class = "api.operations.worker.ProblemWorker"
threads = 8

# Longer than the 60 s of most load balancers: if the server closes idle connections first, the balancer sends requests
# on closed ones.
keepalive = 65
# A worker whose main loop is blocked for this long is replaced; threads that wait for slow clients do not block it.
timeout = 30
# How long requests may take to finish after SIGTERM; platforms send SIGKILL after 30 s.
graceful_timeout = 25

# Each worker loads the application: threads and database connections do not survive a fork.
preload_app = False
# Heartbeat files in memory: if a disk stalled, gunicorn would kill healthy workers.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112, S108  # a mount, not a temporary file

# An access token may have 8,000 characters, and must fit into one header field.
limit_request_field_size = 8190
# The longest URLs have a path and a cursor.
limit_request_line = 4094
limit_request_fields = 64

# X-Forwarded-Proto is trusted from proxies on this machine; FORWARDED_ALLOW_IPS lists others.
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")
# By default gunicorn reads SCRIPT_NAME from a header of such a proxy: a client could then get /metrics by requesting
# /x/metrics, or cause a 500.
forwarder_headers = ""

# The API logs each request itself, without the query; gunicorn's errors go to standard error too.
accesslog = None
errorlog = "-"
loglevel = "warning"
# The runtime control socket is not used, so it is not opened.
control_socket_disable = True


def on_starting(_server: Arbiter) -> None:
    """Exit with status 2 before any worker starts if settings are invalid: otherwise every worker would report them."""
    mistakes = list(_mistakes)
    try:
        load_settings()
    except SettingsError as exc:
        mistakes[:0] = exc.mistakes
    if mistakes:
        print(f"The device API cannot start. {SettingsError(mistakes)}", file=sys.stderr)  # noqa: T201  # there is no log yet
        sys.exit(2)
