"""A mock issuer that listens: Werkzeug's threaded server around the application."""

import logging
import socket
import threading
import time
from dataclasses import replace
from types import TracebackType
from typing import Self
from urllib.parse import quote

from werkzeug.serving import WSGIRequestHandler, make_server

from mock_issuer.app import create_app
from mock_issuer.config import Config
from mock_issuer.issuer import Clock

# How long it may take to notice that the block has ended.
_STOP_CHECK_SECONDS = 0.05

_log = logging.getLogger("mock_issuer.access")


class _RequestHandler(WSGIRequestHandler):
    """Logs method, path and status: queries, headers and bodies hold codes and tokens."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002  # an override
        path = quote(getattr(self, "path", "-").partition("?")[0], safe="/%")
        _log.info("%s %s %s", quote(self.command or "-"), path, int(code) if isinstance(code, int) else code)

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002  # an override
        """Drop Werkzeug's own messages, which quote the request line."""


class Server:
    """A live issuer on a port of its own. A context manager: it serves inside the block.

    Args:
        config: what it serves. Its issuer is replaced by the address it listens on.
        host: the name or address to listen on.
        port: 0 for any free one.
        issuer: the issuer identifier where it is not `http://HOST:PORT/`.
        clock: seconds since the epoch.

    Raises OSError when it cannot listen there, ConfigError for a wrong issuer.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        issuer: str | None = None,
        clock: Clock = time.time,
    ) -> None:
        # Bound before the application is made, which needs to know its port. Werkzeug would exit the process itself
        # on a port in use.
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        with listener:
            port = listener.getsockname()[1]
            self.url = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
            self.config = replace(config or Config(), issuer=issuer or self.url)
            app = create_app(self.config, clock=clock)
            self._server = make_server(
                host, port, app, threaded=True, request_handler=_RequestHandler, fd=listener.fileno()
            )
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_STOP_CHECK_SECONDS,), name="mock-issuer", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
