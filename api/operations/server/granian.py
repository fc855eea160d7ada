"""The faster server, `device-api serve --server granian`: behind a proxy that buffers requests, and only there.

docs/operation.md says what it gives up against gunicorn.
"""

import gc
import ipaddress
import multiprocessing
import os
import socket
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels

from api.operations.log.configuration import LineHandler, configure_logging
from api.operations.log.lines import ServerFormatter
from api.operations.log.writer import write_directly
from api.operations.metrics import share_between_processes
from api.settings import ServerSettings, load_all_settings

from .start import log_start

# As in gunicorn.conf.py: requests wait for the database, and one waiting thread must not stop a process. With one
# thread a request costs about 50 µs less, because no other thread takes the interpreter lock; a service whose requests
# wait for nothing should have one.
_THREADS = 8
# Connections that a process accepts at a time, idle ones included; the others wait in the listen queue. A proxy keeps
# some open to each process.
_CONNECTIONS = 512
# As graceful_timeout in gunicorn.conf.py.
_STOP_SECONDS = 25


class AddressError(Exception):
    """The server cannot listen on its address; the text says why."""


def serve(make_application: Callable[[], WSGIApplication]) -> None:
    """Serve an application until SIGTERM or SIGINT; finish the requests in progress, for at most 25 seconds.

    Each process makes its own: threads and database connections do not survive a fork. Raises SettingsError or
    AddressError before any process is started.
    """
    settings, server_settings = load_all_settings()
    _check_address(server_settings)
    configure_logging(settings.log_level)
    # This process forks the others, also in place of one that died.
    write_directly()
    # Processes share memory only if they are forked; from Python 3.14 on, granian would spawn them.
    multiprocessing.set_start_method("fork", force=True)
    share_between_processes(server_settings.workers)
    server = Granian(
        "api",  # a name for granian's errors; the loader below makes the application
        address=server_settings.host,
        port=server_settings.port,
        workers=server_settings.workers,
        interface=Interfaces.WSGI,
        blocking_threads=_THREADS,
        # The listen queue, divided by the processes, would limit the connections otherwise.
        backpressure=_CONNECTIONS,
        http=HTTPModes.http1,
        websockets=False,
        log_level=LogLevels.warning,
        log_dictconfig={
            "formatters": {"line": {"()": ServerFormatter}},
            "handlers": {"api": {"()": LineHandler, "formatter": "line"}},
            "loggers": {"_granian": {"handlers": ["api"], "propagate": False}},
        },
        # A process that died is replaced; if that one dies within 5 seconds, all end with status 1.
        respawn_failed_workers=True,
        workers_kill_timeout=_STOP_SECONDS,
    )
    proxies = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")
    host = f"[{server_settings.host}]" if ":" in server_settings.host else server_settings.host
    address = f"http://{host}:{server_settings.port}"
    server.on_startup(lambda: log_start(settings, [address], server_settings.workers))

    def load() -> WSGIApplication:
        application = trust_proxies(make_application(), proxies)
        # As in gunicorn.conf.py: what is loaded by now stays.
        gc.collect()
        gc.freeze()
        return application

    server.serve(target_loader=load, wrap_loader=False)


def _check_address(server_settings: ServerSettings) -> None:
    """Raise AddressError if another server listens there: granian would share the port with another granian."""
    host, port = server_settings.host, server_settings.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections do not count
            probe.bind((host, port))
    except OSError as exc:
        raise AddressError(f"{host}, port {port}: {exc.strerror}") from exc


def trust_proxies(application: WSGIApplication, addresses: str) -> WSGIApplication:
    """Return `application` with the scheme that the header `X-Forwarded-Proto` of trusted proxies names.

    `addresses` are separated by commas; one may be a network, and `*` trusts all. granian does not do this by itself.
    """
    trusts = _trust(addresses)

    def trusting(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("HTTP_X_FORWARDED_PROTO") == "https" and trusts(environ.get("REMOTE_ADDR", "")):
            environ["wsgi.url_scheme"] = "https"
        return application(environ, start_response)

    return trusting


def _trust(addresses: str) -> Callable[[str], Any]:
    words = [word.strip() for word in addresses.split(",") if word.strip()]
    if "*" in words:
        return lambda _address: True
    networks = [ipaddress.ip_network(word, strict=False) for word in words]

    # There are few proxies, and parsing an address takes longer than looking it up.
    @lru_cache(maxsize=256)
    def trusts(address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in networks)

    return trusts
