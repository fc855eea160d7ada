"""APIs for the check: any Flask application, raw answers, and an API whose mistakes a test chooses."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import jwt
import requests
from cryptography.x509 import load_pem_x509_certificate
from flask import Flask, Response, abort, request
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.kit.key_server import KeyServer
from tests.kit.signing import AUDIENCE

SCOPE = "read:devices"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Silent(WSGIRequestHandler):
    def log(self, *_args: Any) -> None:
        pass


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Silent)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def answering(answers: Callable[[bytes], bytes | None], *, connections: int | None = None) -> Iterator[str]:
    """Serve raw answers; None closes the connection. Stop listening after this many connections."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        over = threading.Event()

        def serve() -> None:
            served = 0
            while not over.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    if over.is_set():
                        return
                    answer = answers(read_head(connection))
                    if answer is not None:
                        connection.sendall(answer)
                served += 1
                if served == connections:
                    listener.close()
                    over.set()

        port = listener.getsockname()[1]
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}/"
        finally:
            if not over.is_set():
                over.set()
                socket.create_connection(("127.0.0.1", port)).close()
            thread.join()


def read_head(connection: socket.socket) -> bytes:
    """Return a request without a body, or what came of it."""
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        part = connection.recv(65_536)
        if not part:
            break
        received += part
    return received


@dataclass(frozen=True, kw_only=True)
class WrongApi:
    """An API on PyJWT, right but for the mistakes in its arguments.

    Args:
        keys_from: where it gets keys from: "issuer" (right), or the header parameter or claim with an address.
        issuer_prefix: trusts each `iss` that starts with the trusted issuer, without its slash.
        is_fetch_refused: fetches, and refuses the token all the same.
        leeway_seconds: how long it accepts a token after its end, or before its start.
        reads_query: reads the token from the query too.
        checks_exp: whether it refuses expired tokens.
        header_index: which of several Authorization headers counts.
        has_error_codes: whether its challenges have error codes.
    """

    issuer: KeyServer
    keys_from: str = "issuer"
    issuer_prefix: bool = False
    is_fetch_refused: bool = False
    leeway_seconds: int = 0
    reads_query: bool = False
    checks_exp: bool = True
    has_error_codes: bool = True

    def app(self) -> Flask:
        app = Flask("wrong")
        app.add_url_rule("/", view_func=self._view)
        return app

    def _view(self) -> dict[str, str]:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if self.reads_query and scheme.lower() != "bearer":
            scheme, token = "bearer", request.args.get("access_token", "")
        if scheme.lower() != "bearer" or not token:
            abort(Response(status=401, headers={"WWW-Authenticate": "Bearer"}))
        try:
            claims = self._verify(token)
        except Exception:  # noqa: BLE001  # the mistakes of this API are others
            code = ' error="invalid_token"' if self.has_error_codes else ""
            abort(Response(status=401, headers={"WWW-Authenticate": f"Bearer{code}"}))
        scopes = claims["scope"]
        if SCOPE not in (scopes.split() if isinstance(scopes, str) else scopes):
            abort(Response(status=403, headers={"WWW-Authenticate": 'Bearer error="insufficient_scope"'}))
        return {}

    def _verify(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        unverified: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        address = {"issuer": None, "iss": f"{unverified['iss']}jwks.json"}.get(
            self.keys_from, header.get(self.keys_from)
        )
        if address is None or not str(address).startswith("http") or unverified["iss"] == self.issuer.issuer == address:
            address = self.issuer.jwks_url
        answer = requests.get(address, timeout=5)
        if self.is_fetch_refused and address != self.issuer.jwks_url:
            raise jwt.InvalidTokenError
        key: Any
        if self.keys_from == "x5u" and "x5u" in header:
            key = load_pem_x509_certificate(answer.content).public_key()
        else:
            keys = jwt.PyJWKSet.from_dict(json.loads(answer.content)).keys
            named = [key for key in keys if key.key_id == header["kid"]]
            key = (named or keys)[0]
        issuer: str | None = None if self.keys_from == "iss" or self.issuer_prefix else self.issuer.issuer
        if self.issuer_prefix and not unverified["iss"].startswith(self.issuer.origin):
            raise jwt.InvalidIssuerError
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=["RS256"],
            audience=AUDIENCE,
            issuer=issuer,
            leeway=self.leeway_seconds,
            options={"verify_exp": self.checks_exp, "verify_sub": False},
        )
        return claims
