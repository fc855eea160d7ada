"""What a server logs when it has started, under each way to start it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from api.auth import AuthConfig, TrustedIssuer, __version__
from api.operations.log.configuration import configure_logging
from api.operations.server.start import log_start
from api.settings import Settings
from tests.kit.processes import BIN, ROOT, environment, free_port

GUNICORN = [str(BIN / "gunicorn"), "-c", "gunicorn.conf.py", "api:create_app()"]
SERVE = [sys.executable, "-m", "api", "serve"]


def line_of_start(command: list[str], **variables: str) -> dict[str, Any]:
    """Return the line that a server logs, once, when it has started; stop it then."""
    required = {"API_ISSUERS": "https://a.example/,https://b.example", "API_AUDIENCE": "a", "WEB_CONCURRENCY": "2"}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment({**required, **variables}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        lines = map(json.loads, process.stderr)
        started: dict[str, Any] = next(line for line in lines if line["event"] == "server_started")
        process.terminate()
        # Until its end, so that no full pipe holds it up.
        assert not any(line["event"] == "server_started" for line in lines)
        assert process.wait(timeout=30) == 0
    return started


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(GUNICORN, id="gunicorn"),
        pytest.param(SERVE, id="serve"),
        pytest.param([*SERVE, "--server", "granian"], id="granian", marks=pytest.mark.needs("granian")),
    ],
)
def test_a_server_logs_where_it_listens_and_what_it_uses(command: list[str]) -> None:
    port = str(free_port())
    line = line_of_start(
        command,
        PORT=port,
        API_DATABASE_URL="postgresql+psycopg://user:geheim@127.0.0.1/name",
        API_REDIS_URL="redis://:geheim@127.0.0.1",
    )
    assert line.pop("timestamp")
    assert line.pop("pid")
    assert line == {
        "level": "info",
        "event": "server_started",
        "addresses": [f"http://127.0.0.1:{port}"],
        "docs": f"http://127.0.0.1:{port}/docs",
        "version": __version__,
        "workers": 2,
        "issuers": ["https://a.example/", "https://b.example"],
        "database": "postgresql",
        "redis": True,
    }


@pytest.mark.slow
def test_options_of_gunicorn_and_a_port_of_its_choice_are_told_as_they_are(tmp_path: Path) -> None:
    options = ["--workers", "1", "--bind", "127.0.0.1:0", "--bind", f"unix:{tmp_path}/api.sock"]
    line = line_of_start([*SERVE, *options], WEB_CONCURRENCY="")
    (tcp, unix) = line["addresses"]
    assert tcp.startswith("http://127.0.0.1:")
    assert not tcp.endswith(":0")
    assert (unix, line["docs"], line["workers"]) == (f"unix:{tmp_path}/api.sock", f"{tcp}/docs", 1)
    assert (line["database"], line["redis"]) == ("sqlite", False)


@pytest.mark.parametrize(
    ("addresses", "public_url", "docs"),
    [
        (["http://0.0.0.0:80"], None, "http://127.0.0.1:80/docs"),
        (["http://[::]:8000"], None, "http://[::1]:8000/docs"),
        (["unix:/run/api.sock", "https://10.0.0.1:8443"], None, "https://10.0.0.1:8443/docs"),
        (["unix:/run/api.sock"], None, None),
        (["http://0.0.0.0:80"], "https://api.example/devices/", "https://api.example/devices/docs"),
    ],
)
def test_the_docs_have_an_address_for_a_browser(
    capsys: pytest.CaptureFixture[str], addresses: list[str], public_url: str | None, docs: str | None
) -> None:
    issuer = TrustedIssuer(identifier="https://issuer.example/", audiences=("a",))
    settings = Settings(auth=AuthConfig(issuers=(issuer,)), public_url=public_url)
    configure_logging(settings.log_level)
    log_start(settings, addresses, 1)
    assert json.loads(capsys.readouterr().err)["docs"] == docs
