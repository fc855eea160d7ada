"""An issuer's metadata and keys over real HTTP, with every fault that a network and a bad server have."""

import contextlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType, TracebackType
from typing import Any, Self

# What a path answers: writes the whole response itself.
Answer = Callable[[BaseHTTPRequestHandler], None]


def document(body: bytes, *, status: int = 200, headers: Mapping[str, str] = MappingProxyType({})) -> Answer:
    """Answer with a body."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def raw_answer(raw: bytes) -> Answer:
    """Answer with these bytes, HTTP or not."""

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
        # Wakes the thread that waits for connections; closing the socket alone would not.
        self.socket.shutdown(socket.SHUT_RDWR)


class KeyServer:
    """A live server on an ephemeral port of loopback; a context manager.

    `answers` maps paths to what they answer and may be changed at any time. `requests` counts them by path. Answers
    that should last until the test says otherwise wait for `released`, which the end of the block sets too.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: Counter[str] = Counter()
        self.released = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests[self.path] += 1
                answer = server.answers.get(self.path, document(b"{}", status=404))
                with contextlib.suppress(OSError):  # the client gave up, as some tests want it to
                    answer(self)
                self.close_connection = True

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
        """Have the key set's address answer this."""
        self.answers["/jwks.json"] = answer

    def hang_keys(self) -> threading.Event:
        """Have the key set's address never answer; return what is set once somebody has asked it."""
        asked = threading.Event()

        def hang(_handler: BaseHTTPRequestHandler) -> None:
            asked.set()
            self.released.wait()

        self.break_keys(hang)
        return asked

    @property
    def key_requests(self) -> int:
        """Return how often the key set was asked for."""
        return self.requests["/jwks.json"]
