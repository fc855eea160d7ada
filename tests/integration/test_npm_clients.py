"""npm's OAuth client libraries, unmodified, complete the device flow: `clients/` has a script for each.

The scripts poll in real time, each second.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mock_issuer import Config, Server
from mock_issuer.config import Profile
from tests.kit.npm_packages import installed
from tests.kit.person import Person
from tests.kit.processes import ROOT
from tests.kit.verification import verified

SOURCE = ROOT / "tests" / "integration" / "clients"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("node"),
    pytest.mark.needs("npm"),
    pytest.mark.timeout(180),  # npm ci may download
]


@pytest.fixture(scope="session")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts with the packages of the lock file beside them, installed once for all workers."""
    return installed(SOURCE, "npm-clients", tmp_path_factory)


@pytest.fixture
def issuer(client: str, profile: Profile, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    # node-auth0 speaks https alone.
    with Server(Config(profile=profile, poll_interval_seconds=1), tls=client == "auth0") as server:
        if server.ca_file:
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.ca_file))
            monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(server.ca_file))
        yield server


@contextmanager
def running(scripts: Path, client: str, issuer: Server) -> Iterator[tuple[str, Iterator[Any]]]:
    """Run a script; yield its user code and an iterator over the lines that follow. It must exit with status 0."""
    command = ["node", f"{client}.mjs", issuer.url]
    # What it writes to stderr, pytest shows if the test fails.
    with subprocess.Popen(command, cwd=scripts, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            lines = map(json.loads, process.stdout)
            yield next(lines)["user_code"], lines
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()


# The profile rfc refuses JSON, which node-auth0 sends.
WITH_PROFILES: list[tuple[str, Profile]] = [
    ("openid_client", "auth0"),
    ("openid_client", "rfc"),
    ("oauth4webapi", "auth0"),
    ("oauth4webapi", "rfc"),
    ("auth0", "auth0"),
]


@pytest.mark.parametrize(("client", "profile"), WITH_PROFILES)
def test_it_connects_refreshes_and_revokes(scripts: Path, client: str, issuer: Server) -> None:
    with running(scripts, client, issuer) as (user_code, lines):
        with Person(issuer.url) as person:
            person.approve(user_code)
        tokens = next(lines)
        first, renewed = verified(issuer, tokens["access_token"]), verified(issuer, tokens["renewed_access_token"])
        assert first.subject_or_none == renewed.subject_or_none == "mock|alice"
        assert first.token_id != renewed.token_id
        assert tokens["userinfo"] == {"sub": "mock|alice"}
        assert list(lines) == [{"error": "invalid_grant"}]  # a refresh with the revoked token


@pytest.mark.parametrize(("client", "profile"), WITH_PROFILES)
def test_it_waits_while_the_request_is_pending(scripts: Path, client: str, issuer: Server) -> None:
    issuer.script(after_polls=2, outcome="approve")
    with running(scripts, client, issuer) as (_, lines):
        assert verified(issuer, next(lines)["access_token"]).subject_or_none == "mock|alice"


@pytest.mark.parametrize(("client", "profile"), WITH_PROFILES)
@pytest.mark.parametrize(("outcome", "error"), [("deny", "access_denied"), ("expire", "expired_token")])
def test_it_understands_denied_and_expired(
    scripts: Path, client: str, issuer: Server, outcome: Any, error: str
) -> None:
    issuer.script(after_polls=1, outcome=outcome)
    with running(scripts, client, issuer) as (_, lines):
        assert list(lines) == [{"error": error}]


@pytest.mark.parametrize(("client", "profile"), [("auth0", "rfc")])
def test_node_auth0_cannot_connect_to_the_profile_rfc(scripts: Path, client: str, issuer: Server) -> None:
    command = ["node", f"{client}.mjs", issuer.url]
    ended = subprocess.run(command, cwd=scripts, capture_output=True, text=True, timeout=50, check=False)
    assert ended.returncode == 1
    assert "AuthApiError" in ended.stderr
    assert "error: 'invalid_request'" in ended.stderr
