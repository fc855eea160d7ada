from dataclasses import replace
from datetime import datetime

from flask.testing import FlaskClient

from api.app import create_app
from api.auth import AuthConfig
from api.me import MeSchema
from api.settings import Settings
from tests.kit.key_server import KeyServer
from tests.kit.running_api import Bearer


def test_shows_the_claims(client: FlaskClient, bearer: Bearer, key_server: KeyServer) -> None:
    response = client.get("/v1/me", headers=bearer(exp=4_102_444_800, scope="b a", permissions=["ignored"]))
    assert response.status_code == 200
    assert response.get_json() == {
        "sub": "user-1",
        "client_id": "device-app",
        "scopes": ["a", "b"],
        "permissions": [],
        "issuer": key_server.issuer,
        "expires_at": "2100-01-01T00:00:00Z",
    }


def test_the_answer_is_what_the_schema_dumps(client: FlaskClient, bearer: Bearer) -> None:
    shown = client.get("/v1/me", headers=bearer(exp=1_900_000_000, scope="b a")).get_json()
    schema = MeSchema()
    assert schema.dump(shown | {"expires_at": datetime.fromisoformat(shown["expires_at"])}) == shown
    assert list(schema.fields) == list(shown)


def test_needs_no_scope_and_no_client_id(client: FlaskClient, bearer: Bearer) -> None:
    response = client.get("/v1/me", headers=bearer(scope=None, client_id=None))
    assert response.get_json()["client_id"] is None
    assert response.get_json()["scopes"] == []


def test_the_last_second_of_the_calendar(client: FlaskClient, bearer: Bearer) -> None:
    response = client.get("/v1/me", headers=bearer(exp=253_402_300_799))
    assert response.get_json()["expires_at"] == "9999-12-31T23:59:59Z"


def test_a_token_without_subject(settings: Settings, bearer: Bearer) -> None:
    (issuer,) = settings.auth.issuers
    app = create_app(replace(settings, auth=AuthConfig(issuers=(replace(issuer, subject_required=False),))))
    response = app.test_client().get("/v1/me", headers=bearer(sub=None))
    assert response.status_code == 200
    # Not the client's id in its place, RFC 9068 §5.
    assert (response.get_json()["sub"], response.get_json()["client_id"]) == (None, "device-app")
    app.extensions["device_store"].close()
