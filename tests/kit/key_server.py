"""An HTTP server with an issuer's metadata and keys; tests replace its answers with faults."""

import contextlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType, TracebackType
from typing import Any, Self

# Writes the whole response to a request.
Answer = Callable[[BaseHTTPRequestHandler], None]


def document(body: bytes, *, status: int = 200, headers: Mapping[str, str] = MappingProxyType({})) -> Answer:
    """Return an answer with this body."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def raw_answer(raw: bytes) -> Answer:
    """Return an answer of these bytes, which need not be HTTP."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(raw)

    return answer


class _HttpServer(ThreadingHTTPServer):
    """Serves until `stop`, which does not wait for a poll interval as `shutdown` does."""

    _is_stopped = False

    def serve(self) -> None:
        while not self._is_stopped:
            self.handle_request()

    def stop(self) -> None:
        self._is_stopped = True
        # Wakes the thread that waits for connections; closing the socket would not.
        self.socket.shutdown(socket.SHUT_RDWR)


class KeyServer:
    """A server on an ephemeral port of loopback; a context manager.

    `answers` maps paths to answers and may be changed at any time. `requests` counts requests by path. Answers that
    hang wait for `released`, which a test may set and the end of the block sets.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: Counter[str] = Counter()
        self.released = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            # What a POST request sent.
            form = b""

            def do_GET(self) -> None:
                server.requests[self.path] += 1
                answer = server.answers.get(self.path, document(b"{}", status=404))
                with contextlib.suppress(OSError):  # the client closed the connection, as some tests expect
                    answer(self)
                self.close_connection = True

            def do_POST(self) -> None:
                self.form = self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def log_message(self, *_args: Any) -> None:
                pass

        self._server = _HttpServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve, daemon=True)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self.issuer = f"{self.origin}/"
        self.jwks_url = f"{self.origin}/jwks.json"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.released.set()
        self._server.stop()
        self._thread.join()
        self._server.server_close()

    def publish(self, keys: bytes, *, cache_control: str | None = None) -> None:
        """Serve a key set, and metadata that points to it."""
        metadata = {"issuer": self.issuer, "jwks_uri": self.jwks_url}
        self.answers["/.well-known/openid-configuration"] = document(json.dumps(metadata).encode())
        headers = {"Cache-Control": cache_control} if cache_control is not None else {}
        self.answers["/jwks.json"] = document(keys, headers=headers)

    def break_keys(self, answer: Answer) -> None:
        """Replace the answer of the key set's URL."""
        self.answers["/jwks.json"] = answer

    def hang_keys(self) -> threading.Event:
        """Leave requests for the key set unanswered; return an event that the first one sets."""
        asked = threading.Event()

        def hang(_handler: BaseHTTPRequestHandler) -> None:
            asked.set()
            self.released.wait()

        self.break_keys(hang)
        return asked

    @property
    def key_requests(self) -> int:
        """Return the number of requests for the key set."""
        return self.requests["/jwks.json"]
