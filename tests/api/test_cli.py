import errno
import hashlib
import json
import os
import re
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

from api import auth, cli
from api.auth import AccessToken, TrustedIssuer
from api.auth.claims import read_claims
from api.database import schema
from api.database.engine import open_database, write_transaction
from api.database.schema import schema_is_current
from api.docs import contract
from api.shared.redis import SharedRedis
from api.shared.revocations import SharedRevocations
from tests.kit.databases import POSTGRESQL, postgresql_schema
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
    assert {"auth", "serve", "check", "db", "revoke", "openapi"} <= set(text.split())


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


def test_a_key_set_without_a_usable_key_is_a_failure(run: Run, key_server: KeyServer) -> None:
    key_server.publish(b'{"keys":[]}')
    assert f"keys of {key_server.issuer}: no usable key" in run("check").stdout.splitlines()


def test_whether_the_issuer_can_be_asked_about_tokens_is_checked(run: Run, key_server: KeyServer) -> None:
    variables = {
        "API_INTROSPECTION_CLIENT_ID": "api",
        "API_INTROSPECTION_CLIENT_SECRET": "top-secret",
        "API_INTROSPECTION_ENDPOINT": f"{key_server.origin}/introspect",
    }
    key_server.answers["/introspect"] = document(b"{}", status=401)
    ended = run("check", **variables)
    line = f"keys of {key_server.issuer}: introspection: the issuer refuses the credentials of this API"
    assert line in ended.stdout.splitlines()
    assert "top-secret" not in ended.output
    key_server.answers["/introspect"] = document(b'{"active":false}')
    assert f"keys of {key_server.issuer}: ok" in run("check", **variables).stdout.splitlines()


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
    assert lines["database"] == (f"cannot be reached: PostgreSQL at 127.0.0.1:{port}, database x: Connection refused")
    assert "schema" not in lines
    assert lines["redis"] == "cannot be reached (ConnectionError)"
    assert "geheim" not in ended.output
    assert "Traceback" not in ended.output


@pytest.mark.parametrize("command", ["check", "db upgrade"])
def test_a_database_that_cannot_be_opened_is_told_with_its_place(run: Run, tmp_path: Path, command: str) -> None:
    ended = run(*command.split(), API_DATABASE_URL=f"sqlite:///{tmp_path}/missing/devices.db")
    assert ended.exit_code == 1
    assert f"SQLite file {tmp_path}/missing/devices.db: unable to open database file" in ended.output


@pytest.mark.needs("postgresql")
@pytest.mark.parametrize("command", ["check", "db upgrade"])
def test_a_missing_database_is_told_by_its_name(run: Run, command: str) -> None:
    server, _, _ = POSTGRESQL.rpartition("/")
    ended = run(*command.split(), API_DATABASE_URL=f"{server}/no_such_database")
    assert ended.exit_code == 1
    assert 'database no_such_database: database "no_such_database" does not exist' in ended.output


@pytest.mark.needs("postgresql")
def test_an_upgrade_that_gets_no_lock_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_LOCK_ATTEMPTS", 2)
    monkeypatch.setattr(schema, "_LOCK_TIMEOUT_MILLISECONDS", 20)
    monkeypatch.setattr(schema, "_LOCK_PAUSE_SECONDS", 0)
    with postgresql_schema() as url:
        schema.upgrade(url, revision="0001")
        database = open_database(url)
        with write_transaction(database) as connection:
            connection.execute(text("SELECT * FROM devices"))
            ended = run("db", "upgrade", API_DATABASE_URL=url)
        database.close()
    assert ended.exit_code == 1
    assert ended.stderr.splitlines() == [
        (
            "Waiting for a lock: another transaction uses a table that a migration changes."
            " Trying again in 0 s (attempt 2 of 2)."
        ),
        "Error: The database was not upgraded: no lock was to be had in 2 attempts. Nothing was changed; run it again.",
    ]


def test_an_outdated_schema_is_reported(run: Run) -> None:
    ended = run("check")
    assert ended.exit_code == 1
    assert ended.stdout.splitlines()[-2:] == ["database: ok", "schema: is out of date; run device-api db upgrade"]


def test_an_unreadable_schema_is_reported(run: Run, variables: Mapping[str, str]) -> None:
    database = open_database(variables["API_DATABASE_URL"])
    with write_transaction(database) as connection:
        connection.execute(text("CREATE TABLE alembic_version (mine INTEGER)"))
    database.close()
    ended = run("check")
    assert ended.exit_code == 1
    path = variables["API_DATABASE_URL"].removeprefix("sqlite:///")
    assert ended.stdout.splitlines()[-2:] == [
        "database: ok",
        f"schema: cannot be read: SQLite file {path}: no such column: alembic_version.version_num",
    ]


SET_ISSUER = "set API_ISSUERS, or the identifier in API_ISSUERS_FILE, to exactly that"


@pytest.mark.parametrize(
    ("configured", "told"),
    [
        (
            "{origin}",
            f"the issuer's metadata names {{origin}}/ (with a final slash); {SET_ISSUER}",
        ),
        (
            "{origin}//",
            f"the issuer's metadata names {{origin}}/ (without a final slash); {SET_ISSUER}",
        ),
        ("{origin}/tenant", "the metadata names another issuer, {origin}/"),
    ],
)
def test_an_issuer_that_differs_from_its_metadata_is_told_what_those_name(
    run: Run, key_server: KeyServer, configured: str, told: str
) -> None:
    for path in ("//.well-known/openid-configuration", "/tenant/.well-known/openid-configuration"):
        key_server.answers[path] = key_server.answers["/.well-known/openid-configuration"]
    issuer = configured.format(origin=key_server.origin)
    ended = run("check", API_ISSUERS=issuer)
    assert ended.exit_code == 1
    assert f"keys of {issuer}: discovery: {told.format(origin=key_server.origin)}" in ended.stdout.splitlines()


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
    database = open_database(variables["API_DATABASE_URL"])
    assert schema_is_current(database)
    database.close()


def test_a_failed_upgrade_is_reported(run: Run, tmp_path: Path) -> None:
    ended = run("db", "upgrade", API_DATABASE_URL=f"sqlite:///{tmp_path}")  # a folder
    assert ended.exit_code == 1
    assert ended.stderr == (
        f"Error: The database was not upgraded: SQLite file {tmp_path}: unable to open database file.\n"
    )


# revoke


def trusted(issuer: str) -> TrustedIssuer:
    return TrustedIssuer(identifier=issuer, audiences=(AUDIENCE,))


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
        token = read_claims(claims(now, iss=issuer, **changes), b"{}", trusted(issuer))
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
        return read_claims(claims(int(time), iss=issuer, sub="user-2"), b"{}", trusted(issuer))

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


# auth copy, auth diff


def test_help_says_which_directory_can_be_copied_to(run: Run) -> None:
    text = " ".join(run("auth", "copy", "--help").stdout.split())
    assert "DIRECTORY, which must be new or empty, in a directory that exists." in text


@pytest.fixture
def copy(run: Run, tmp_path: Path) -> Path:
    """Return a copy of the folder, made by the command, with the name that a service gave it."""
    copy = tmp_path / "shield"
    ended = run("auth", "copy", str(copy))
    assert (ended.exit_code, ended.stdout) == (
        0,
        f"Copied version {auth.__version__} to {copy}. Its README.md says how to use it.\n",
    )
    return copy


def set_version(init: Path, version: str) -> str:
    """Write a version into an `__init__.py`; return its text."""
    text = re.sub('__version__ = ".*"', f'__version__ = "{version}"', init.read_text(encoding="utf-8"))
    init.write_text(text, encoding="utf-8")
    return text


def date_back(copy: Path, version: str, **edited: str) -> None:
    """Make a copy look like one of another version, with other texts in some files, and with a manifest of them."""
    texts = {"__init__.py": set_version(copy / "__init__.py", version), **edited}
    manifest = json.loads((copy / "copied_from.json").read_text(encoding="utf-8"))
    manifest["version"] = version
    for name, content in texts.items():
        (copy / name).write_text(content, encoding="utf-8")
        manifest["sha256"][name] = hashlib.sha256(content.encode()).hexdigest()
    (copy / "copied_from.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_a_copy_has_the_files_of_the_folder_and_a_manifest(copy: Path) -> None:
    copied = {path.relative_to(copy): path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    manifest = json.loads(copied.pop(Path("copied_from.json")))
    folder = ROOT / "api" / "auth"
    assert copied == {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {Path("README.md"), Path("CHANGELOG.md"), Path("keys/key_set.py")} <= copied.keys()
    assert manifest == {
        "project": "device-api",
        "version": auth.__version__,
        "sha256": {path.as_posix(): hashlib.sha256(content).hexdigest() for path, content in copied.items()},
    }


def test_an_empty_directory_can_be_copied_to(run: Run, tmp_path: Path) -> None:
    (tmp_path / "shield").mkdir()
    assert run("auth", "copy", str(tmp_path / "shield")).exit_code == 0
    assert (tmp_path / "shield" / "verifier.py").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["shield"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("full", "exists and is not empty. Give a new directory; nothing was copied."),
        ("full/file", "exists and is not empty."),
        ("missing/shield", "is not a directory. Create it first; nothing was copied."),
    ],
)
def test_only_a_new_or_empty_directory_can_be_copied_to(run: Run, tmp_path: Path, target: str, message: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    ended = run("auth", "copy", str(tmp_path / target))
    assert ended.exit_code == 2
    assert message in ended.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "file"]


def test_the_current_directory_cannot_be_copied_to(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = run("auth", "copy", ".")
    assert ended.exit_code == 2
    assert "The current directory cannot be replaced." in ended.stderr


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
@pytest.mark.parametrize("exists", [True, False])
def test_an_interrupted_copy_leaves_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, *, exists: bool
) -> None:
    target = tmp_path / "shield"
    if exists:
        target.mkdir()
    written: list[Path] = []
    write_bytes = Path.write_bytes

    def interrupted(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) == 5:
            raise error
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    ended = run("auth", "copy", str(target))
    assert ended.exit_code == 1
    if isinstance(error, OSError):
        assert ended.stderr == "Error: Nothing was copied: No space left on device.\n"
    assert len(written) == 5
    assert [path.name for path in tmp_path.rglob("*")] == (["shield"] if exists else [])


def test_a_copy_is_the_same(run: Run, copy: Path) -> None:
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "claims.cpython-311.pyc").write_bytes(b"compiled")
    ended = run("auth", "diff", str(copy))
    assert (ended.exit_code, ended.stdout) == (0, f"{copy} is the same as version {auth.__version__}.\n")


def test_line_ends_of_windows_are_no_edit(run: Run, copy: Path) -> None:
    path = copy / "claims.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert run("auth", "diff", str(copy)).exit_code == 0


def test_edits_are_listed(run: Run, copy: Path) -> None:
    with (copy / "claims.py").open("a") as claims_module:
        claims_module.write("EDITED = True\n")
    (copy / "keys" / "key_set.py").unlink()
    (copy / "keys" / "mine\x1b.py").write_text("")
    ended = run("auth", "diff", str(copy))
    assert ended.exit_code == 1
    assert ended.stdout.splitlines() == [
        f"{copy} was edited:",
        "  changed  claims.py",
        "  added    'keys/mine\\x1b.py'",
        "  removed  keys/key_set.py",
    ]


def test_edits_can_be_shown_as_text(run: Run, copy: Path) -> None:
    with (copy / "claims.py").open("a") as claims_module:
        claims_module.write("EDITED = '\x1b'\n")
    (copy / "events.py").unlink()
    lines = run("auth", "diff", str(copy), "--text").stdout.splitlines()
    assert lines[4:6] == [f"--- api/auth {auth.__version__}/claims.py", f"+++ {copy}/claims.py"]
    assert "+EDITED = '\N{REPLACEMENT CHARACTER}'" in lines
    removed = lines.index("+++ /dev/null")
    assert lines[removed - 1] == f"--- api/auth {auth.__version__}/events.py"


def test_an_older_copy_is_told_the_changes_since(run: Run, copy: Path) -> None:
    date_back(copy, "0.1.0", **{"claims.py": "OLD = True\n"})
    ended = run("auth", "diff", str(copy))
    assert ended.exit_code == 1
    lines = ended.stdout.splitlines()
    assert lines[0] == f"{copy} is older: version 0.1.0; here is {auth.__version__}. Changes since then:"
    changelog = (ROOT / "api" / "auth" / "CHANGELOG.md").read_text(encoding="utf-8")
    since = changelog[changelog.index("## ") : changelog.index("## 0.1.0")]
    assert ended.stdout.split("\n\n", 1)[1] == f"{since}{copy} was not edited.\n"


def test_an_older_copy_that_was_edited_is_told_both(run: Run, copy: Path) -> None:
    date_back(copy, "0.1.0", **{"claims.py": "OLD = True\n"})
    (copy / "claims.py").write_text("EDITED = True\n")
    lines = run("auth", "diff", str(copy)).stdout.splitlines()
    assert lines[0].startswith(f"{copy} is older: version 0.1.0;")
    assert lines[-2:] == [f"{copy} was edited:", "  changed  claims.py"]


@pytest.fixture
def development_version(monkeypatch: pytest.MonkeyPatch) -> str:
    """Make the folder here one of a development version, which it is except in releases."""
    version = "0.2.0.dev0"
    monkeypatch.setattr(auth, "__version__", version)
    monkeypatch.setattr(cli, "__version__", version)
    return version


def test_another_state_of_a_development_version_is_told(run: Run, development_version: str, copy: Path) -> None:
    date_back(copy, development_version, **{"claims.py": "OLD = True\n"})
    lines = run("auth", "diff", str(copy)).stdout.splitlines()
    # Not "older": nothing tells which of the two is.
    assert lines[0] == f"{copy} was made from another state of {development_version}. Changes of this version:"
    assert [line for line in lines if line.startswith("## 0.2.0")]
    assert lines[-1] == f"{copy} was not edited."


def test_edits_without_a_manifest_are_told_for_a_release_alone(
    run: Run, development_version: str, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy / "copied_from.json").unlink()
    (copy / "claims.py").write_text("EDITED = True\n")
    set_version(copy / "__init__.py", development_version)
    lines = run("auth", "diff", str(copy)).stdout.splitlines()
    assert lines[0] == f"{copy} has no copied_from.json, so edits cannot be told from changes between versions."
    assert "  changed  claims.py" in lines
    monkeypatch.setattr(auth, "__version__", "0.2.0")
    monkeypatch.setattr(cli, "__version__", "0.2.0")
    set_version(copy / "__init__.py", "0.2.0")
    lines = run("auth", "diff", str(copy)).stdout.splitlines()
    assert lines[0] == f"{copy} was edited:"
    assert "  changed  claims.py" in lines


@pytest.mark.parametrize("version", ["99.0.0", "0.2.0"])
def test_a_newer_copy_is_told_to_update_the_command(
    run: Run, development_version: str, copy: Path, version: str
) -> None:
    date_back(copy, version, **{"claims.py": "NEW = True\n"})
    ended = run("auth", "diff", str(copy))
    assert ended.exit_code == 1
    assert ended.stdout.splitlines() == [
        f"{copy} is newer: version {version}; here is {development_version}. Update device-api.",
        f"{copy} was not edited.",
    ]


def test_without_a_manifest_the_version_is_read_and_not_run(run: Run, copy: Path) -> None:
    (copy / "copied_from.json").unlink()
    assert run("auth", "diff", str(copy)).exit_code == 0
    # Were it run, the command would end with status 7.
    (copy / "__init__.py").write_text('__version__ = "0.1.0"\nraise SystemExit(7)\n')
    ended = run("auth", "diff", str(copy))
    assert ended.exit_code == 1
    lines = ended.stdout.splitlines()
    assert lines[0].startswith(f"{copy} is older: version 0.1.0;")
    assert lines[-3:] == [
        f"{copy} has no copied_from.json, so edits cannot be told from changes between versions.",
        "It differs from the folder here in:",
        "  changed  __init__.py",
    ]


@pytest.mark.parametrize(
    "init",
    ["", "__version__ = version()", '__version__ = "\x1b"', "not Python", f"x = {'-' * 100_000}1", f"x{'.x' * 30_000}"],
    ids=["empty", "call", "control", "no Python", "operators", "attributes"],
)
def test_without_a_version_it_counts_as_made_before_there_was_one(run: Run, copy: Path, init: str) -> None:
    (copy / "copied_from.json").unlink()
    (copy / "__init__.py").write_text(init)
    ended = run("auth", "diff", str(copy))
    assert ended.exit_code == 1
    assert ended.stdout.startswith(f"{copy} is older: version unknown; here is {auth.__version__}.")
    assert "## 0.2.0" in ended.stdout
    assert "## 0.1.0" not in ended.stdout


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "[]",
        "{}",
        '{"version": 1, "sha256": {}}',
        '{"version": "\\u001b", "sha256": {}}',
        '{"version": "1", "sha256": []}',
    ],
)
def test_a_damaged_manifest_is_reported(run: Run, copy: Path, manifest: str) -> None:
    (copy / "copied_from.json").write_text(manifest)
    ended = run("auth", "diff", str(copy))
    assert ended.exit_code == 2
    assert "copied_from.json of the copy is damaged." in ended.stderr


def test_a_pipe_as_manifest_is_reported(run: Run, copy: Path) -> None:
    (copy / "copied_from.json").unlink()
    os.mkfifo(copy / "copied_from.json")
    ended = run("auth", "diff", str(copy))
    assert ended.exit_code == 2
    assert "copied_from.json of the copy is damaged." in ended.stderr


@pytest.mark.parametrize("command", ["copy", "diff"])
def test_messages_have_no_control_characters_of_a_path(run: Run, tmp_path: Path, command: str) -> None:
    path = tmp_path / "x\x1b]0;title\x07"
    path.mkdir()
    (path / "file").touch()
    ended = run("auth", command, str(path))
    assert ended.exit_code == 2
    assert "\x1b" not in ended.stderr


def test_a_directory_that_is_no_copy_is_reported(run: Run, tmp_path: Path) -> None:
    for target, message in (
        (tmp_path, "is not a copy of api/auth: it has no __init__.py"),
        (tmp_path / "x", "is not a"),
    ):
        ended = run("auth", "diff", str(target))
        assert ended.exit_code == 2
        assert message in ended.stderr


def test_a_copy_that_cannot_be_read_is_reported(run: Run, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    ended = run("auth", "diff", str(copy))
    assert ended.exit_code == 2
    assert "The copy cannot be read: Permission denied." in ended.stderr


# serve


WRONG_NUMBER = [
    "One setting is invalid (see docs/settings.md):",
    "  WEB_CONCURRENCY: must be a whole number from 0 to 999.",
]


@pytest.mark.parametrize("command", ["serve", "check"])
@pytest.mark.parametrize("number", ["abc", "5.5", "-1", "1000"])
def test_a_wrong_number_of_processes_is_told_in_a_sentence(run: Run, command: str, number: str) -> None:
    ended = run(command, WEB_CONCURRENCY=number)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.splitlines() == WRONG_NUMBER


@pytest.mark.parametrize(("command", "number"), [("serve", "abc"), ("check", "5.5")])
def test_a_number_that_gunicorn_cannot_read_is_told_in_a_sentence(
    variables: Mapping[str, str], command: str, number: str
) -> None:
    # A process: gunicorn reads the variable on import, and this process has imported it.
    ended = subprocess.run(
        [sys.executable, "-m", "api", command],
        cwd=ROOT,
        env=environment({**variables, "WEB_CONCURRENCY": number}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines() == WRONG_NUMBER


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
