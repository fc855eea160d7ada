"""A running issuer: the application in Werkzeug's threaded server, with the controls for tests."""

import errno
import logging
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit

from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import WSGIRequestHandler, make_server

from mock_issuer.app import create_app
from mock_issuer.config import Config
from mock_issuer.control.control import Control
from mock_issuer.control.http import is_loopback
from mock_issuer.flow.issuer import get_issuer
from mock_issuer.tls import server_context

# How often the server thread checks whether to stop.
_STOP_CHECK_SECONDS = 0.05

_log = logging.getLogger("mock_issuer.access")


class _RequestHandler(WSGIRequestHandler):
    """Logs method, path and status only: queries, headers and bodies contain codes and tokens."""

    def run_wsgi(self) -> None:
        """Refuse a request target that is no URL; Werkzeug would close the connection without an answer."""
        try:
            urlsplit(self.path)
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST)
        else:
            super().run_wsgi()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002  # an override
        path = quote(getattr(self, "path", "-").partition("?")[0], safe="/%")
        _log.info("%s %s %s", quote(self.command or "-"), path, int(code) if isinstance(code, int) else code)

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002  # an override
        """Drop Werkzeug's own messages, which contain the request line and so the query."""


class Server(Control):
    """An issuer with its controls. A context manager: it listens from the start, and serves inside the block.

    Args:
        config: the default configuration if None. Its `issuer` is replaced by the URL of this server.
        host: the host name or IP address to listen on.
        port: the port; 0 for any free one.
        issuer: the issuer identifier, if not `http://HOST:PORT/`. Paths below it are served below `/` as well.
        tls: whether to serve https, with a new certificate; clients must trust the CA in `ca_file`.
        allow_control: whether `/_mock/` answers. With None, it answers only if the server listens on loopback, the
            request's Host is loopback, and it came through no proxy.
        clock: returns seconds since the epoch.

    Raises OSError if it cannot listen there, ConfigError for a wrong issuer or if no certificate can be made.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        issuer: str | None = None,
        tls: bool = False,
        allow_control: bool | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # The application needs the port, so bind first. Werkzeug itself would exit the process if the port is in use.
        try:
            listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        except TypeError as exc:  # the socket module raises it for a name that IDNA refuses
            raise OSError(errno.EINVAL, "Not a host name") from exc
        self.ca_file: Path | None = None
        with listener, ExitStack() as stack:
            port = listener.getsockname()[1]
            scheme = "https" if tls else "http"
            self.url = f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/"
            self.config = replace(config or Config(), issuer=issuer or self.url)
            if allow_control is None and not is_loopback(host):
                allow_control = False
            app = create_app(self.config, clock=clock, allow_control=allow_control)
            super().__init__(get_issuer(app))
            path = urlsplit(self.config.issuer).path.rstrip("/")
            served = DispatcherMiddleware(app, {path: app}) if path else app
            self._server = make_server(
                host, port, served, threaded=True, request_handler=_RequestHandler, fd=listener.fileno()
            )
            stack.callback(self._server.server_close)
            if tls:
                directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mock-issuer-")))
                hosts = {host, "localhost", "127.0.0.1", urlsplit(self.config.issuer).hostname or host}
                context = server_context(hosts, directory)
                self.ca_file = directory / "ca.pem"
                # Each connection's own thread does the handshake, so that a silent client blocks no other.
                self._server.socket = context.wrap_socket(
                    self._server.socket, server_side=True, do_handshake_on_connect=False
                )
                self._server.ssl_context = context
            self._resources = stack.pop_all()
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_STOP_CHECK_SECONDS,), name="mock-issuer", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.jwks_fault()
        self._server.shutdown()
        self._thread.join()
        self._resources.close()
