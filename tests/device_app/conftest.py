"""Fixtures: a scripted issuer and API over real HTTP, and a clock on which waiting takes no time."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from click.testing import CliRunner, Result

from device_app.cli import cli
from device_app.http.transport import secure_session
from device_app.model.times import Clock
from device_app.model.tokens import LoginRequest, Tokens
from device_app.storage.token_file import TokenStore

# Status, body (JSON unless it is a string) and perhaps headers. Status 0 closes the connection without an answer.
Answer = tuple[int, Any] | tuple[int, Any, Mapping[str, str]]

START = 1_800_000_000.0


@dataclass(frozen=True, kw_only=True)
class Received:
    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    headers: Mapping[str, str]
    body: str


@dataclass
class ScriptedServer:
    """Answers each route with the answers of its script, in order; the last one repeats."""

    address: str
    received: list[Received] = field(default_factory=list)
    scripts: dict[tuple[str, str], list[Answer]] = field(default_factory=dict)
    turn: threading.Lock = field(default_factory=threading.Lock)
    before_answer: Callable[[Received], None] = lambda _: None

    @property
    def issuer(self) -> str:
        return self.address + "/"

    def on(self, route: str, *answers: Answer) -> None:
        method, path = route.split(" ")
        self.scripts[method, path] = list(answers)

    def announce(self, **changes: Any) -> None:
        document = {
            "issuer": self.issuer,
            "device_authorization_endpoint": self.address + "/device",
            "token_endpoint": self.address + "/token",
            "revocation_endpoint": self.address + "/revoke",
        } | changes
        self.on("GET /.well-known/openid-configuration", (200, document))

    def offer_code(self, **changes: Any) -> None:
        code = {
            "device_code": "device-code-secret",
            "user_code": "BDWP-HQPK",
            "verification_uri": self.address + "/activate",
            "verification_uri_complete": self.address + "/activate?user_code=BDWP-HQPK",
            "expires_in": 900,
            "interval": 5,
        } | changes
        self.on("POST /device", (200, {name: value for name, value in code.items() if value is not ...}))

    def to(self, path: str) -> list[Received]:
        return [request for request in self.received if request.path == path]

    def answer(self, request: Received) -> Answer:
        with self.turn:
            self.received.append(request)
            self.before_answer(request)
            script = self.scripts.get((request.method, request.path))
            if not script:
                return 404, {"title": "Not Found", "status": 404}
            return script.pop(0) if len(script) > 1 else script[0]


@contextlib.contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._respond("")

        def do_POST(self) -> None:
            self._respond(self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode())

        def _respond(self, body: str) -> None:
            url = urlsplit(self.path)
            status, content, *headers = scripted.answer(
                Received(
                    method=self.command,
                    path=url.path,
                    query=dict(parse_qsl(url.query)),
                    form=dict(parse_qsl(body)),
                    headers=dict(self.headers.items()),
                    body=body,
                )
            )
            if status == 0:
                return
            payload = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            for name, value in (headers[0] if headers else {}).items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the client has closed the connection
                self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scripted = ScriptedServer(address=f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield scripted
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as scripted:
        scripted.announce()
        yield scripted


@dataclass
class FakeTime:
    """A clock that only `sleep` advances."""

    elapsed: float = 0.0
    slept: list[float] = field(default_factory=list)
    interrupted: bool = False

    def sleep(self, seconds: float) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.slept.append(round(seconds, 3))
        self.elapsed += seconds

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: START + self.elapsed, monotonic=lambda: self.elapsed, sleep=self.sleep)


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with secure_session(requests.Session(), None) as session:
        yield session


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "tokens.json"


@pytest.fixture
def login_request(server: ScriptedServer) -> LoginRequest:
    return LoginRequest(
        issuer=server.issuer,
        client_id="device-app",
        audience="https://device-api.example",
        scope="openid offline_access read:devices",
    )


@pytest.fixture
def tokens(login_request: LoginRequest) -> Tokens:
    return Tokens(
        request=login_request,
        scope=login_request.scope,
        access_token="access-secret-1",
        refresh_token="refresh-secret-1",
        expires_at=START + 3600,
    )


@pytest.fixture
def logged_in(token_file: Path, time: FakeTime, tokens: Tokens) -> Path:
    """Store a login, and return its file."""
    store = TokenStore(token_file, time.clock)
    with store.locked():
        store.save(tokens)
    return token_file


@pytest.fixture
def environment(server: ScriptedServer, token_file: Path) -> dict[str, str]:
    return {
        "DEVICE_ISSUER": server.issuer,
        "DEVICE_API": server.address,
        "DEVICE_TOKEN_FILE": str(token_file),
    }


Run = Callable[..., Result]


@pytest.fixture
def run(environment: dict[str, str], time: FakeTime) -> Run:
    """Run `device` with these arguments, in this process and on the fake clock.

    Fails if a token is printed, except with `secrets=True`.
    """

    def invoke(*words: str, secrets: bool = False) -> Result:
        result = CliRunner().invoke(cli, words, env=environment, obj=time.clock)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert secrets or "secret" not in result.output
        return result

    return invoke
