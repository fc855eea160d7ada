"""An issuer that serves the table, and the check with its output."""

import json
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlencode

import pytest

from mock_issuer.flow.keys import SigningKeys
from mock_issuer.hostile.check import main
from mock_issuer.hostile.request import to_json
from mock_issuer.hostile.table import hostile_requests
from tests.kit.key_server import KeyServer, document
from tests.kit.signing import AUDIENCE
from tests.mock_issuer.hostile.servers import SCOPE

Check = Callable[..., tuple[int, str, str]]
PublishTable = Callable[..., None]


@pytest.fixture(scope="session")
def keys() -> SigningKeys:
    return SigningKeys()


@pytest.fixture(scope="session")
def publish_table(keys: SigningKeys) -> PublishTable:
    def publish(key_server: KeyServer, scope: str, **query: str) -> None:
        audience = query.get("audience", AUDIENCE)
        rows = hostile_requests(keys, issuer=key_server.issuer, audience=audience, scope=scope, now=int(time.time()))
        body = json.dumps({"requests": [to_json(row) for row in rows]}).encode()
        key_server.answers[f"/_mock/hostile?{urlencode({'scope': scope, **query})}"] = document(body)

    return publish


@pytest.fixture(scope="session")
def key_server(publish_table: PublishTable) -> Iterator[KeyServer]:
    """Serve a table for each scope, made once: each takes 300 signatures."""
    with KeyServer() as server:
        for scope in (SCOPE, "", "read:unknown"):
            publish_table(server, scope)
        yield server


@pytest.fixture
def issuer(key_server: KeyServer, keys: SigningKeys) -> KeyServer:
    """Publish the keys again, since some tests break them."""
    key_server.publish(json.dumps(keys.jwks()).encode())
    return key_server


@pytest.fixture
def check(issuer: KeyServer, capsys: pytest.CaptureFixture[str]) -> Check:
    """Return a function that runs the check and returns its status and output.

    Without the options that print tokens, it checks that none is printed and that no line is longer than 80 characters.
    """

    def run(url: str, *options: str, scope: str = SCOPE) -> tuple[int, str, str]:
        status = main([url, "--scope", scope, "--issuer", issuer.issuer, *options])
        out, err = capsys.readouterr()
        if not {"--curl", "--json", "--junit"} & set(options):
            assert "eyJ" not in out + err
            assert max((len(line) for line in (out + err).splitlines()), default=0) <= 80
        return status, out, err

    return run
