"""oidc-agent, as Debian packages it, completes the device flow over http and https, and refreshes its token."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mock_issuer import Config, Server
from tests.kit.processes import ROOT
from tests.kit.verification import verified

AUDIENCE = "https://device-api.example"
SCOPE = "openid read:devices offline_access"
TIMEOUT_SECONDS = 50
pytestmark = [pytest.mark.needs("oidc-agent"), pytest.mark.slow]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(params=["http", "https"])
def issuer(request: pytest.FixtureRequest) -> Iterator[Server]:
    """An issuer with a default audience: oidc-agent sends none in the device flow."""
    with Server(Config(default_audience=AUDIENCE, poll_interval_seconds=1), tls=request.param == "https") as server:
        yield server


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Start an agent of this test's own; return a function that runs one of its programs."""
    configuration = tmp_path / "oidc-agent"
    configuration.mkdir()
    own = {"HOME": str(tmp_path), "OIDC_CONFIG_DIR": str(configuration), "ENCRYPTION_PASSWORD": "test"}
    variables = {**os.environ, **own}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    variables |= dict(re.findall(r"^(OIDC\w+)=([^;]+);", run("oidc-agent", "--no-autoload").stdout, re.MULTILINE))
    try:
        yield run
    finally:
        os.kill(int(variables["OIDCD_PID"]), signal.SIGTERM)


def test_oidc_agent_connects_and_refreshes(issuer: Server, run: Run) -> None:
    issuer.script(after_polls=1, outcome="approve")
    trust = ["--cert-path", str(issuer.ca_file)] if issuer.ca_file else []
    client = ["--issuer", issuer.url, "--client-id", "device-app", "--client-secret", "", "--scope", SCOPE]
    quiet = ["--no-url-call", "--prompt=none", "--confirm-default", "--pw-env=ENCRYPTION_PASSWORD"]
    shown = run("oidc-gen", "--manual", "--flow=device", *client, *trust, *quiet, "tv")
    assert f"{issuer.url}activate" in shown.stdout + shown.stderr
    first = run("oidc-token", "tv").stdout.strip()
    token = verified(issuer, first)
    assert token.subject_or_none == "mock|alice"
    assert AUDIENCE in token.audiences
    renewed = run("oidc-token", "--force-new", "tv").stdout.strip()
    assert renewed != first
    assert verified(issuer, renewed).subject_or_none == "mock|alice"
    types = [event.type for event in issuer.events if event.type != "jwks"]
    # oidc-gen may refresh by itself; each refresh replaced the refresh token.
    assert types[0] == "sede"
    assert set(types[1:]) == {"sertft"}


def test_the_readme_names_it() -> None:
    readme = (ROOT / "mock_issuer" / "README.md").read_text(encoding="utf-8")
    assert re.search(r"^\| `oidc-agent` \(Debian, .*?\) \| \d+\.\d+\.\d+ \|", readme, re.MULTILINE)
