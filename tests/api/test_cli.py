import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from sqlalchemy import text

from api import cli
from api.auth import AccessToken
from api.auth.claims import read_claims
from api.database.engine import open_engine, write_transaction
from api.database.schema import schema_is_current
from api.docs import contract
from api.shared.redis import SharedRedis
from api.shared.revocations import SharedRevocations
from tests.kit.key_server import KeyServer, document
from tests.kit.processes import ROOT, environment, free_port, wait_until_ready
from tests.kit.redis_server import RedisServer
from tests.kit.signing import AUDIENCE, claims

Run = Callable[..., Result]


@pytest.fixture
def variables(key_server: KeyServer, tmp_path: Path) -> dict[str, str]:
    return {
        "API_ISSUERS": key_server.issuer,
        "API_AUDIENCE": AUDIENCE,
        "API_DATABASE_URL": f"sqlite:///{tmp_path}/devices.db",
    }


@pytest.fixture
def run(variables: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command; keywords change its settings."""
    import os

    for name in os.environ:
        if name.startswith("API_"):
            monkeypatch.delenv(name)

    def run(*arguments: str, **changes: str) -> Result:
        return CliRunner().invoke(cli.main, arguments, env={**variables, **changes}, prog_name="device-api")

    return run


@pytest.mark.parametrize("command", ["check", "db upgrade", "revoke --jti x", "serve"])
def test_invalid_settings_are_reported_together(run: Run, command: str) -> None:
    ended = run(*command.split(), API_ISSUERS="", API_LEEWAY_SECONDS="long")
    assert ended.exit_code == 2
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        "2 settings are invalid (see docs/settings.md):",
        "  API_ISSUERS: is required.",
        "  API_LEEWAY_SECONDS: is not a whole number.",
    ]


def test_help_lists_exit_statuses_and_commands(run: Run) -> None:
    text = " ".join(run("--help").stdout.split())
    assert "0 for success, 1 for a failure, 2 for invalid settings" in text
    assert {"serve", "check", "db", "revoke", "openapi"} <= set(text.split())


# check


def test_check_succeeds(run: Run, key_server: KeyServer) -> None:
    assert run("db", "upgrade").exit_code == 0
    ended = run("check")
    assert ended.stdout.splitlines() == [
        "settings: ok",
        f"keys of {key_server.issuer}: ok",
        "database: ok",
        "schema: ok",
    ]
    assert ended.exit_code == 0


@pytest.mark.needs("redis-server")
def test_redis_is_checked_if_it_is_set(run: Run, redis_server: RedisServer) -> None:
    assert run("db", "upgrade").exit_code == 0
    assert run("check", API_REDIS_URL=redis_server.url).stdout.splitlines()[-1] == "redis: ok"


def test_each_failure_is_reported_without_passwords(run: Run, key_server: KeyServer) -> None:
    key_server.break_keys(document(b"", status=500))
    port = free_port()
    ended = run(
        "check",
        API_DATABASE_URL=f"postgresql+psycopg://somebody:geheim@127.0.0.1:{port}/x",
        API_REDIS_URL=f"redis://:geheim@127.0.0.1:{port}",
    )
    assert ended.exit_code == 1
    lines = dict(line.split(": ", 1) for line in ended.stdout.splitlines())
    assert lines["settings"] == "ok"
    assert lines[f"keys of {key_server.issuer}"] == "the status is not 200"
    assert lines["database"] == "cannot be reached (OperationalError)"
    assert "schema" not in lines
    assert lines["redis"] == "cannot be reached (ConnectionError)"
    assert "geheim" not in ended.output
    assert "Traceback" not in ended.output


def test_an_outdated_schema_is_reported(run: Run) -> None:
    ended = run("check")
    assert ended.exit_code == 1
    assert ended.stdout.splitlines()[-2:] == ["database: ok", "schema: is out of date; run device-api db upgrade"]


def test_an_unreadable_schema_is_reported(run: Run, variables: Mapping[str, str]) -> None:
    engine = open_engine(variables["API_DATABASE_URL"])
    with write_transaction(engine) as connection:
        connection.execute(text("CREATE TABLE alembic_version (mine INTEGER)"))
    engine.dispose()
    ended = run("check")
    assert ended.exit_code == 1
    assert ended.stdout.splitlines()[-2:] == ["database: ok", "schema: cannot be read (OperationalError)"]


def test_an_invalid_key_set_is_reported(run: Run, key_server: KeyServer) -> None:
    key_server.publish(b"<html></html>")
    ended = run("check")
    assert ended.exit_code == 1
    assert f"keys of {key_server.issuer}: ok" not in ended.stdout


# db upgrade


def test_upgrade_can_be_repeated(run: Run, variables: Mapping[str, str]) -> None:
    for _ in range(2):
        ended = run("db", "upgrade")
        assert (ended.exit_code, ended.stdout) == (0, "The schema is up to date.\n")
    engine = open_engine(variables["API_DATABASE_URL"])
    assert schema_is_current(engine)
    engine.dispose()


def test_a_failed_upgrade_is_reported(run: Run, tmp_path: Path) -> None:
    ended = run("db", "upgrade", API_DATABASE_URL=f"sqlite:///{tmp_path}")  # a folder
    assert ended.exit_code == 1
    assert ended.stderr == "Error: The database was not upgraded: OperationalError.\n"


# revoke


@pytest.mark.needs("redis-server")
def test_revoke(run: Run, redis_server: RedisServer, key_server: KeyServer) -> None:
    for option, value in (("--jti", "token-1"), ("--sub", "user-2")):
        ended = run("revoke", option, value, API_REDIS_URL=redis_server.url)
        assert (ended.exit_code, ended.stdout) == (0, "Revoked. All processes refuse it within 5 seconds.\n")
    revocations = SharedRevocations(SharedRedis(redis_server.url))
    issuer, now = key_server.issuer, int(time.time())
    for changes, revoked in (
        ({}, True),
        ({"jti": "token-2"}, False),
        ({"jti": None, "sub": "user-2"}, True),
        ({"jti": None, "sub": "user-2", "iat": now + 60}, False),
    ):
        token = read_claims(claims(now, iss=issuer, **changes), b"{}", issuer, ("scope",))
        assert revocations.is_revoked(token) is revoked
    revocations.close()


@pytest.mark.needs("redis-server")
def test_revoke_allows_for_clock_differences(run: Run, redis_server: RedisServer, key_server: KeyServer) -> None:
    before = time.time()
    variables = {"API_REDIS_URL": redis_server.url, "API_LEEWAY_SECONDS": "20"}
    assert run("revoke", "--sub", "user-2", "--for", "60", **variables).exit_code == 0
    issuer, after = key_server.issuer, time.time()

    def is_revoked(token: AccessToken, now: float) -> bool:
        revocations = SharedRevocations(SharedRedis(redis_server.url), now=lambda: now)
        try:
            return revocations.is_revoked(token)
        finally:
            revocations.close()

    def issued_at(time: float) -> AccessToken:
        return read_claims(claims(int(time), iss=issuer, sub="user-2"), b"{}", issuer, ("scope",))

    # The issuer's clock may be ahead of this machine's, and a token is accepted for the leeway after its `exp`.
    assert is_revoked(issued_at(before + 20), after)
    assert is_revoked(issued_at(before + 20), before + 20 + 60 + 20)
    assert not is_revoked(issued_at(after + 22), after)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Give either --jti or --sub."),
        (("--jti", "a", "--sub", "b"), "Give either --jti or --sub."),
        (("--jti", "", "--sub", "b"), "Give either --jti or --sub."),
        (("--jti", ""), "Give either --jti or --sub."),
        (("--sub", ""), "Give either --jti or --sub."),
        (("--jti", "a", "--issuer", "https://other.example/"), "is not a trusted issuer"),
        (("--jti", "a", "--for", "0"), "0 is not in the range"),
        (("--jti", "a", "--for", "9" * 400), "is not in the range"),
    ],
)
def test_revoke_rejects_invalid_arguments(run: Run, arguments: tuple[str, ...], message: str) -> None:
    ended = run("revoke", *arguments, API_REDIS_URL="redis://127.0.0.1:1")
    assert ended.exit_code == 2
    assert message in ended.stderr


def test_revoke_requires_an_issuer_if_several_are_trusted(run: Run, key_server: KeyServer) -> None:
    issuers = f"{key_server.issuer},https://other.example/"
    ended = run("revoke", "--jti", "a", API_ISSUERS=issuers, API_REDIS_URL="redis://127.0.0.1:1")
    assert ended.exit_code == 2
    assert "Give --issuer" in ended.stderr


def test_revoke_requires_redis(run: Run) -> None:
    ended = run("revoke", "--jti", "token-1")
    assert ended.exit_code == 2
    assert "API_REDIS_URL is not set: the running processes receive revocations through Redis." in ended.stderr


def test_revoke_fails_if_redis_is_unreachable(run: Run) -> None:
    ended = run("revoke", "--jti", "token-1", API_REDIS_URL=f"redis://127.0.0.1:{free_port()}")
    assert ended.exit_code == 1
    assert ended.stderr == "Error: Redis cannot be reached, so nothing was revoked: ConnectionError.\n"


# openapi


def test_the_contract_is_printed(run: Run) -> None:
    text = (ROOT / "openapi.yaml").read_text(encoding="utf-8")
    assert run("openapi").stdout == text
    assert json.loads(run("openapi", "--json").stdout) == yaml.safe_load(text)


def test_a_missing_contract_is_reported(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(contract, "_PATH", tmp_path / "openapi.yaml")
    contract.contract_as_yaml.cache_clear()
    ended = run("openapi")
    assert ended.exit_code == 1
    assert ended.stderr == "Error: openapi.yaml is not installed; copy it next to the folder api.\n"


# serve


@pytest.mark.slow
def test_serve_runs_gunicorn_in_its_place(variables: Mapping[str, str], tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "api", "serve", "--workers", "1"],
        cwd=ROOT,
        env=environment({**variables, "PORT": str(port)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        wait_until_ready(process, f"http://127.0.0.1:{port}/livez")
        assert "gunicorn" in Path(f"/proc/{process.pid}/cmdline").read_text(encoding="utf-8")
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output


def test_a_missing_gunicorn_configuration_is_reported(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cli, "_GUNICORN_CONFIG", tmp_path / "gunicorn.conf.py")
    ended = run("serve")
    assert ended.exit_code == 1
    assert ended.stderr == "Error: gunicorn.conf.py is not installed; copy it next to the folder api.\n"
