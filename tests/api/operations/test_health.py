import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.exc import ProgrammingError

from api.auth import open_to_all
from api.database.engine import write_transaction
from api.database.schema import upgrade
from api.settings import Settings
from tests.api.conftest import AppOf
from tests.kit.databases import postgresql_schema
from tests.kit.headers import header_of
from tests.kit.key_server import KeyServer, document
from tests.kit.redis_server import RedisServer
from tests.kit.running_api import Bearer


def test_live(client: FlaskClient) -> None:
    response = client.get("/livez")
    assert (response.status_code, response.get_json()) == (200, {"status": "ok"})
    assert response.headers.get("Cache-Control") == "no-store"


def test_ready(client: FlaskClient) -> None:
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.get_json() == {
        "status": "ok",
        "checks": {"database": "ok", "schema": "ok", "keys": "ok"},
    }


@pytest.mark.needs("redis-server")
def test_ready_with_the_revocations(settings: Settings, app_of: AppOf, redis_server: RedisServer) -> None:
    upgrade(settings.database_url)
    response = app_of(replace(settings, redis_url=redis_server.url)).test_client().get("/readyz")
    assert response.status_code == 200
    assert response.get_json()["checks"] == {"database": "ok", "schema": "ok", "keys": "ok", "revocations": "ok"}


def test_not_ready_before_the_revocations_were_read(
    settings: Settings, app_of: AppOf, key_server: KeyServer, tmp_path: Path
) -> None:
    upgrade(settings.database_url)
    redis_url = f"unix://{tmp_path}/no-redis"
    client = app_of(replace(settings, redis_url=redis_url)).test_client()
    started = time.perf_counter()
    for _ in range(10):
        response = client.get("/readyz")
        assert response.status_code == 503
        body = response.get_json()
        assert body["checks"] == {"database": "ok", "schema": "ok", "keys": "ok", "revocations": "failed"}
        assert body["detail"] == "Not ready: the revoked tokens have not been read from Redis."
    assert time.perf_counter() - started < 2
    key_server.break_keys(document(b"", status=500))
    detail = app_of(replace(settings, redis_url=redis_url)).test_client().get("/readyz").get_json()["detail"]
    assert detail == (
        "Not ready: the keys of an issuer are unavailable and the revoked tokens have not been read from Redis."
    )


def test_not_ready_without_keys(client: FlaskClient, key_server: KeyServer) -> None:
    key_server.break_keys(document(b"", status=500))
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.content_type == "application/problem+json"
    body = response.get_json()
    assert body["checks"] == {"database": "ok", "schema": "ok", "keys": "failed"}
    assert (body["error"], body["detail"]) == ("not_ready", "Not ready: the keys of an issuer are unavailable.")
    assert client.get("/livez").status_code == 200


def test_ready_with_the_last_good_keys(client: FlaskClient, key_server: KeyServer) -> None:
    assert client.get("/readyz").status_code == 200
    key_server.break_keys(document(b"", status=500))
    assert client.get("/readyz").status_code == 200


def test_not_ready_without_a_database(app: Flask, client: FlaskClient, tmp_path: Path) -> None:
    app.extensions["device_store"].close()
    (tmp_path / "devices.db").unlink()
    (tmp_path / "devices.db").mkdir()  # SQLite cannot open a directory
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.get_json()["checks"] == {"database": "failed", "schema": "unknown", "keys": "ok"}
    assert "database" in response.get_json()["detail"]


def test_not_ready_while_the_database_cannot_be_written(app: Flask, client: FlaskClient) -> None:
    database = app.extensions["database"]
    with database.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.get_json()["checks"] == {"database": "not_writable", "schema": "ok", "keys": "ok"}
    assert response.get_json()["detail"] == "Not ready: the database cannot be written."


def test_not_ready_while_the_schema_is_behind(settings: Settings, app_of: AppOf) -> None:
    client = app_of(settings).test_client()  # on an empty database
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.get_json()["checks"] == {"database": "ok", "schema": "behind", "keys": "ok"}
    assert "the schema is out of date" in response.get_json()["detail"]
    upgrade(settings.database_url)
    assert client.get("/readyz").status_code == 200


def test_ready_while_the_schema_is_ahead(settings: Settings, client: FlaskClient) -> None:
    # Processes of the previous version see this, from the upgrade until they are replaced.
    with write_transaction(client.application.extensions["database"]) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert client.get("/readyz").status_code == 200


def test_an_outage_of_the_database_is_a_503(app: Flask, client: FlaskClient, bearer: Bearer, tmp_path: Path) -> None:
    app.extensions["device_store"].close()
    (tmp_path / "devices.db").unlink()
    (tmp_path / "devices.db").mkdir()
    response = client.get("/v1/devices", headers=bearer())
    assert response.status_code == 503
    assert response.get_json()["error"] == "temporarily_unavailable"
    assert int(header_of(response, "Retry-After")) >= 1
    assert "WWW-Authenticate" not in response.headers


def test_requests_before_the_first_upgrade_are_a_503(
    app_of: AppOf, settings: Settings, empty_database_url: str, bearer: Bearer, capsys: pytest.CaptureFixture[str]
) -> None:
    client = app_of(replace(settings, database_url=empty_database_url)).test_client()
    response = client.get("/v1/devices", headers=bearer())
    assert response.status_code == 503
    assert response.get_json()["error"] == "temporarily_unavailable"
    assert int(header_of(response, "Retry-After")) >= 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "database_unavailable" in line]
    assert json.loads(line)["code"] in {"42P01", "SQLITE_ERROR"}
    upgrade(empty_database_url)
    assert client.get("/v1/devices", headers=bearer()).status_code == 200


@pytest.mark.needs("postgresql")
def test_writing_to_a_read_only_database_is_a_503(app_of: AppOf, settings: Settings, bearer: Bearer) -> None:
    with postgresql_schema() as url:
        upgrade(url)
        app = app_of(replace(settings, database_url=f"{url}%20-cdefault_transaction_read_only%3Don", sample_data=False))
        new = {"name": "Lamp", "kind": "sensor", "model": "M"}
        assert app.test_client().post("/v1/devices", json=new, headers=bearer(scope="write:devices")).status_code == 503
        assert app.test_client().get("/v1/devices", headers=bearer()).status_code == 200


def test_an_invalid_statement_is_a_500(app: Flask, client: FlaskClient) -> None:
    @app.get("/wrong")
    @open_to_all
    def wrong() -> str:
        raise ProgrammingError("SELEKT", None, ValueError())

    assert client.get("/wrong").status_code == 500
