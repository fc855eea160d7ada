"""Every row of the table over real HTTP: gunicorn, raw sockets, keys from a live issuer. Each is sent twice, since a
token that was seen before takes another way through the verifier."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from api import auth
from api.database.schema import upgrade
from tests.api.auth.answers import (
    Response,
    assert_answer,
    assert_not_cached,
    parse_challenge,
    parse_response,
    secrets_of,
)
from tests.api.auth.rejections import (
    APIS,
    ATTACKERS_KEYS,
    DEVICES,
    ME,
    READINGS,
    ROWS,
    SECOND_AUDIENCE,
    Row,
    World,
    bearer,
    http,
    introspected,
    key,
    key_sets,
)
from tests.kit.key_server import KeyServer, document
from tests.kit.signing import AUDIENCE, jwks

ROOT = Path(__file__).parents[3]
GUNICORN = [sys.executable, "-m", "gunicorn"]
# With the option --auth-copy, this is that copy; the API has to import it too.
FOLDER = Path(auth.__file__).parent
IMPORT_COPY = """\
import runpy
import sys
from pathlib import Path
from types import ModuleType
from tests.api.auth.copied_folder import import_as_api_auth
sys.modules["api"] = ModuleType("api")  # an empty one, since the API's imports the folder here
import_as_api_auth(Path(sys.argv.pop(1)))
del sys.modules["api"]
runpy.run_module("gunicorn", run_name="__main__", alter_sys=True)
"""
UNREACHABLE = ("broken", "html", "moved", "huge", "liar", "nowhere")
EXCHANGE_SECONDS = 15


# --- The API and its issuers ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def issuers() -> Iterator[KeyServer]:
    with KeyServer() as server:
        for name, entries in key_sets().items():
            publish(server, name, jwks(*entries))
        for name, answer in {
            "broken": document(b"{}", status=500),
            "html": document(b"<!DOCTYPE html><p>Sign in"),
            "moved": document(b"", status=302, headers={"Location": f"{server.origin}/main/jwks.json"}),
            "huge": document(jwks(key("kid-main")) + b" " * 256 * 1024),
        }.items():
            publish(server, name, b"{}")
            server.answers[f"/{name}/jwks.json"] = answer
        publish(server, "liar", jwks(key("kid-main")), identifier=f"{server.origin}/main/")
        server.answers["/main/introspect"] = introspect
        server.answers[ATTACKERS_KEYS] = document(jwks(key("kid-main/attacker")))
        yield server


def introspect(handler: Any) -> None:
    (unverified_token,) = parse_qs(handler.form.decode())["token"]
    issuer = f"http://{handler.headers['Host']}/main/"
    status, body = introspected(unverified_token, issuer, int(time.time()))
    document(body, status=status)(handler)


def publish(server: KeyServer, name: str, keys: bytes, identifier: str | None = None) -> None:
    jwks_path = f"/{name}/jwks.json"
    metadata = {"issuer": identifier or f"{server.origin}/{name}/", "jwks_uri": f"{server.origin}{jwks_path}"}
    server.answers[f"/{name}/.well-known/openid-configuration"] = document(json.dumps(metadata).encode())
    server.answers[jwks_path] = document(keys)


class Api:
    """One gunicorn process on an ephemeral port. The port is ours from the start, so that nobody has to wait for it."""

    def __init__(self, issuers: KeyServer, folder: Path, settings: dict[str, str]) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("API_", "COV_"))}
        environment |= {
            "API_ISSUERS": ",".join(f"{issuers.origin}/{name}/" for name in (*key_sets(), *UNREACHABLE)),
            "API_AUDIENCE": f"{AUDIENCE},{SECOND_AUDIENCE}",
            "API_DATABASE_URL": f"sqlite:///{folder / 'api.db'}",
            "WEB_CONCURRENCY": "1",
            **{name: value.replace("{origin}", issuers.origin) for name, value in settings.items()},
        }
        upgrade(environment["API_DATABASE_URL"])
        self.log = folder / "log"
        with socket.create_server(("127.0.0.1", 0)) as listener, self.log.open("wb") as log:
            self.port: int = listener.getsockname()[1]
            environment["PORT"] = str(self.port)
            self.process = subprocess.Popen(
                [
                    *(
                        GUNICORN
                        if FOLDER == ROOT / "api" / "auth"
                        else [sys.executable, "-c", IMPORT_COPY, str(FOLDER)]
                    ),
                    "-c",
                    "gunicorn.conf.py",
                    "-b",
                    f"fd://{listener.fileno()}",
                    "api:create_app()",
                ],
                cwd=ROOT,
                env=environment,
                stderr=log,
                pass_fds=[listener.fileno()],
            )

    def exchange(self, request: bytes) -> Response:
        with socket.create_connection(("127.0.0.1", self.port), EXCHANGE_SECONDS) as connection:
            received = b""
            # A server that has heard enough answers, and closes without reading the rest.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(request)
            with contextlib.suppress(ConnectionResetError):
                while chunk := connection.recv(65_536):
                    received += chunk
        return parse_response(received)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(EXCHANGE_SECONDS)


class Apis(dict[str, Api]):
    """The APIs by name, each started when it is first asked for."""

    def __init__(self, issuers: KeyServer, folder: Path) -> None:
        super().__init__()
        self._issuers = issuers
        self._folder = folder

    def __missing__(self, name: str) -> Api:
        folder = self._folder / name
        folder.mkdir()
        self[name] = Api(self._issuers, folder, dict(APIS[name]))
        return self[name]


@pytest.fixture(scope="session")
def apis(issuers: KeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apis]:
    apis = Apis(issuers, tmp_path_factory.mktemp("apis"))
    try:
        yield apis
    finally:
        for api in apis.values():
            api.stop()


# --- The tests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "Bearer",
        'Bearer realm="a" error="b"',
        "Bearer realm=a",
        'Bearer realm="a", realm="b"',
        'Bearer realm="a", Bearer realm="b"',
        'Bearer realm="a\\"b"',
        'Bearer realm="a",',
        'Basic realm="a"',
        'Bearer realm="ä"',
    ],
)
def test_the_challenge_parser_is_strict(value: str) -> None:
    with pytest.raises(AssertionError):
        parse_challenge(value)


def metadata_url(row: Row, request: bytes, host_of_server: str) -> str | None:
    """Return where the challenge must point, or None where the request's Host is no host."""
    if "API_PUBLIC_URL" in APIS[row.api]:
        return "https://api.example/.well-known/oauth-protected-resource"
    field = re.search(r"(?mi)^host:[ \t]*([^\r\n]*)", request.decode("latin-1"))
    host = field[1] if field else host_of_server
    return f"http://{host}/.well-known/oauth-protected-resource" if re.fullmatch(r"[a-z0-9.:-]+", host) else None


@pytest.mark.parametrize("row", [pytest.param(row, id=f"{row.api}: {row.what}") for row in ROWS])
def test_row(row: Row, apis: Apis, issuers: KeyServer) -> None:
    api = apis[row.api]
    world = World(f"127.0.0.1:{api.port}", issuers.origin, int(time.time()))
    request = row.send(world)
    for response in (api.exchange(request), api.exchange(request)):
        assert_answer(response, row.answer, request, metadata_url(row, request, world.host))
    assert ATTACKERS_KEYS not in issuers.requests


def test_the_table_is_what_the_issue_asks_for() -> None:
    assert len(ROWS) >= 200
    assert max(Counter((row.api, row.what) for row in ROWS).values()) == 1
    assert all(row.why for row in ROWS)


def test_what_a_good_token_says(apis: Apis, issuers: KeyServer) -> None:
    api = apis["usual"]
    world = World(f"127.0.0.1:{api.port}", issuers.origin, int(time.time()))
    response = api.exchange(bearer(world, claims={"scope": "b a", "permissions": ["x"]}))
    assert_not_cached(response)
    body = json.loads(response.body)
    assert body.pop("expires_at")
    assert body == {
        "sub": "subject-of-the-row",
        "client_id": "client-of-the-row",
        "scopes": ["a", "b"],
        "permissions": [],
        "issuer": world.issuer("main"),
    }


@pytest.mark.parametrize("path", [ME, DEVICES, READINGS])
def test_options_is_open(apis: Apis, issuers: KeyServer, path: str) -> None:
    # A browser's preflight carries no credentials (Fetch §3.2.1).
    api = apis["usual"]
    world = World(f"127.0.0.1:{api.port}", issuers.origin, int(time.time()))
    assert api.exchange(http(world, to=path, method="OPTIONS")).status == 200


def test_the_log_holds_no_token(apis: Apis, issuers: KeyServer) -> None:
    api = apis["usual"]
    world = World(f"127.0.0.1:{api.port}", issuers.origin, int(time.time()))
    requests = [
        bearer(world),
        bearer(world, header={"kid": "kid-of-nobody"}),
        bearer(world, claims={"exp": 1}),
        http(world, "Bearer word-of-the-row another-word"),
        http(world, "Bearer token-of-the-row\0"),
        http(world, headers=["Authorization : Bearer token-of-the-row"]),
        http(world, to="/v1/me?access_token=token-of-the-row"),
    ]
    for request in requests:
        api.exchange(request)
    # A thread writes the lines, after the answers.
    deadline = time.monotonic() + 10
    while '"auth_refused": "header_malformed"' not in (log := api.log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "of-the-row" not in log
    for request in requests:
        for secret in secrets_of(request):
            if not secret.startswith("http") and secret != "client_id":  # issuers and names of claims are no secrets
                assert secret not in log
