"""The configuration of gunicorn, with a reason for each setting: gunicorn -c gunicorn.conf.py "api:create_app()"."""

import gc
import os
import sys
from typing import Any

from gunicorn.arbiter import Arbiter

from api.operations.log.configuration import configure_logging
from api.operations.metrics import WORKER_STARTS, share_between_processes, worker_deaths
from api.operations.server.listening_socket import take_no_new_connections
from api.operations.server.start import log_start
from api.operations.server.worker_cpu import choose_cpu, stay_on_chosen_cpu
from api.settings import SettingsError, load_all_settings, read_server_settings

_server, _ = read_server_settings()  # on_starting reports the mistakes
# HOST and PORT, by default on loopback.
bind = f"[{_server.host}]:{_server.port}" if ":" in _server.host else f"{_server.host}:{_server.port}"

# WEB_CONCURRENCY, by default one process for each CPU that may be used.
workers = _server.workers
# Threads, because requests wait for the database, and one slow client blocks a sync worker. Our class is gthread with
# problem details instead of gunicorn's HTML pages.
worker_class = "api.operations.server.worker.ProblemWorker"
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
# As lines of JSON, like the API's own.
logger_class = "api.operations.server.gunicorn_log.GunicornLogger"
loglevel = "warning"
# The runtime control socket is not used, so it is not opened.
control_socket_disable = True


def on_starting(server: Arbiter) -> None:
    """Exit with status 2 before any worker starts if settings are invalid: otherwise every worker would report them.

    Then make the memory where all processes count.
    """
    try:
        load_all_settings()
    except SettingsError as exc:
        print(f"The device API cannot start. {exc}", file=sys.stderr)  # noqa: T201  # there is no log yet
        sys.exit(2)
    if not share_between_processes(server.cfg.workers):
        server.log.warning("No memory to share for metrics: /metrics shows those of one worker, not of all.")
    worker_deaths.watch(server)


def pre_fork(server: Arbiter, worker: Any) -> None:
    """Choose the CPU of a worker, if there are as many workers as CPUs."""
    choose_cpu(worker, server.WORKERS.values(), server.num_workers)


def post_fork(_server: Arbiter, worker: Any) -> None:
    """Count the start of a worker, in the worker, and keep the worker on its CPU."""
    WORKER_STARTS.inc()
    stay_on_chosen_cpu(worker)


def post_worker_init(_worker: Any) -> None:
    """Tell the garbage collector that what is loaded by now stays.

    Otherwise it looks through all modules again and again: 2 % of GET /v1/me.
    """
    gc.collect()
    gc.freeze()


def child_exit(server: Arbiter, worker: Any) -> None:
    """Keep the counts of a worker that has ended, and count its death if nobody had asked for it."""
    try:
        worker_deaths.worker_ended(worker)
    except Exception:  # whatever it is: an exception here would stop the server
        server.log.exception("The metrics of a worker that ended are lost.")


def when_ready(server: Arbiter) -> None:
    """Log the start; take no new connections from SIGTERM on.

    So none is lost while the workers accept the last ones and stop.
    """
    settings, _ = load_all_settings()
    configure_logging(settings.log_level)
    log_start(settings, [str(listener) for listener in server.LISTENERS], server.cfg.workers)

    handle_term = server.handle_term

    def stop() -> None:
        # Unless another arbiter (after SIGUSR2) or systemd goes on with the same sockets.
        if not (server.reexec_pid or server.master_pid or server.systemd):
            for listener in server.LISTENERS:
                take_no_new_connections(listener.sock)
        handle_term()

    server.handle_term = stop
