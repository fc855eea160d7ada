"""The commands for backup and restore of docs/operation.md, run while clients write."""

import re
import shlex
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from uuid import uuid4

import pytest
import requests
from sqlalchemy import create_engine, text

from tests.kit.databases import POSTGRESQL
from tests.kit.key_server import KeyServer
from tests.kit.processes import BIN, ROOT, environment, running_api
from tests.kit.signing import claims, jwks, rsa_key

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

KEY = rsa_key(0, "key-1")
WRITTEN_BEFORE = 25


def run_documented(heading: str, **variables: str) -> None:
    """Run the commands below a heading of docs/operation.md; `variables` replace the values of its first line."""
    page = (ROOT / "docs" / "operation.md").read_text(encoding="utf-8")
    section = page.partition(f"\n### {heading}\n")[2].partition("\n#")[0]
    (script,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    settings, _, commands = script.partition("\n")
    assert set(re.findall(r"(\w+)=", settings)) == set(variables)
    commands = commands.replace(".venv/bin/", f"{shlex.quote(str(BIN))}/")
    shell = ["bash", "-euo", "pipefail", "-c", commands]
    subprocess.run(shell, env=environment(variables), cwd=ROOT, check=True, timeout=60)


@pytest.fixture
def key_server() -> Iterator[KeyServer]:
    with KeyServer() as server:
        server.publish(jwks(KEY))
        yield server


class Writer:
    """A client that registers devices until it is stopped; `ids` are those that the API has acknowledged."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.ids: list[str] = []
        self.has_written = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._write, args=(url, headers))

    def _write(self, url: str, headers: dict[str, str]) -> None:
        new = {"name": "Lamp", "kind": "sensor", "model": "M"}
        while not self._stopped.is_set():
            answer = requests.post(f"{url}/v1/devices", json=new, headers=headers, timeout=10)
            if answer.status_code == 201:
                self.ids.append(answer.json()["id"])
            if len(self.ids) >= WRITTEN_BEFORE:
                self.has_written.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopped.set()
        self._thread.join()


def back_up_while_writing(
    issuer: str, directory: Path, database_url: str, heading: str, **variables: str
) -> tuple[set[str], str]:
    """Return the ids that were acknowledged before the backup, and the cursor of a page."""
    headers = headers_for(issuer)
    with running_api(issuer, directory, API_DATABASE_URL=database_url, API_SAMPLE_DATA="false") as url:
        with Writer(url, headers) as writer:
            assert writer.has_written.wait(60)
            before = set(writer.ids)
            run_documented(heading, **variables)
            assert len(writer.ids) > len(before)
        page = requests.get(f"{url}/v1/devices?limit=10", headers=headers, timeout=10).json()
    return before, page["next_cursor"]


def read_restored(issuer: str, directory: Path, database_url: str, cursor: str) -> set[str]:
    headers = headers_for(issuer)
    with running_api(issuer, directory, API_DATABASE_URL=database_url, API_SAMPLE_DATA="false") as url:
        assert requests.get(f"{url}/readyz", timeout=10).status_code == 200
        # The cursor of before the backup: the database has the same cursor key.
        page = requests.get(f"{url}/v1/devices", params={"cursor": cursor}, headers=headers, timeout=10)
        assert page.status_code == 200, page.text
        ids: set[str] = set()
        query: dict[str, str] = {"limit": "100"}
        while True:
            body = requests.get(f"{url}/v1/devices", params=query, headers=headers, timeout=10).json()
            ids |= {one["id"] for one in body["items"]}
            if body["next_cursor"] is None:
                return ids
            query["cursor"] = body["next_cursor"]


def headers_for(issuer: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEY.sign(claims(iss=issuer, scope='read:devices write:devices'))}"}


def test_sqlite(key_server: KeyServer, tmp_path: Path) -> None:
    database, backup = tmp_path / "devices.db", tmp_path / "backup.db"
    url = f"sqlite:///{database}"
    before, cursor = back_up_while_writing(
        key_server.issuer, tmp_path, url, "Back up SQLite", DATABASE=str(database), BACKUP=str(backup)
    )
    database.write_bytes(b"lost")
    run_documented(
        "Restore SQLite", DATABASE=str(database), BACKUP=str(backup), API_DATABASE_URL=url, **settings(key_server)
    )
    assert read_restored(key_server.issuer, tmp_path, url, cursor) >= before


@pytest.fixture
def two_databases() -> Iterator[tuple[str, str]]:
    """Yield the names of a new database and of one that does not exist yet; drop both."""
    engine = create_engine(POSTGRESQL, isolation_level="AUTOCOMMIT")
    names = (f"test_{uuid4().hex}", f"test_{uuid4().hex}")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {names[0]}"))
        try:
            yield names
        finally:
            for name in names:
                connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
    engine.dispose()


@pytest.mark.needs("postgresql")
@pytest.mark.needs("pg_dump")
def test_postgresql(key_server: KeyServer, tmp_path: Path, two_databases: tuple[str, str]) -> None:
    old, new = two_databases
    server = POSTGRESQL.replace("+psycopg", "").rpartition("/")[0]
    backup = str(tmp_path / "backup.dump")
    before, cursor = back_up_while_writing(
        key_server.issuer,
        tmp_path,
        f"{POSTGRESQL.rpartition('/')[0]}/{old}",
        "Back up PostgreSQL",
        DATABASE=f"{server}/{old}",
        BACKUP=backup,
    )
    url = f"{POSTGRESQL.rpartition('/')[0]}/{new}"
    run_documented(
        "Restore PostgreSQL",
        SERVER=f"{server}/postgres",
        NAME=new,
        DATABASE=f"{server}/{new}",
        BACKUP=backup,
        API_DATABASE_URL=url,
        **settings(key_server),
    )
    assert read_restored(key_server.issuer, tmp_path, url, cursor) >= before


def settings(key_server: KeyServer) -> dict[str, str]:
    return {"API_ISSUERS": key_server.issuer, "API_AUDIENCE": "https://device-api.example"}
