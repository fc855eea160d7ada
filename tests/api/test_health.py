from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient

from api.database import downgrade, upgrade, writing
from api.settings import Settings
from tests.kit.key_server import KeyServer, document
from tests.kit.running_api import Bearer


def test_live(client: FlaskClient) -> None:
    response = client.get("/livez")
    assert (response.status_code, response.get_json()) == (200, {"status": "ok"})
    assert response.headers["Cache-Control"] == "no-store"


def test_ready(client: FlaskClient) -> None:
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.get_json() == {
        "status": "ok",
        "checks": {"database": "ok", "schema": "ok", "keys": "ok"},
    }


def test_not_ready_without_keys(client: FlaskClient, key_server: KeyServer) -> None:
    key_server.break_keys(document(b"", status=500))
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.content_type == "application/problem+json"
    body = response.get_json()
    assert body["checks"] == {"database": "ok", "schema": "ok", "keys": "failed"}
    assert (body["error"], body["detail"]) == ("not_ready", "Not ready: the keys of an issuer cannot be had.")
    assert client.get("/livez").status_code == 200


def test_ready_with_the_last_good_keys(client: FlaskClient, key_server: KeyServer) -> None:
    assert client.get("/readyz").status_code == 200
    key_server.break_keys(document(b"", status=500))
    assert client.get("/readyz").status_code == 200


def test_not_ready_without_a_database(app: Flask, client: FlaskClient, tmp_path: Path) -> None:
    app.extensions["device_store"].close()
    (tmp_path / "devices.db").unlink()
    (tmp_path / "devices.db").mkdir()  # nothing that SQLite could open
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.get_json()["checks"] == {"database": "failed", "schema": "unknown", "keys": "ok"}
    assert "database" in response.get_json()["detail"]


def test_not_ready_while_the_schema_is_behind(settings: Settings, client: FlaskClient) -> None:
    downgrade(settings.database_url)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.get_json()["checks"] == {"database": "ok", "schema": "behind", "keys": "ok"}
    assert "the schema is behind" in response.get_json()["detail"]
    upgrade(settings.database_url)
    assert client.get("/readyz").status_code == 200


def test_ready_while_the_schema_is_ahead(settings: Settings, client: FlaskClient) -> None:
    # As it is for the processes of the version before, from the upgrade until they are replaced.
    with writing(client.application.extensions["database"]) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert client.get("/readyz").status_code == 200


def test_an_outage_of_the_database_is_not_the_clients_fault(
    app: Flask, client: FlaskClient, bearer: Bearer, tmp_path: Path
) -> None:
    app.extensions["device_store"].close()
    (tmp_path / "devices.db").unlink()
    (tmp_path / "devices.db").mkdir()
    response = client.get("/v1/devices", headers=bearer())
    assert response.status_code == 503
    assert response.get_json()["error"] == "temporarily_unavailable"
    assert int(response.headers["Retry-After"]) >= 1
    assert "WWW-Authenticate" not in response.headers
