"""The attacker's servers: each serves keys, metadata and a certificate, and remembers whether anything connected."""

import json
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from cryptography.hazmat.primitives.serialization import Encoding

from mock_issuer.hostile import attacker

_POLL_SECONDS = 0.01


class _Handler(BaseHTTPRequestHandler):
    timeout = 5  # seconds; ends a connection that sends nothing

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, _Server)  # noqa: S101  # for mypy
        path = self.path.partition("?")[0]
        content_type, body = "application/json", server.key_set
        if "openid-configuration" in path or "oauth-authorization-server" in path:
            body = server.metadata
        elif path.endswith(".pem"):
            content_type, body = "application/x-pem-file", attacker.certificate().public_bytes(Encoding.PEM)
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def __init__(self, kid: str, slash: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.connected = False
        base = f"http://127.0.0.1:{self.server_port}"
        # Under both names: a verifier looks for the kid of the token's header, which some tokens take from the issuer.
        keys = [attacker.public_jwk(), attacker.public_jwk() | {"kid": kid}]
        self.key_set = json.dumps({"keys": keys}).encode()
        self.metadata = json.dumps({"issuer": f"{base}{slash}", "jwks_uri": f"{base}/jwks.json"}).encode()

    def process_request(self, request: Any, client_address: Any) -> None:
        # Counted before a byte is read: an attempt to speak TLS, which this server does not, counts as well.
        self.connected = True
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # the client closed the connection


class AttackersServers:
    """Servers on ephemeral ports of 127.0.0.1, one for each request that names one; a context manager.

    Args:
        kid: the key id of the issuer's signing key, under which the attacker's key is served too.
        issuer: the issuer identifier; those in the attacker's metadata end with a slash if it does.
    """

    def __init__(self, *, kid: str, issuer: str) -> None:
        self._kid, self._slash = kid, "/" if issuer.endswith("/") else ""
        self._servers: dict[str, _Server] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def open_port(self, name: str) -> int:
        """Start a server for the request of this name and return its port."""
        server = self._servers[name] = _Server(self._kid, self._slash)
        self._stack.callback(server.server_close)
        thread = threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), daemon=True)
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(server.shutdown)
        return server.server_port

    def fetched(self, name: str) -> bool:
        """Return whether anything connected to the server of the request of this name."""
        return self.has_server(name) and self._servers[name].connected

    def has_server(self, name: str) -> bool:
        """Return whether the request of this name has a server."""
        return name in self._servers
